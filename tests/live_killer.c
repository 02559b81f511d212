/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linked with the executor's own source: a process beside it in the box that kills its workers with
 * SIGKILL, each after a while of its own, and complains on the console of what outlives one.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define EVERY 3          /* workers; the others come to their end */
#define SPARED 10        /* the first: what they are asked is what the host can do */
#define LIFETIME 8000000 /* nanoseconds that one has at most; most cases take as long */
#define LINGERING 1      /* seconds that a dead worker's processes may take to end */

static uint32_t chance(uint32_t below)
{
	static uint32_t seed = 1;

	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

static void complain(pid_t id)
{
	char line[64];
	const int size = snprintf(line, sizeof(line), "BUG: %d is left running\n", id);
	const int log = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	if (log < 0 || write(log, line, (size_t)size) < 0)
		abort();
	close(log);
}

/* The executor has one worker at a time: a child before that is what an earlier one left. */
static void watch(pid_t leftover)
{
	static pid_t watched;
	static time_t since;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (watched != leftover) {
		watched = leftover;
		since = now.tv_sec;
	} else if (leftover && now.tv_sec - since > LINGERING) {
		complain(leftover);
		watched = 0;
	}
}

/* The executor's children but this one, in the order in which they began. */
static size_t children(pid_t *into, size_t room)
{
	FILE *list = fopen("/proc/1/task/1/children", "re");
	size_t count = 0;
	pid_t id;

	while (list && fscanf(list, "%d", &id) == 1) {
		if (id != getpid() && count < room)
			into[count++] = id;
	}
	if (list)
		fclose(list);
	return count;
}

static void look(void)
{
	static pid_t last;
	static int due;
	pid_t found[64];
	const size_t count = children(found, 64);
	const pid_t worker = count ? found[count - 1] : 0;

	watch(count > 1 ? found[0] : 0);
	if (worker == last)
		return;
	last = worker;
	if (worker % EVERY == 0 && worker && ++due > SPARED) {
		nanosleep(&(struct timespec){ .tv_nsec = chance(LIFETIME) }, NULL);
		kill(worker, SIGKILL);
	}
}

__attribute__((constructor)) static void begin(void)
{
	if (getpid() != 1 || fork())
		return;
	for (;;) {
		look();
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}
