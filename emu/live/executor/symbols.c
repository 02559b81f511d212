/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "symbols.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
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

/* They are in the order of their addresses. */
void symbols_of_sites(struct code sites[SITES])
{
	FILE *file = fopen("/proc/kallsyms", "re");
	struct code *begun = NULL;
	char line[1024];

	memset(sites, 0, SITES * sizeof(*sites));
	while (file && fgets(line, sizeof(line), file)) {
		const size_t length = strlen(line) > NAME ? strcspn(line + NAME, "\t\n") : 0;
		const uint64_t address = strtoull(line, NULL, 16);

		if (begun && address > begun->start) {
			begun->end = address;
			begun = NULL;
		}
		if (is(line + NAME, length, LAST))
			break;
		for (uint32_t site = 0; length && site < SITES; site++) {
			if (is(line + NAME, length, functions[1 + site])) {
				begun = &sites[site];
				begun->start = address;
			}
		}
	}
	if (file)
		fclose(file);
}
