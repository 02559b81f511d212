/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What guest.S and guest.c share: offsets in the guest's memory at HARNESS_BASE. */
#ifndef GFF_LAYOUT_H
#define GFF_LAYOUT_H

#define CODE_PAGE 0x0000
#define LEVEL0_PAGE 0x1000
#define ZERO_PAGE 0x2000
#define DATA_PAGE 0x3000
#define ENTRY_PAGES 0x4000
#define LEVEL1_PAGES 0x10000

/* In the code page: the resident code, the accesses, the vectors (2 KiB, as VBAR_EL1 wants). */
#define ACCESS_CODE 0x200
#define VECTORS 0x800

/* In the data page. */
#define DATA_TAKEN 0  /* entries that the guest has begun */
#define DATA_QUEUED 8 /* entries that the VMM has written */
#define DATA_AT 16    /* the entry that the guest is at, or NO_ENTRY */
#define DATA_NOTES 24 /* exceptions noted */
#define DATA_NOTE 64  /* the first note: entry u32, ESR_EL1 u32, ELR_EL1 u64 */
#define NOTE_SHIFT 4
#define NOTES 252

/* An entry: PC, x1, TTBR1_EL1, and 8 bytes that are not used. */
#define ENTRY_SHIFT 5
#define ENTRIES NOTES

#endif
