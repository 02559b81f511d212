/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's resident code: it takes one access after another from the queue, notes exceptions,
 * and rings the idle doorbell when the queue is empty. It runs at HARNESS_BASE and is copied there.
 * ERET gives an access the NZCV that it must find.
 */
#include "layout.h"
#include "tables.h"

	.section .rodata.guest, "a", %progbits
	.balign 4096
	.globl guest_page, guest_next, guest_bell

	.macro data reg
	mrs	\reg, tpidr_el1
	.endm

	.macro record reg, number /* DATA_RECORD times that, behind x9 */
	add	\reg, \number, \number, lsl #1
	add	\reg, x9, \reg, lsl #4
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
	record	x13, x10
	ldp	x14, x15, [x13, #DATA_ENTRY]
	ldp	x16, x18, [x13, #(DATA_ENTRY + 16)]
	cbnz	x18, enter
	mrs	x17, ttbr1_el1
	eor	x17, x17, x16
	cbz	x17, leave
	msr	ttbr1_el1, x16
	tlbi	vmalle1
	dsb	ish
	isb
leave:	/* x14: where to go, x15: what x1 holds there. ERET, so that no other register is needed. */
	mrs	x16, currentel	/* EL1, or EL2 where the guest is L1 */
	movz	x17, #0x2c1	/* its own stack pointer; SError is unmasked */
	orr	x16, x16, x17
go:	/* x16: the PSTATE to go with. As L1 runs with E2H, these are EL2's registers there. */
	msr	elr_el1, x14
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

enter:	/* L1 enters L2; what is in VNCR_EL2 counts with NV2 only. */
	msr	S3_4_C2_C2_0, x16	/* VNCR_EL2 */
	msr	S3_4_C1_C1_0, x18	/* HCR_EL2 */
	isb
	movz	x16, #0x2c5
	b	go

leave_l2: /* To L1's EL2, from below: with HVC #0 done, with HVC #1 for an exception of L2's own. */
	movz	x16, #(HCR_L1 & 0xffff)
	movk	x16, #(HCR_L1 >> 16 & 0xffff), lsl #16
	movk	x16, #(HCR_L1 >> 32 & 0xffff), lsl #32
	msr	S3_4_C1_C1_0, x16
	isb
	mrs	x12, esr_el1
	mrs	x13, elr_el1
	lsr	x14, x12, #26
	sub	x14, x14, #0x16
	cbnz	x14, note_it
	tst	x12, #0xffff
	b.eq	guest_next
	mrs	x12, S3_5_C5_C2_0	/* ESR_EL12 */
	mrs	x13, S3_5_C4_C0_1	/* ELR_EL12 */
	b	note_it

note:	/* The access is given up, so every register is free. */
	mrs	x12, esr_el1
	mrs	x13, elr_el1
note_it:
	data	x9
	ldr	x10, [x9, #DATA_NOTES]
	sub	x14, x10, #NOTES
	cbz	x14, guest_next
	ldr	x11, [x9, #DATA_AT]
	record	x14, x10
	str	w11, [x14, #DATA_NOTE]
	str	w12, [x14, #(DATA_NOTE + 4)]
	str	x13, [x14, #(DATA_NOTE + 8)]
	add	x10, x10, #1
	str	x10, [x9, #DATA_NOTES]
	b	guest_next

	.org	ACCESS_CODE
	.org	VECTORS
	.rept	8
	b	note
	.balign	128
	.endr
	b	leave_l2 /* from a lower EL */
	.balign	128
	.rept	7
	b	note
	.balign	128
	.endr
	.org	0x1000

	/* With the MMU off: touches what is from x0 to x1, and rings the bell. */
	.globl guest_forerunner
guest_forerunner:
	ldr	x2, [x0]
	str	x2, [x0]
	add	x0, x0, #0x1000
	sub	x2, x1, x0
	cbnz	x2, guest_forerunner
	str	x27, [x28]
	b	.
	.org	0x2000

	/* L2's accesses of an EL2 register, which NV2 makes L1's memory of: TPIDR_EL2. For L2's page. */
	.globl guest_vncr
guest_vncr:
	mrs	x0, S3_4_C13_C0_2
	hvc	#0
	msr	S3_4_C13_C0_2, x0
	hvc	#0

	.section .note.GNU-stack, "", %progbits
