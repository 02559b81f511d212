/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All functions of fail_function share a count of calls to leave alone and one of failures to come.
 * So errors that wait at the same time must be alike, and each for the next call.
 */
#include "failure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LIST "/sys/kernel/debug/error_injection/list"
#define FOLDER "/sys/kernel/debug/fail_function/"
#define READERS 32
#define NAME(site) functions[1 + (site)] /* the first one is no site */

static int inject_fd = -1, times_fd = -1, space_fd = -1, result_fd = -1;
static uint32_t now = SITES; /* the site that is prepared */
static struct {
	uint32_t errno_code, nth, count; /* count: those that have not fired */
} waiting;
static uint32_t fired[SITES];
/* Under a memory limit nothing can be opened, and what is read is told once for each open file. */
static int readers[READERS];
static uint32_t left_readers;

size_t describe_failures(char *into, size_t room)
{
	FILE *file = access(FOLDER "inject", W_OK) ? NULL : fopen(LIST, "re");
	char line[256];
	size_t used = 0;

	into[0] = 0;
	while (file && fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\t\n")] = 0;
		for (uint32_t site = 0; site < SITES; site++) {
			if (!strcmp(line, NAME(site)))
				used += (size_t)snprintf(into + used, room - used, "fail-%s=1\n",
							 line);
		}
	}
	if (file)
		fclose(file);
	return used;
}

static int open_in(const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), FOLDER "%s", name);
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

static bool put_in(const char *name, const char *words)
{
	const int fd = open_in(name);
	const bool done = fd >= 0 && put(fd, words);

	if (fd >= 0)
		close(fd);
	return done;
}

void failure_forget(void)
{
	put_in("times", "0");
	put_in("inject", "\n"); /* all of them */
}

static _Noreturn void refused(const struct vm *vm)
{
	report_objection(vm->report, HOST_FAILURE, (uint32_t)errno);
}

/* How many have not fired. */
static uint32_t left(const struct vm *vm)
{
	const int fd = left_readers ? readers[--left_readers] :
				      open(FOLDER "times", O_RDONLY | O_CLOEXEC);
	char words[16] = "";
	unsigned int count;

	if (fd < 0 || read(fd, words, sizeof(words) - 1) < 0)
		refused(vm);
	close(fd);
	return sscanf(words, "%u", &count) == 1 ? count : 0;
}

static void settle(const struct vm *vm)
{
	const uint32_t count = waiting.count ? left(vm) : 0;

	if (waiting.count)
		fired[now] += waiting.count - count;
	waiting.count = count;
}

/* The one function that can fail from here on. */
static void prepare(const struct vm *vm, uint32_t site)
{
	char words[128];

	if (now == site)
		return;
	if (now < SITES) {
		snprintf(words, sizeof(words), "!%s", NAME(now));
		close(result_fd);
		if (!put(inject_fd, words))
			refused(vm);
	}
	if (!put(inject_fd, NAME(site)))
		refused(vm);
	snprintf(words, sizeof(words), "%s/retval", NAME(site));
	result_fd = open_in(words);
	if (result_fd < 0)
		refused(vm);
	now = site;
}

/* What a step would do too late, under a limit that one before it set. */
static void prepare_first(const struct vm *vm)
{
	for (uint32_t i = 0; i < vm->played->count; i++) {
		if (vm->played->steps[i].op != OP_FAIL)
			continue;
		prepare(vm, vm->played->steps[i].a);
		break;
	}
	while (left_readers < READERS) {
		const int fd = open(FOLDER "times", O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			break;
		readers[left_readers++] = fd;
	}
}

bool failure_begin(const struct vm *vm)
{
	if (!put_in("probability", "100") || !put_in("verbose", "0"))
		return false;
	failure_forget();
	inject_fd = open_in("inject");
	times_fd = open_in("times");
	space_fd = open_in("space");
	if (inject_fd < 0 || times_fd < 0 || space_fd < 0)
		return false;
	prepare_first(vm);
	return true;
}

void failure_set(const struct vm *vm, const struct record *step)
{
	const uint32_t nth = step->c + 1U;

	settle(vm);
	if (waiting.count && (now != step->a || waiting.errno_code != step->b || waiting.nth > 1 ||
			      nth > 1))
		report_objection(vm->report, HOST_FAILURES, step->a);
	prepare(vm, step->a);
	waiting.errno_code = step->b;
	waiting.nth = nth;
	waiting.count++;
	if (!put_number(result_fd, -(uint64_t)errnos[step->b]) || !put_number(space_fd, nth) ||
	    !put_number(times_fd, waiting.count))
		refused(vm);
}

uint32_t failure_fired_at(const struct vm *vm, uint32_t site)
{
	settle(vm);
	return fired[site];
}

uint32_t failure_fired(const struct vm *vm)
{
	uint32_t count = 0;

	settle(vm);
	for (uint32_t site = 0; site < SITES; site++)
		count += fired[site];
	return count;
}
