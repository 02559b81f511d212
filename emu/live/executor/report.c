/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A body of outcomes: a tag u32 before each part. */
#include "report.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TAG_RUN = 1, TAG_REFUSAL = 2, TAG_LOG = 3 };

static void add(struct report *report, const void *part, size_t size)
{
	if (report->size + size > sizeof(report->body))
		report_failure(report, "the outcomes have no room", 0);
	memcpy(report->body + report->size, part, size);
	report->size += (uint32_t)size;
}

static void add_tag(struct report *report, uint32_t tag)
{
	add(report, &tag, sizeof(tag));
}

void report_outcome(struct report *report, const struct outcome *outcome,
		    const struct exception *exceptions)
{
	add_tag(report, TAG_RUN);
	add(report, outcome, sizeof(*outcome));
	add(report, exceptions, outcome->exceptions * sizeof(*exceptions));
}

void report_refusal(struct report *report, uint32_t step, int error)
{
	const struct refusal refusal = { step, (uint32_t)error };

	add_tag(report, TAG_REFUSAL);
	add(report, &refusal, sizeof(refusal));
}

void report_log(struct report *report, uint32_t step, const uint32_t *pages, uint32_t count)
{
	const uint32_t head[] = { step, count };

	add_tag(report, TAG_LOG);
	add(report, head, sizeof(head));
	add(report, pages, count * sizeof(*pages));
}

void report_objection(struct report *report, enum why why, uint32_t value)
{
	const struct objection objection = { (uint32_t)why, report->step, value };

	report->size = 0;
	add(report, &objection, sizeof(objection));
	report->kind = KIND_UNSUPPORTED;
	_exit(0);
}

void report_failure(struct report *report, const char *what, int error)
{
	int length;

	memcpy(report->body, (const void *)&report->step, sizeof(report->step));
	length = snprintf((char *)report->body + 4, 256, error ? "%s: %s" : "%s", what,
			  strerror(error));
	report->size = 4 + (uint32_t)(length < 255 ? length : 255);
	report->kind = KIND_FAILED;
	_exit(0);
}

void report_done(struct report *report)
{
	report->kind = KIND_OUTCOMES;
	_exit(0);
}

void report_reached(struct report *report, const uint32_t *pcs, uint32_t count, bool cut)
{
	const size_t room = (sizeof(report->body) - report->size) / sizeof(*pcs);
	uint32_t told = count;

	if (room <= count) {
		if (!room)
			report_failure(report, "the outcomes have no room", 0);
		told = (uint32_t)room - 1;
	}
	add(report, pcs, told * sizeof(*pcs));
	add_tag(report, told | (cut || told < count ? REACHED_CUT : 0));
	report->kind = KIND_REACHED;
	_exit(0);
}
