/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A descriptor for each mode, as some are features of a descriptor. One cannot give up what another
 * watches, so it is kept here which does.
 */
#include "userfault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "access_flag.h"
#include "memory.h"

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif

#define USER_TOP (UINT64_C(1) << 48)
#define MODES USERFAULT_OFF
#define PIECES (4 * MAX_STEPS)
#define SHMEM (UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MISSING_HUGETLBFS)
#define WP                                                                      \
	(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM | \
	 UFFD_FEATURE_WP_UNPOPULATED)

struct piece {
	uint64_t start, end;
	uint8_t mode;
};

static const struct {
	uint64_t features, registered;
} modes[MODES] = {
	[USERFAULT_MISSING] = { SHMEM, UFFDIO_REGISTER_MODE_MISSING },
	[USERFAULT_WRITE_PROTECT] = { WP, UFFDIO_REGISTER_MODE_WP },
	[USERFAULT_SIGBUS] = { SHMEM | UFFD_FEATURE_SIGBUS, UFFDIO_REGISTER_MODE_MISSING },
};

static int fds[MODES];
static struct piece pieces[PIECES];
static uint32_t count;
static _Atomic uint32_t resolved;
static const uint8_t zeros[HUGE_SIZE];
static uint8_t filled[HUGE_SIZE];

uint32_t userfaults_resolved(void)
{
	return atomic_load(&resolved);
}

/* THE HANDLER */

static struct uffdio_range page_of(const struct vm *vm, uint64_t address)
{
	const uint64_t unit = unit_at(vm, address);

	return (struct uffdio_range){ address & ~(unit - 1), unit };
}

/* Under a memory limit a mapping may not be cut, so that only the whole can be given up. */
static void give_up_all(uint64_t address)
{
	for (uint32_t i = 0; i < count; i++) {
		struct uffdio_range range = { pieces[i].start, pieces[i].end - pieces[i].start };

		if (address >= pieces[i].start && address < pieces[i].end)
			(void)ask(fds[USERFAULT_MISSING], UFFDIO_UNREGISTER, &range);
	}
}

/* Where no page can be had, the kernel is to do what it does when nobody watches. */
static void place_page(const struct vm *vm, uint64_t address)
{
	struct uffdio_range page = page_of(vm, address);
	const bool more = access_flag_fill(page.start, page.len, filled);
	struct uffdio_copy copy = {
		.dst = page.start,
		.src = (uintptr_t)(more ? filled : zeros),
		.len = page.len,
	};

	if (!ask(fds[USERFAULT_MISSING], UFFDIO_COPY, &copy))
		return;
	atomic_fetch_sub(&resolved, 1);
	if (errno == EEXIST)
		(void)ask(fds[USERFAULT_MISSING], UFFDIO_WAKE, &page);
	else if (ask(fds[USERFAULT_MISSING], UFFDIO_UNREGISTER, &page))
		give_up_all(address);
}

static void lift(const struct vm *vm, uint64_t address)
{
	struct uffdio_writeprotect lifted = { .range = page_of(vm, address) };

	if (ask(fds[USERFAULT_WRITE_PROTECT], UFFDIO_WRITEPROTECT, &lifted))
		atomic_fetch_sub(&resolved, 1);
}

static void answer(const struct vm *vm, uint8_t mode)
{
	struct uffd_msg told;

	if (read(fds[mode], &told, sizeof(told)) != sizeof(told) ||
	    told.event != UFFD_EVENT_PAGEFAULT)
		return;
	/* Before the fault goes on: it is counted when KVM_RUN returns. */
	atomic_fetch_add(&resolved, 1);
	if (mode == USERFAULT_MISSING)
		place_page(vm, told.arg.pagefault.address);
	else
		lift(vm, told.arg.pagefault.address);
}

static void *serve(void *vm)
{
	struct pollfd watched[] = {
		[USERFAULT_MISSING] = { fds[USERFAULT_MISSING], POLLIN, 0 },
		[USERFAULT_WRITE_PROTECT] = { fds[USERFAULT_WRITE_PROTECT], POLLIN, 0 },
	};

	for (;;) {
		if (poll(watched, 2, -1) <= 0)
			continue;
		for (uint8_t mode = 0; mode < 2; mode++) {
			if (watched[mode].revents & POLLIN)
				answer(vm, mode);
		}
	}
	return NULL;
}

void userfault_prepare(const struct vm *vm)
{
	sigset_t every, before;
	pthread_t handler;

	for (uint8_t mode = 0; mode < MODES; mode++) {
		struct uffdio_api api = { .api = UFFD_API, .features = modes[mode].features };

		fds[mode] = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
		if (fds[mode] < 0 || ask(fds[mode], UFFDIO_API, &api))
			report_objection(vm->report, HOST_USERFAULT, (uint32_t)errno);
	}
	sigfillset(&every); /* signals are for the thread that runs the vCPU */
	sigprocmask(SIG_BLOCK, &every, &before);
	if (pthread_create(&handler, NULL, serve, (void *)(uintptr_t)vm))
		vm_failed(vm, "pthread_create");
	sigprocmask(SIG_SETMASK, &before, NULL);
}

/* THE STEP */

static void add(uint64_t start, uint64_t end, uint8_t mode)
{
	if (start < end && count < PIECES)
		pieces[count++] = (struct piece){ start, end, mode };
}

static void give_up(uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct piece old = pieces[i];
		const uint64_t low = old.start > start ? old.start : start;
		const uint64_t high = old.end < end ? old.end : end;
		struct uffdio_range range = { low, high - low };

		if (low >= high)
			continue;
		(void)ask(fds[old.mode], UFFDIO_UNREGISTER, &range);
		pieces[i] = pieces[--count];
		add(old.start, low, old.mode); /* outside the range: not looked at again */
		add(high, old.end, old.mode);
		i--;
	}
}

static int watch(uint64_t start, uint64_t end, uint8_t mode)
{
	struct uffdio_register registered = {
		.range = { start, end - start },
		.mode = modes[mode].registered,
	};
	struct uffdio_writeprotect protected = {
		.range = registered.range,
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	if (ask(fds[mode], UFFDIO_REGISTER, &registered))
		return errno;
	add(start, end, mode);
	if (mode == USERFAULT_WRITE_PROTECT && ask(fds[mode], UFFDIO_WRITEPROTECT, &protected))
		return errno;
	return 0;
}

int userfault(const struct vm *vm, const struct record *step)
{
	const uint64_t start = user_address(step->a, step->x);
	struct uffdio_range range = { start, clipped(step->x, step->y) };
	const uint64_t unit = unit_at(vm, user_address(step->a, 0));

	if (!vm->memory[step->a].made || step->x % unit || step->y % unit || !range.len)
		return EINVAL;
	if (step->y > USER_TOP - start) /* as if it were not clipped */
		return EINVAL;
	give_up(start, start + range.len);
	if (step->b != USERFAULT_OFF)
		return watch(start, start + range.len, step->b);
	return ask(fds[USERFAULT_MISSING], UFFDIO_UNREGISTER, &range) ? errno : 0;
}
