/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "image.h"

#include <string.h>

#include "layout.h"
#include "tables.h"
#include "vm.h"

extern const uint8_t guest_page[], guest_next[], guest_bell[], guest_vncr[],
	guest_forerunner[]; /* guest.S */

#define PAGE 0x1000
#define BRANCH 0x14000000U
#define BRANCH_MASK 0x03ffffffU
#define HVC(immediate) (0xd4000002U | (immediate) << 5)
#define VECTOR_COUNT 16
#define VECTOR_SIZE 128
#define VNCR_WORDS 4

/* Stage 1 maps 44 bits onto themselves: see emu/harness.py. */
#define LEVEL1_COUNT (1U << (STAGE1_BITS - 39))
#define DESCRIPTOR_TABLE 3U
#define DESCRIPTOR_BLOCK (1U << 10 | 3U << 8 | 1U)

static uint64_t codes[ACCESSES], l2_codes[ACCESSES], vncr_code;

static uint64_t resident(const uint8_t *symbol)
{
	return HARNESS_BASE + (uint64_t)(symbol - guest_page);
}

uint64_t image_next(void)
{
	return resident(guest_next);
}

uint64_t image_bell(void)
{
	return resident(guest_bell);
}

uint64_t image_code(uint8_t access)
{
	return codes[access];
}

static void write_accesses(void)
{
	uint32_t *code = (uint32_t *)(void *)harness_memory;
	uint32_t place = ACCESS_CODE / 4;
	const uint32_t next = (uint32_t)(guest_next - guest_page) / 4;

	for (uint32_t i = 0; i < ACCESSES; i++) {
		codes[i] = HARNESS_BASE + place * 4;
		memcpy(code + place, accesses[i].code, accesses[i].words * sizeof(*code));
		place += accesses[i].words;
		code[place] = BRANCH | ((next - place) & BRANCH_MASK);
		place++;
		if (place > VECTORS / 4)
			__builtin_trap(); /* the accesses have outgrown their room */
	}
}

uint64_t image_code_l2(uint8_t access)
{
	return l2_codes[access];
}

uint64_t image_code_vncr(bool write)
{
	return vncr_code + (write ? 2 * sizeof(uint32_t) : 0);
}

/* L2 has nothing but its accesses; what they came to is L1's to note: leave_l2 in guest.S. */
static void write_l2(void)
{
	uint32_t *page = (uint32_t *)(void *)(harness_memory + L2_PAGE);
	uint32_t place = ACCESS_CODE_L2 / 4;

	for (uint32_t i = 0; i < VECTOR_COUNT; i++)
		page[i * VECTOR_SIZE / 4] = HVC(1U);
	for (uint32_t i = 0; i < ACCESSES; i++) {
		l2_codes[i] = HARNESS_BASE + L2_PAGE + place * 4;
		memcpy(page + place, accesses[i].code, accesses[i].words * sizeof(*page));
		place += accesses[i].words;
		page[place++] = HVC(0U);
		if (place > PAGE / 4 - VNCR_WORDS)
			__builtin_trap(); /* the accesses have outgrown their room */
	}
	vncr_code = HARNESS_BASE + L2_PAGE + place * 4;
	memcpy(page + place, guest_vncr, VNCR_WORDS * sizeof(*page));
}

static void write_tables(void)
{
	uint64_t *level0 = (uint64_t *)(void *)(harness_memory + LEVEL0_PAGE);
	uint64_t *level1 = (uint64_t *)(void *)(harness_memory + LEVEL1_PAGES);

	for (uint64_t i = 0; i < LEVEL1_COUNT; i++)
		level0[i] = (HARNESS_BASE + LEVEL1_PAGES + i * PAGE) | DESCRIPTOR_TABLE;
	for (uint64_t i = 0; i < LEVEL1_COUNT * 512; i++)
		level1[i] = i << 30 | DESCRIPTOR_BLOCK;
}

void image_write(void)
{
	memset(harness_memory, 0, LEVEL1_PAGES); /* every page that is used is there from now on */
	memcpy(harness_memory, guest_page, PAGE);
	write_accesses();
	write_l2();
	write_tables();
	memset(harness_memory + SPARE_PAGE, 0, PAGE);
	memset(harness_memory + DATA_PAGE, 0, FORERUNNER_PAGE - DATA_PAGE);
	memcpy(harness_memory + FORERUNNER_PAGE, guest_forerunner, PAGE);
	__builtin___clear_cache((char *)harness_memory, (char *)harness_memory + LEVEL1_PAGES);
	__builtin___clear_cache((char *)harness_memory + FORERUNNER_PAGE,
				(char *)harness_memory + FORERUNNER_PAGE + PAGE);
}
