/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which of the kernel's instrumented code the worker reached: Documentation/dev-tools/kcov.rst. */
#ifndef GFF_KCOV_H
#define GFF_KCOV_H

#include "report.h"

void kcov_prepare(struct report *report); /* before anything of the worker's is locked in memory */
void kcov_begin(struct report *report);	  /* what the worker's thread reaches from here on */
_Noreturn void kcov_done(struct report *report); /* in place of report_done() */

#endif
