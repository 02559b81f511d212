/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker joins a new cgroup with the first limit: what earlier cases left in the kernel's
 * per-CPU stock of charges belongs to other cgroups, and cannot pay for this one's pages.
 */
#include "limit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUP "/sys/fs/cgroup/gff"
#define NOBODY_TO_KILL "-1000"

static int max_fd = -1, procs_fd = -1;

static int write_all(int fd, const char *words)
{
	return write(fd, words, strlen(words)) < 0 ? errno : 0;
}

/* Without a process that the OOM killer may take, a charge that fails is ENOMEM. */
static int forbid_killing(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	int error = fd < 0 ? errno : write_all(fd, NOBODY_TO_KILL);

	if (fd >= 0)
		close(fd);
	return error;
}

void limit_prepare(const struct vm *vm)
{
	int error = forbid_killing();

	if (!error && mkdir(GROUP, 0700) && errno != EEXIST)
		error = errno;
	/*
	 * A page fault of the worker's own would be retried for ever. Not later: the case's memory
	 * is not to be brought in.
	 */
	if (!error && mlockall(MCL_CURRENT))
		error = errno;
	/* Opened now: under a limit of 0 nothing can be opened. */
	max_fd = open(GROUP "/memory.max", O_WRONLY | O_CLOEXEC);
	procs_fd = open(GROUP "/cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (!error && (max_fd < 0 || procs_fd < 0))
		error = errno;
	if (error)
		report_objection(vm->report, HOST_CGROUP, (uint32_t)error);
}

int limit_set(const struct vm *vm, bool on)
{
	int error;

	if (on && procs_fd >= 0) {
		error = write_all(procs_fd, "0");
		if (error) {
			errno = error;
			vm_failed(vm, "cgroup.procs");
		}
		close(procs_fd);
		procs_fd = -1;
	}
	return write_all(max_fd, on ? "0" : "max");
}

int limit_lock(bool on)
{
	const rlim_t most = on ? 0 : RLIM_INFINITY;
	const struct rlimit limit = { most, RLIM_INFINITY };

	return setrlimit(RLIMIT_MEMLOCK, &limit) ? errno : 0;
}

void limit_forget(void)
{
	rmdir(GROUP);
}
