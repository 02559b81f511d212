/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What fails is the first allocation on behalf of a function, of pages or of an object: told by
 * fail-nth of the thread, which the filters of fail_page_alloc and failslab confine to a stack with
 * that function on it.
 */
#include "allocation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "symbols.h"

#define DEBUGFS "/sys/kernel/debug/"
#define NTH "/proc/thread-self/fail-nth"

static const char *const folders[] = { "failslab/", "fail_page_alloc/" };
static const struct {
	const char *name, *words;
	bool pages_only;
} settings[] = {
	{ "verbose", "0", false },
	{ "ignore-gfp-wait", "N", false },
	{ "ignore-gfp-highmem", "N", true },
	{ "min-order", "0", true },
	{ "require-start", "0", false }, /* only where the kernel has the filters */
};

static int nth_fd = -1;
static int start_fds[2], end_fds[2];
static struct code sites[SITES];
static uint32_t armed = SITES; /* the site whose allocation is to fail */
static uint32_t fired[SITES];

static int open_in(const char *folder, const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), DEBUGFS "%s%s", folder, name);
	return open(path, O_WRONLY | O_CLOEXEC);
}

static bool put(int fd, const char *words)
{
	return write(fd, words, strlen(words)) >= 0;
}

static bool put_number(int fd, uint64_t number)
{
	char words[24];

	snprintf(words, sizeof(words), "%#llx", (unsigned long long)number);
	return put(fd, words);
}

static bool set_up(const char *folder, bool pages)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		int fd;

		if (settings[i].pages_only && !pages)
			continue;
		fd = open_in(folder, settings[i].name);
		if (fd < 0 || !put(fd, settings[i].words))
			return false;
		close(fd);
	}
	return true;
}

bool allocation_begin(void)
{
	for (int i = 0; i < 2; i++) {
		if (!set_up(folders[i], i == 1))
			return false;
		start_fds[i] = open_in(folders[i], "require-start");
		end_fds[i] = open_in(folders[i], "require-end");
	}
	nth_fd = open(NTH, O_RDWR | O_CLOEXEC);
	symbols_of_sites(sites);
	return nth_fd >= 0;
}

static _Noreturn void refused(const struct vm *vm)
{
	report_objection(vm->report, HOST_FAILURE, (uint32_t)errno);
}

static void settle(const struct vm *vm)
{
	char words[16] = "";

	if (armed == SITES)
		return;
	if (pread(nth_fd, words, sizeof(words) - 1, 0) < 0)
		refused(vm);
	if (words[0] != '0')
		return;
	fired[armed]++;
	armed = SITES;
}

void allocation_set(const struct vm *vm, const struct record *step)
{
	const struct code *code = &sites[step->a];

	settle(vm);
	if (armed != SITES)
		report_objection(vm->report, HOST_FAILURES, step->a);
	if (!code->end)
		report_objection(vm->report, HOST_FUNCTION, step->a);
	for (int i = 0; i < 2; i++) {
		if (!put_number(start_fds[i], code->start) || !put_number(end_fds[i], code->end))
			refused(vm);
	}
	if (pwrite(nth_fd, "1", 1, 0) < 0)
		refused(vm);
	armed = step->a;
}

/* A function that found in store what it wanted was called, and did not fail. */
void allocation_end(const struct vm *vm)
{
	settle(vm);
	if (armed != SITES)
		report_objection(vm->report, HOST_ALLOCATION, armed);
}

uint32_t allocation_fired_at(const struct vm *vm, uint32_t site)
{
	settle(vm);
	return fired[site];
}

uint32_t allocation_fired(const struct vm *vm)
{
	uint32_t count = 0;

	for (uint32_t site = 0; site < SITES; site++)
		count += allocation_fired_at(vm, site);
	return count;
}
