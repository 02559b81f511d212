/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is in the guest's memory from the start: its code and its stage-1 tables. */
#ifndef GFF_IMAGE_H
#define GFF_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

void image_write(void); /* to harness_memory, once */

/* Guest-physical addresses: of the resident code, of its store to the doorbell, of an access. */
uint64_t image_next(void);
uint64_t image_bell(void);
uint64_t image_code(uint8_t access);

/* For a guest with EL2: of L2's copy of an access, and of an access of the VNCR page. */
uint64_t image_code_l2(uint8_t access);
uint64_t image_code_vncr(bool write);

#endif
