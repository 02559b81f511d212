/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "access_flag.h"
#include "guest.h"
#include "inject.h"
#include "stranger.h"
#include "userfault.h"

#define STUCK_AFTER 2 /* seconds */
#define STUCK_AFTER_NESTED 10
#define NEVER_ENTERS (RUN_IMMEDIATE_EXIT | RUN_BAD_ARGUMENT | RUN_OTHER_MM | RUN_SIGNAL)
#define BLOCK_512G_SHIFT 39

struct signals {
	bool alarm, sigbus;
};

static volatile sig_atomic_t memory_errors;

static void on_sigbus(int number)
{
	(void)number;
	memory_errors = 1;
}

/* The others are blocked. A SIGBUS must not be: madvise() forces it, and would end the worker. */
void run_prepare(void)
{
	struct sigaction action = { .sa_handler = on_sigbus };

	sigaction(SIGBUS, &action, NULL);
}

void forget_sigbus(void)
{
	memory_errors = 0;
}

static struct signals take_signals(void)
{
	const struct timespec now = { 0 };
	struct signals seen = { .sigbus = memory_errors };
	sigset_t blocked;
	int number;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGALRM);
	while ((number = sigtimedwait(&blocked, NULL, &now)) > 0)
		seen.alarm |= number == SIGALRM;
	forget_sigbus();
	return seen;
}

static void set_alarm(time_t seconds)
{
	const struct itimerval timer = { .it_value = { .tv_sec = seconds } };

	setitimer(ITIMER_REAL, &timer, NULL);
}

/* The ioctl alone; its errno, or 0. */
static int kvm_run(const struct vm *vm, uint32_t flags, struct signals *seen)
{
	const unsigned long argument = flags & RUN_BAD_ARGUMENT ? 1 : 0;
	int error;

	vm->now->run->immediate_exit = !!(flags & RUN_IMMEDIATE_EXIT);
	if (flags & RUN_SIGNAL)
		raise(SIGUSR1);
	set_alarm(vm->nested ? STUCK_AFTER_NESTED : STUCK_AFTER);
	if (flags & RUN_OTHER_MM)
		error = stranger_run(vm, argument);
	else
		error = ask(vm->now->fd, KVM_RUN, argument) < 0 ? errno : 0;
	set_alarm(0);
	*seen = take_signals();
	vm->now->run->immediate_exit = 0;
	return error;
}

/*
 * Does what only a KVM_RUN that got past its first checks does: emu/kvm/arm.py. With an error the
 * reason may be one that was kept.
 */
static void note_completion(struct vm *vm, uint32_t flags, int error)
{
	if (flags & (RUN_OTHER_MM | RUN_BAD_ARGUMENT))
		return;
	vm->now->completing = !error && vm->now->run->exit_reason == MMIO;
}

/*
 * The harness's memory is in stage 2 from here on, as it is in the model: code, queue, and the
 * stage-1 tables of all that the case names.
 */
static void touch_harness(struct vm *vm)
{
	const uint64_t queue = DATA_ENTRY + (vm->played->count + 1) * DATA_RECORD;
	uint64_t touched_tables = 1; /* the first one translates the harness itself */

	/*
	 * The queue, as far as the case can come. The resident code touches its first page; L2 has to
	 * come to some page for what it runs by.
	 */
	for (uint64_t part = vm->nested ? 0 : 0x1000; part < queue; part += 0x1000)
		guest_touch(vm, HARNESS_BASE + DATA_PAGE + vm_index(vm) * VCPU_STRIDE + part);
	for (uint32_t i = 0; i < vm->played->count; i++) {
		const struct record *step = &vm->played->steps[i];
		uint64_t addresses[] = { step->x, step->x + step->y };

		for (int end = 0; end < 2; end++) {
			uint64_t table = addresses[end] >> BLOCK_512G_SHIFT;

			if ((step->op != OP_GUEST && step->op != OP_GUEST_L2 &&
			     step->op != OP_MEMSLOT) ||
			    table >> (STAGE1_BITS - BLOCK_512G_SHIFT) || touched_tables >> table & 1)
				continue;
			touched_tables |= UINT64_C(1) << table;
			guest_touch(vm, HARNESS_BASE + LEVEL1_PAGES + (table << 12));
		}
	}
}

static void run_to_bell(const struct vm *vm)
{
	struct signals seen;

	if (kvm_run(vm, 0, &seen) || vm->now->run->exit_reason != MMIO || vm->now->exits[0] != DOORBELL)
		vm_failed(vm, "the guest did not start");
}

/*
 * The model's guest has no queue. In a cold VM the queues are in stage 2 before the case, and nothing
 * else is; the case's own vCPUs have an empty page-table cache still.
 */
void run_forerunner(struct vm *vm)
{
	vm->now = &vm->vcpus[FORERUNNER];
	if (vm->now->ready) {
		guest_touch_queues(vm);
		run_to_bell(vm);
	}
	vm->now = &vm->vcpus[0];
}

static void warm_up_vcpu(struct vm *vm)
{
	struct signals seen;

	touch_harness(vm);
	guest_begin(vm);
	run_to_bell(vm);
	if (kvm_run(vm, RUN_IMMEDIATE_EXIT, &seen) != EINTR) /* completes the doorbell's store */
		vm_failed(vm, "KVM_RUN with immediate_exit");
	guest_forget(vm);
	vm->now->run->exit_reason = 0;
	memset(vm->now->exits, 0, 4 * sizeof(*vm->now->exits));
}

void run_warm_up(struct vm *vm)
{
	for (uint32_t i = 0; i < VCPUS; i++) {
		vm->now = &vm->vcpus[i];
		if (vm->now->ready)
			warm_up_vcpu(vm);
	}
	vm->now = &vm->vcpus[0];
}

/* A guest that was never entered, or got no further than its doorbell, is still before that. */
static bool load(const struct vm *vm, uint32_t flags)
{
	return vm->now->ready && !vm->now->completing && !(flags & NEVER_ENTERS) &&
	       guest_leave_bell(vm);
}

/* What a vCPU's first KVM_RUN needs, before the guest is entered, was refused so often. */
static uint32_t never_entered(const struct vm *vm)
{
	return inject_fired_at(vm, SITE_KVM_ARCH_VCPU_RUN_PID_CHANGE);
}

static void note_result(struct vm *vm, struct outcome *outcome, int error)
{
	outcome->ret = error ? -1 : 0;
	outcome->error = error;
	outcome->exit_reason = vm->now->run->exit_reason;
	for (int i = 0; i < 4; i++)
		outcome->exits[i] = vm->now->exits[i];
}

static void note_guest(struct vm *vm, struct outcome *outcome, struct exception *exceptions)
{
	const struct standing standing = guest_standing(vm);

	outcome->access = standing.step;
	outcome->moved = standing.moved;
	outcome->changed = standing.changed;
	outcome->exceptions = guest_exceptions(vm, &standing, exceptions);
}

/* What another vCPU's caller would see. */
struct seen {
	uint32_t exit_reason, flags;
	uint64_t exits[4];
};

static void see_others(const struct vm *vm, struct seen *seen)
{
	memset(seen, 0, VCPUS * sizeof(*seen));
	for (uint32_t i = 0; i < VCPUS; i++) {
		const struct vcpu *vcpu = &vm->vcpus[i];

		if (vcpu == vm->now || vcpu->fd < 0)
			continue;
		seen[i].exit_reason = vcpu->run->exit_reason;
		seen[i].flags = vcpu->run->flags;
		memcpy(seen[i].exits, vcpu->exits, sizeof(seen[i].exits));
	}
}

void run_once(struct vm *vm, uint32_t index)
{
	const uint32_t flags = vm->played->steps[index].word;
	struct outcome outcome = { .step = index, .before = vm->now->run->exit_reason };
	const bool stamped = outcome.before != MMIO; /* whose record is still wanted */
	struct exception exceptions[NOTES + 1];
	struct signals seen;
	struct seen before[VCPUS], after[VCPUS];
	const uint32_t userfaults = userfaults_resolved();
	uint64_t gpa, size;
	uint32_t refused;
	bool loaded;

	if (stamped) {
		vm->now->exits[1] = STAMP_GPA;
		vm->now->exits[2] = STAMP_SIZE;
	}
	gpa = vm->now->exits[1];
	size = vm->now->exits[2];
	refused = never_entered(vm);
	if (vm->sets_flags)
		access_flag_place(vm);
	loaded = load(vm, flags);
	if (!(flags & NEVER_ENTERS))
		vm->now->entered = true;
	see_others(vm, before);
	note_result(vm, &outcome, kvm_run(vm, flags, &seen));
	see_others(vm, after);
	outcome.vcpu = (uint8_t)vm_index(vm);
	outcome.others_changed = !!memcmp(before, after, sizeof(before));
	note_completion(vm, flags, outcome.error);
	outcome.fresh = vm->now->exits[1] != gpa || (!stamped && vm->now->exits[2] != size);
	outcome.stuck = seen.alarm && outcome.error == EINTR && !seen.sigbus;
	outcome.sigbus = seen.sigbus;
	outcome.userfaults = userfaults_resolved() - userfaults;
	if (loaded && never_entered(vm) != refused)
		guest_return_to_bell(vm);
	outcome.injected = inject_fired(vm) > 0;
	note_guest(vm, &outcome, exceptions);
	report_outcome(vm->report, &outcome, exceptions);
}
