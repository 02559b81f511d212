/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "inject.h"

#include <errno.h>
#include <fcntl.h>

#include "allocation.h"
#include "failure.h"

static enum { NOBODY, DEBUGGER, KERNEL, ALLOCATOR } injector;

void inject_begin(const struct vm *vm, bool allocating)
{
	if (allocating) {
		if (!allocation_begin())
			report_objection(vm->report, HOST_FAILURE, (uint32_t)errno);
		injector = ALLOCATOR;
	} else if (!ask(vm->kvm, INJECT_FORGET, 0)) {
		injector = DEBUGGER;
	} else if (failure_begin(vm)) {
		injector = KERNEL;
	} else {
		report_objection(vm->report, HOST_DEBUGGER, 0);
	}
}

int inject_fail(const struct vm *vm, const struct record *step)
{
	if (injector == KERNEL)
		failure_set(vm, step);
	else if (injector == ALLOCATOR)
		allocation_set(vm, step);
	else if (ask(vm->kvm, INJECT_FAIL, step->a | step->b << 8 | step->c << 16))
		report_objection(vm->report, HOST_FUNCTION, step->a);
	return 0;
}

void inject_end(const struct vm *vm)
{
	if (injector == ALLOCATOR)
		allocation_end(vm);
}

uint32_t inject_fired(const struct vm *vm)
{
	if (injector == KERNEL)
		return failure_fired(vm);
	if (injector == ALLOCATOR)
		return allocation_fired(vm);
	return injector == DEBUGGER ? (uint32_t)ask(vm->kvm, INJECT_FIRED, 0) : 0;
}

uint32_t inject_fired_at(const struct vm *vm, uint32_t site)
{
	if (injector == KERNEL)
		return failure_fired_at(vm, site);
	if (injector == ALLOCATOR)
		return allocation_fired_at(vm, site);
	return injector == DEBUGGER ? (uint32_t)ask(vm->kvm, INJECT_FIRED, site + 1) : 0;
}

void inject_forget(void)
{
	const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (kvm >= 0) {
		if (ask(kvm, INJECT_FORGET, 0))
			failure_forget();
		close(kvm);
	}
}
