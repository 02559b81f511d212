/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "symbols.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tables.h"

#define NAME 19	  /* where it begins in a line, after an address and a type */
#define LAST "_etext" /* what follows is no code of the kernel's own */

static bool is(const char *name, size_t length, const char *other)
{
	return strlen(other) == length && !memcmp(name, other, length);
}

static bool wanted(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
		if (is(name, length, functions[i]))
			return true;
	}
	return false;
}

size_t describe_symbols(uint8_t *into, size_t room)
{
	FILE *file = fopen("/proc/kallsyms", "re");
	char line[1024];
	size_t used = 0;

	while (file && fgets(line, sizeof(line), file)) {
		const size_t length = strlen(line) > NAME ? strcspn(line + NAME, "\t\n") : 0;

		if (is(line + NAME, length, LAST))
			break;
		if (length && wanted(line + NAME, length))
			used += (size_t)snprintf((char *)into + used, room - used,
						 "at-%.*s=%.16s\n", (int)length, line + NAME, line);
	}
	if (file)
		fclose(file);
	return used;
}
