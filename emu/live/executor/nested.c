/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VMM writes L1's tables in L1's stead, all of them anew with each change. L1's TLBI is stood in
 * for too: where memory of L1's goes, KVM drops the shadow that L2 runs under (arch/arm64/kvm/mmu.c,
 * kvm_unmap_gfn_range), and so a page of the harness that nobody needs is given back.
 */
#include "nested.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24 /* where there is a memory limit, all is locked: limit.c */
#endif

#define PAGE 0x1000
#define ENTRIES_OF_TABLE 512
#define BLOCK_SHIFT 21
#define BLOCK_SIZE (UINT64_C(1) << BLOCK_SHIFT)
#define LEVEL1_SHIFT 30
#define IPA_LIMIT (UINT64_C(1) << 40)
#define LEVELS 3

#define REGISTER(crn, crm, op2) ARM64_SYS_REG(3, 4, crn, crm, op2)
#define HCR_EL2 REGISTER(1, 1, 0)
#define VTTBR_EL2 REGISTER(2, 1, 0)
#define VTCR_EL2 REGISTER(2, 1, 2)
#define VBAR_EL1 ARM64_SYS_REG(3, 0, 12, 0, 0)
#define SCTLR_EL1 ARM64_SYS_REG(3, 0, 1, 0, 0)
#define PSTATE_EL2H 0x2c9

/* PS 48 bits, SH0 inner, write-back, T0SZ 24: 40 bits, two tables at level 1; or from level 2. */
#define VTCR (UINT64_C(1) << 31 | 5 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | 24)
#define VTCR_FROM_LEVEL1 (1 << 6)
#define VTCR_HA (1 << 21)

#define TABLE 3U
#define LEAF_PAGE 3U
#define LEAF_BLOCK 1U
#define LEAF (3U << 8 | 0xfU << 2) /* inner shareable, normal memory */
#define YOUNG (1U << 10)
#define OUTPUT (((UINT64_C(1) << 48) - 1) & ~(uint64_t)(PAGE - 1))
#define NO_EXECUTE (UINT64_C(2) << 53)

struct leaf {
	uint64_t ipa, output;
	uint8_t prot;
	bool block, old;
	uint64_t *entry; /* where it was written */
};

static const struct {
	uint64_t id, value;
} start[] = {
	{ REGISTER(2, 0, 0), STAGE1_TTBR0 },
	{ REGISTER(2, 0, 1), STAGE1_TTBR1 },
	{ REGISTER(2, 0, 2), STAGE1_TCR },
	{ REGISTER(10, 2, 0), STAGE1_MAIR },
	{ REGISTER(12, 0, 0), HARNESS_BASE + VECTORS },
	{ REGISTER(1, 1, 2), 3 << 20 },     /* CPTR_EL2: vector registers do not trap */
	{ REGISTER(1, 0, 0), SCTLR_MMU_ON }, /* SCTLR_EL2: as EL1's */
	{ HCR_EL2, HCR_L1 },
	{ VTTBR_EL2, HARNESS_BASE + STAGE2_LEVEL1 },
	{ VTCR_EL2, VTCR | VTCR_FROM_LEVEL1 },
	{ VBAR_EL1, HARNESS_BASE + L2_PAGE },
};

static struct leaf leaves[MAX_STEPS + 1];
static uint32_t count;
static uint64_t placed[LEVELS + 1];
static bool is_placed[LEVELS + 1], illegal;
static uint64_t room; /* the next table's place */

/* THE TABLES */

static uint64_t *at(uint64_t place)
{
	return (uint64_t *)(void *)(harness_memory + place);
}

static uint64_t new_table(const struct vm *vm)
{
	const uint64_t place = room;

	if (place == STAGE2_END)
		report_objection(vm->report, L1_TABLES, (STAGE2_END - STAGE2_TABLES) / PAGE);
	room += PAGE;
	memset(at(place), 0, PAGE);
	return place;
}

/* The table that an entry leads to; it is made if there is none. */
static uint64_t *below(const struct vm *vm, uint64_t *entry)
{
	if (!(*entry & 1))
		*entry = (HARNESS_BASE + new_table(vm)) | TABLE;
	return at((*entry & OUTPUT) - HARNESS_BASE);
}

static uint64_t *level1_entry(uint64_t ipa)
{
	return at(STAGE2_LEVEL1) + (ipa >> LEVEL1_SHIFT);
}

static uint64_t *level2_entry(const struct vm *vm, uint64_t ipa)
{
	return below(vm, level1_entry(ipa)) + (ipa >> BLOCK_SHIFT) % ENTRIES_OF_TABLE;
}

static uint64_t descriptor(const struct leaf *leaf)
{
	return (leaf->output & OUTPUT) | LEAF | (leaf->block ? LEAF_BLOCK : LEAF_PAGE) |
	       (leaf->old ? 0 : YOUNG) | (uint64_t)(leaf->prot & 3) << 6 |
	       (leaf->prot & 4 ? 0 : NO_EXECUTE);
}

static void write_leaf(const struct vm *vm, struct leaf *leaf)
{
	if (leaf->ipa >= IPA_LIMIT)
		return; /* no table reaches it */
	leaf->entry = level2_entry(vm, leaf->ipa);
	if (!leaf->block)
		leaf->entry = below(vm, leaf->entry) + (leaf->ipa >> 12) % ENTRIES_OF_TABLE;
	*leaf->entry = descriptor(leaf);
}

/* The access flags that KVM has set stay. */
static void read_flags(void)
{
	for (uint32_t i = 0; i < count; i++) {
		if (leaves[i].entry && (*leaves[i].entry & YOUNG))
			leaves[i].old = false;
	}
}

static void lead_to(uint64_t *table, uint32_t entries, uint64_t address)
{
	for (uint32_t i = 0; i < entries; i++) {
		if ((table[i] & TABLE) != LEAF_BLOCK)
			table[i] = (address & OUTPUT) | TABLE;
	}
}

/* Every way to level 3 leads to where L1 has placed it. */
static void place_level3(const struct vm *vm)
{
	const uint64_t others = new_table(vm);
	uint64_t *level1 = at(STAGE2_LEVEL1);

	for (uint32_t i = 0; i < 2 * ENTRIES_OF_TABLE; i++) {
		if (!(level1[i] & 1))
			level1[i] = (HARNESS_BASE + others) | TABLE;
		lead_to(below(vm, &level1[i]), ENTRIES_OF_TABLE, placed[3]);
	}
}

static void set_on_all(struct vm *vm, uint64_t id, uint64_t value)
{
	struct vcpu *now = vm->now;

	for (uint32_t i = 0; i < VCPUS; i++) {
		vm->now = &vm->vcpus[i];
		if (vm->now->ready)
			set_register(vm, id, value);
	}
	vm->now = now;
}

static void write_tables(struct vm *vm)
{
	room = STAGE2_TABLES;
	read_flags();
	memset(at(STAGE2_LEVEL1), 0, STAGE2_TABLES - STAGE2_LEVEL1);
	for (uint32_t i = 0; i < count; i++)
		write_leaf(vm, &leaves[i]);
	if (is_placed[3])
		place_level3(vm);
	if (is_placed[2])
		lead_to(level1_entry(0), 2 * ENTRIES_OF_TABLE, placed[2]);
	if (is_placed[1])
		set_on_all(vm, VTTBR_EL2, placed[1] & OUTPUT & ~(uint64_t)PAGE);
}

/*
 * What L1 changed holds from now on. An L2 whose code is out of reach has no stage 1: else the abort
 * would be at a table of that, and its syndrome another than the model's (emu/cpu.py). It takes a
 * second and more: KVM goes through 2^48 bytes.
 */
static void invalidate(struct vm *vm)
{
	const bool reached = !illegal && !is_placed[1] && !is_placed[2];

	vm->l2_ran = false;
	set_on_all(vm, SCTLR_EL1, reached ? SCTLR_MMU_ON : SCTLR_MMU_ON & ~1U);
	if (madvise(harness_memory + SPARE_PAGE, PAGE, MADV_DONTNEED_LOCKED))
		vm_failed(vm, "MADV_DONTNEED_LOCKED");
	*(volatile uint8_t *)(harness_memory + SPARE_PAGE) = 0; /* to be given back once more */
}

/* STEPS */

void nested_start(struct vm *vm)
{
	for (size_t i = 0; i < sizeof(start) / sizeof(*start); i++)
		set_register(vm, start[i].id, start[i].value);
	set_register(vm, CORE_REGISTER(regs.pstate), PSTATE_EL2H);
	memset(is_placed, 0, sizeof(is_placed));
	illegal = false;
	count = 0;
	leaves[count++] = (struct leaf){ HARNESS_BASE, HARNESS_BASE, 1 | 4, true, false, NULL };
	write_tables(vm);
	*(volatile uint8_t *)(harness_memory + SPARE_PAGE) = 0;
}

static bool in_harness(uint64_t first, uint64_t size)
{
	return first < HARNESS_BASE + HARNESS_SIZE && first + (size - 1) >= HARNESS_BASE;
}

static int refused(const struct vm *vm)
{
	return vm->nested && vm->played->page_size == PAGE ? 0 : EOPNOTSUPP;
}

static void forget(uint64_t ipa, bool block)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct leaf leaf = leaves[i];
		const bool same = leaf.ipa >> BLOCK_SHIFT == ipa >> BLOCK_SHIFT;

		if (same && (block || leaf.block || leaf.ipa == ipa))
			continue;
		leaves[kept++] = leaf;
	}
	count = kept;
}

int nested_map(struct vm *vm, const struct record *step, uint64_t where)
{
	const bool block = step->a & L1_BLOCK;
	const uint64_t size = block ? BLOCK_SIZE : PAGE;
	const bool old = step->a & L1_OLD;
	const struct leaf leaf = { step->x & -size, where & -size, step->a & 7, block, old, NULL };

	if (refused(vm))
		return refused(vm);
	if (in_harness(leaf.ipa, size) || in_harness(leaf.output, size))
		return EINVAL;
	forget(leaf.ipa, block);
	leaves[count++] = leaf;
	write_tables(vm);
	if (vm->l2_ran) /* else nothing of the case's is in the shadow */
		invalidate(vm);
	return 0;
}

int nested_table(struct vm *vm, const struct record *step, uint64_t where)
{
	if (refused(vm))
		return refused(vm);
	if (in_harness(where, 1))
		return EINVAL;
	placed[step->a + 1] = where;
	is_placed[step->a + 1] = true;
	write_tables(vm);
	invalidate(vm);
	return 0;
}

int nested_vtcr(struct vm *vm, const struct record *step)
{
	const uint64_t ha = step->a & L1_HARDWARE_AF ? VTCR_HA : 0;

	if (refused(vm))
		return refused(vm);
	illegal = !(step->a & L1_LEGAL);
	set_on_all(vm, VTCR_EL2, VTCR | ha | (illegal ? 0 : VTCR_FROM_LEVEL1));
	invalidate(vm);
	return 0;
}
