/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a worker has to say of its case, in memory that it shares with its supervisor. */
#ifndef GFF_REPORT_H
#define GFF_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "case.h"
#include "frame.h"

/* One KVM_RUN: emu/outcome.py says what each field means. The exceptions follow it. */
struct outcome {
	uint32_t step;
	int32_t ret, error;
	uint32_t exit_reason, before;
	int32_t access;
	uint64_t exits[4]; /* the exit union's words */
	uint8_t fresh, moved, changed, stuck, sigbus, vcpu, others_changed, injected;
	uint32_t exceptions, userfaults;
};

struct exception {
	uint32_t step, esr;
};

struct refusal {
	uint32_t step, error;
};

#define LOG_PAGES 4096 /* that a dirty log may tell of */

struct report {
	volatile uint32_t step; /* the one that is being done */
	uint32_t kind;          /* enum kind; 0 while there is nothing to tell */
	uint32_t size;
	uint8_t body[REPLY_MAX];
};

/* Adds to the outcomes; what does not fit ends the worker. */
void report_outcome(struct report *report, const struct outcome *outcome,
		    const struct exception *exceptions);
void report_log(struct report *report, uint32_t step, const uint32_t *pages, uint32_t count);
void report_refusal(struct report *report, uint32_t step, int error);

/* Each ends the worker. */
_Noreturn void report_objection(struct report *report, enum why why, uint32_t value);
_Noreturn void report_failure(struct report *report, const char *what, int error);
_Noreturn void report_done(struct report *report);
/* The outcomes, then PCs' lower halves, as many as have room, then their count, with REACHED_CUT. */
#define REACHED_CUT (UINT32_C(1) << 31)
_Noreturn void report_reached(struct report *report, const uint32_t *pcs, uint32_t count, bool cut);

#endif
