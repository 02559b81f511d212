/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's resident code: it takes one access after another from the queue, notes exceptions,
 * and rings the idle doorbell when the queue is empty. It runs at HARNESS_BASE and is copied there.
 * No instruction here changes NZCV: an access must find it as the VMM set it.
 */
#include "layout.h"
#include "tables.h"

	.section .rodata.guest, "a", %progbits
	.balign 4096
	.globl guest_page, guest_next, guest_bell

	.macro data reg
	movz	\reg, #DATA_PAGE
	movk	\reg, #(HARNESS_BASE >> 16), lsl #16
	.endm

guest_page:
guest_next:
	data	x9
	ldr	x10, [x9, #DATA_TAKEN]
	ldr	x11, [x9, #DATA_QUEUED]
	sub	x12, x11, x10
	cbz	x12, idle
	str	x10, [x9, #DATA_AT]
	add	x12, x10, #1
	str	x12, [x9, #DATA_TAKEN]
	add	x13, x9, #(ENTRY_PAGES - DATA_PAGE)
	add	x13, x13, x10, lsl #ENTRY_SHIFT
	ldp	x14, x15, [x13]
	ldr	x16, [x13, #16]
	mrs	x17, ttbr1_el1
	eor	x17, x17, x16
	cbz	x17, leave
	msr	ttbr1_el1, x16
	tlbi	vmalle1
	dsb	ish
	isb
leave:	/* x14: where to go, x15: what x1 holds there. ERET, so that no other register is needed. */
	msr	elr_el1, x14
	movz	x16, #0x2c5	/* EL1h; SError is unmasked */
	msr	spsr_el1, x16
	mov	x1, x15
	movz	x28, #(DOORBELL >> 16), lsl #16
	.irp	n, 0,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,29,30
	mov	x\n, xzr
	.endr
	movi	v0.2d, #0
	movi	v1.2d, #0
	eret
idle:
	mov	x10, #-1
	str	x10, [x9, #DATA_AT]
	adr	x14, guest_bell
	mov	x15, xzr
	b	leave
guest_bell:
	str	x27, [x28]
	b	guest_next

note:	/* The access is given up, so every register is free. */
	data	x9
	ldr	x10, [x9, #DATA_NOTES]
	sub	x14, x10, #NOTES
	cbz	x14, guest_next
	ldr	x11, [x9, #DATA_AT]
	mrs	x12, esr_el1
	mrs	x13, elr_el1
	add	x14, x9, x10, lsl #NOTE_SHIFT
	str	w11, [x14, #DATA_NOTE]
	str	w12, [x14, #(DATA_NOTE + 4)]
	str	x13, [x14, #(DATA_NOTE + 8)]
	add	x10, x10, #1
	str	x10, [x9, #DATA_NOTES]
	b	guest_next

	.org	ACCESS_CODE
	.org	VECTORS
	.rept	16
	b	note
	.balign	128
	.endr
	.org	0x1000

	.section .note.GNU-stack, "", %progbits
