/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What guest.S and guest.c share: offsets in the guest's memory at HARNESS_BASE. */
#ifndef GFF_LAYOUT_H
#define GFF_LAYOUT_H

#define CODE_PAGE 0x0000
#define LEVEL0_PAGE 0x1000
#define ZERO_PAGE 0x2000
#define L2_PAGE 0xf000 /* L2's vectors, and its code in the half above */
#define LEVEL1_PAGES 0x10000
#define STAGE2_LEVEL1 0x40000 /* L1's tables for L2: two pages, then those of the other levels */
#define STAGE2_TABLES 0x42000
#define STAGE2_END 0x80000
#define SPARE_PAGE 0x80000
/* The queues: in no page of the host's that has code or tables, as a cold guest finds them mapped. */
#define DATA_PAGE 0x90000
#define VCPU_STRIDE 0x3000 /* from one vCPU's data to the next one's */
#define FORERUNNER_PAGE 0x9f000 /* its code: behind the queues of four vCPUs, and its own */

/* HCR_EL2 of L1, which runs as a host does: RW, TGE, E2H. */
#define HCR_L1 0x488000000

/* In the code page: the resident code, the accesses, the vectors (2 KiB, as VBAR_EL1 wants). */
#define ACCESS_CODE 0x200
#define VECTORS 0x800

/* In a vCPU's data, which TPIDR_EL1 holds the address of. */
#define DATA_TAKEN 0  /* entries that the guest has begun */
#define DATA_QUEUED 8 /* entries that the VMM has written */
#define DATA_AT 16    /* the entry that the guest is at, or NO_ENTRY */
#define DATA_NOTES 24 /* exceptions noted */
#define DATA_ENTRY 64 /* the first entry: PC, x1, TTBR1_EL1 and 0; for L2, VNCR_EL2 and HCR_EL2 */
#define DATA_NOTE 96  /* the first note: entry u32, ESR_EL1 u32, ELR_EL1 u64 */
#define DATA_RECORD 48 /* from one entry to the next: few of both are in one page */
#define NOTES 252
#define ENTRIES NOTES

#define ACCESS_CODE_L2 0x800 /* in L2_PAGE */

#endif
