/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "inject.h"

#include <errno.h>
#include <fcntl.h>

static bool begun;

void inject_begin(const struct vm *vm)
{
	if (ask(vm->kvm, INJECT_FORGET, 0))
		report_objection(vm->report, HOST_DEBUGGER, 0);
	begun = true;
}

int inject_fail(const struct vm *vm, const struct record *step)
{
	if (ask(vm->kvm, INJECT_FAIL, step->a | step->b << 8 | step->c << 16))
		report_objection(vm->report, HOST_FUNCTION, step->a);
	return 0;
}

uint32_t inject_fired(const struct vm *vm)
{
	return begun ? (uint32_t)ask(vm->kvm, INJECT_FIRED, 0) : 0;
}

uint32_t inject_fired_at(const struct vm *vm, uint32_t site)
{
	return begun ? (uint32_t)ask(vm->kvm, INJECT_FIRED, site + 1) : 0;
}

void inject_forget(void)
{
	const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm >= 0) {
		(void)ask(kvm, INJECT_FORGET, 0);
		close(kvm);
	}
}
