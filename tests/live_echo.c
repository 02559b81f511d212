/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first process of a box that the tests look at: it sends frames back, and can misbehave. */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int port;

static void take(uint8_t *into, size_t size)
{
	while (size) {
		ssize_t got = read(port, into, size);

		if (got > 0) {
			into += got;
			size -= (size_t)got;
		} else {
			usleep(1000); /* nobody is at the other end */
		}
	}
}

static void put(const uint8_t *from, size_t size)
{
	while (size) {
		ssize_t done = write(port, from, size);

		if (done > 0) {
			from += done;
			size -= (size_t)done;
		}
	}
}

static void say(const char *path, const char *words)
{
	int file = open(path, O_WRONLY);

	if (write(file, words, strlen(words)) < 0)
		_exit(1);
	close(file);
}

static int asked(const uint8_t *body, uint32_t size, const char *words)
{
	return size == strlen(words) && !memcmp(body, words, size);
}

int main(void)
{
	static const uint8_t ready[] = "\5\0\0\0ready";
	static uint8_t frame[4 + 65536];
	uint32_t size;

	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	while ((port = open("/dev/vport0p1", O_RDWR)) < 0)
		usleep(5000);
	put(ready, sizeof(ready) - 1);
	for (;;) {
		take(frame, 4);
		memcpy(&size, frame, 4);
		take(frame + 4, size);
		if (asked(frame + 4, size, "die"))
			return 1;
		if (asked(frame + 4, size, "warn and crash"))
			say("/dev/kmsg", "<4>WARNING: a test\n");
		if (asked(frame + 4, size, "crash") || asked(frame + 4, size, "warn and crash"))
			say("/proc/sysrq-trigger", "c");
		while (asked(frame + 4, size, "hang"))
			pause();
		put(frame, 4 + size);
	}
}
