/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel writes to an area until that is full. One KVM_RUN can fill any, as what unmaps walks
 * all of an L2's memory, so a process of its own empties it all the time.
 */
#include "kcov.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "kvm_abi.h"

#define KCOV_INIT_TRACE _IOR('c', 1, unsigned long)
#define KCOV_ENABLE _IO('c', 100)
#define KCOV_TRACE_PC 0
#define AREA (UINT64_C(1) << 19) /* words; the first one counts the others */
#define PLACES (1U << 15)	 /* a power of two */
#define FULL (PLACES / 2)
#define EVERY 1000000 /* nanoseconds */

static struct {
	atomic_flag taken;
	uint32_t used;
	bool cut;		 /* there were more than there was room for */
	uint32_t places[PLACES]; /* a table of the PCs' lower halves; 0 where it is empty */
} *reached;			 /* shared by the two processes */
static uint64_t *area;
static int kcov_fd = -1;
static pid_t drain;

static void note(uint32_t pc)
{
	uint32_t place = (pc >> 2) * 2654435769U % PLACES; /* the golden ratio's share of 2^32 */

	while (reached->places[place] && reached->places[place] != pc)
		place = (place + 1) % PLACES;
	if (reached->places[place])
		return;
	if (reached->used == FULL) {
		reached->cut = true;
		return;
	}
	reached->places[place] = pc;
	reached->used++;
}

/* A count that the kernel is about to write may undo this; then the same is read twice. */
static void take(void)
{
	uint64_t count;

	while (atomic_flag_test_and_set(&reached->taken))
		sched_yield();
	count = __atomic_load_n(area, __ATOMIC_ACQUIRE);
	for (uint64_t i = 1; i <= count; i++)
		note((uint32_t)area[i]);
	reached->cut |= count == AREA - 1;
	__atomic_store_n(area, 0, __ATOMIC_RELEASE);
	atomic_flag_clear(&reached->taken);
}

static _Noreturn void serve(pid_t worker)
{
	const struct timespec pause = { .tv_nsec = EVERY };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == worker) {
		nanosleep(&pause, NULL);
		take();
	}
	_exit(0);
}

static _Noreturn void refused(struct report *report)
{
	report_objection(report, HOST_KCOV, (uint32_t)errno);
}

void kcov_prepare(struct report *report)
{
	const pid_t worker = getpid();

	kcov_fd = open("/sys/kernel/debug/kcov", O_RDWR | O_CLOEXEC);
	if (kcov_fd < 0 || ask(kcov_fd, KCOV_INIT_TRACE, AREA))
		refused(report);
	area = mmap(NULL, AREA * sizeof(*area), PROT_READ | PROT_WRITE, MAP_SHARED, kcov_fd, 0);
	reached = mmap(NULL, sizeof(*reached), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (area == MAP_FAILED || reached == MAP_FAILED)
		refused(report);
	drain = fork();
	if (drain < 0)
		refused(report);
	if (!drain)
		serve(worker);
}

void kcov_begin(struct report *report)
{
	if (ask(kcov_fd, KCOV_ENABLE, KCOV_TRACE_PC))
		refused(report);
}

static int in_order(const void *one, const void *other)
{
	const uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;

	return (a > b) - (a < b);
}

void kcov_done(struct report *report)
{
	uint32_t count = 0;

	take();
	while (atomic_flag_test_and_set(&reached->taken)) /* it is not to end in the midst of it */
		sched_yield();
	kill(drain, SIGKILL);
	waitpid(drain, NULL, 0); /* it holds the VM */
	for (uint32_t i = 0; i < PLACES; i++) {
		if (reached->places[i])
			reached->places[count++] = reached->places[i];
	}
	qsort(reached->places, count, sizeof(*reached->places), in_order);
	report_reached(report, reached->places, count, reached->cut);
}
