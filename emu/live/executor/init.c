/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "init.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PORT "/dev/vport0p1"
#define DEBUGFS "/sys/kernel/debug"

static void write_file(const char *path, const char *words, size_t size)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, words, size) < 0)
		perror(path);
	if (fd >= 0)
		close(fd);
}

static void mount_at(const char *type, const char *path)
{
	mkdir(path, 0755);
	if (mount(type, path, type, 0, NULL))
		perror(path);
}

static void open_console(void)
{
	int console = open("/dev/console", O_RDWR);

	for (int fd = 0; console >= 0 && fd < 3; fd++)
		dup2(console, fd);
	if (console > 2)
		close(console);
}

#define THP "/sys/kernel/mm/transparent_hugepage/"

/* Huge pages where a case asks for them, at once, and not by a daemon in its own time. */
static void make_huge_pages(void)
{
	write_file(THP "enabled", "madvise", 7);
	write_file(THP "defrag", "madvise", 7);
	write_file(THP "use_zero_page", "1", 1); /* with less than 512 MiB a kernel begins with 0 */
	write_file(THP "khugepaged/scan_sleep_millisecs", "4294967295", 10);
	write_file("/proc/sys/vm/nr_hugepages", "8", 1);
	write_file("/proc/sys/vm/nr_overcommit_hugepages", "64", 2);
}

struct channel init_box(void)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	int port = -1;

	mount_at("devtmpfs", "/dev");
	open_console();
	mount_at("proc", "/proc");
	mount_at("sysfs", "/sys");
	mount_at("cgroup2", "/sys/fs/cgroup");
	if (!access(DEBUGFS, F_OK)) /* not every box has it */
		mount_at("debugfs", DEBUGFS);
	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory", 7);
	write_file("/proc/self/oom_score_adj", "-1000", 5);
	write_file("/proc/sys/vm/overcommit_memory", "1", 1);
	make_huge_pages();
	while ((port = open(PORT, O_RDWR | O_CLOEXEC)) < 0)
		nanosleep(&pause, NULL); /* the box has a time limit for it */
	return (struct channel){ port, port };
}
