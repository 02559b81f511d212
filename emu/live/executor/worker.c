/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "access_flag.h"
#include "guest.h"
#include "inject.h"
#include "kcov.h"
#include "limit.h"
#include "run.h"
#include "shared.h"
#include "steps.h"
#include "stranger.h"
#include "userfault.h"

/* Seconds; each KVM_RUN has its own limit: run.c. What unmaps is slow where there is an L2. */
#define TIME_LIMIT 60
#define TIME_LIMIT_NESTED 240

#define KVM "/dev/kvm"

/*
 * A read of a worker's brings in all that is in the same 64 KiB: of a short case everything but the
 * frame that asks for it.
 */
#define BROUGHT_IN 0x10000

static struct {
	struct desk desk;
	struct vm vm;
	struct report report;
} *shared;
static struct report *report;
static int kvm;

struct desk *worker_prepare(void)
{
	sigset_t blocked;

	shared = shared_memory(sizeof(*shared), BROUGHT_IN);
	memset(shared, 0, sizeof(*shared)); /* it is there from now on */
	report = &shared->report;
	kvm = open(KVM, O_RDWR | O_CLOEXEC);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigaddset(&blocked, SIGUSR1);
	sigaddset(&blocked, SIGALRM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* nothing of the executor's own is huge */
	harness_make();
	return &shared->desk;
}

/* THE WORKER */

static bool has(const struct guest_case *played, uint8_t op, uint32_t flag)
{
	for (uint32_t i = 0; i < played->count; i++) {
		if (played->steps[i].op == op && (!flag || (played->steps[i].word & flag)))
			return true;
	}
	return false;
}

static bool has_kind(const struct guest_case *played, uint8_t kind)
{
	for (uint32_t i = 0; i < played->count; i++) {
		if (played->steps[i].op == OP_CREATE_MEM && played->steps[i].b == kind)
			return true;
	}
	return false;
}

static bool has_access(const struct guest_case *played, uint8_t access)
{
	for (uint32_t i = 0; i < played->count; i++) {
		if (played->steps[i].op == OP_GUEST && played->steps[i].a == access)
			return true;
	}
	return false;
}

static void do_steps(struct vm *vm)
{
	for (uint32_t i = 0; i < vm->played->count; i++) {
		int error;

		report->step = i;
		if (vm->played->steps[i].op == OP_RUN) {
			run_once(vm, i);
			continue;
		}
		error = do_step(vm, i);
		if (error)
			report_refusal(report, i, error);
		forget_sigbus();
	}
}

static _Noreturn void work(const struct guest_case *played, enum kind kind)
{
	struct vm *vm = &shared->vm;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (has_kind(played, MEM_THP))
		prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
	run_prepare();
	memset(vm, 0, offsetof(struct vm, bases)); /* what is in the rest is counted */
	vm->played = played;
	vm->report = report;
	vm->kvm = kvm < 0 ? open(KVM, O_RDWR | O_CLOEXEC) : kvm; /* for the reason */
	if (vm->kvm < 0)
		vm_failed(vm, KVM);
	if (played->page_size != (uint32_t)sysconf(_SC_PAGESIZE))
		report_objection(report, HOST_PAGE, (uint32_t)sysconf(_SC_PAGESIZE));
	vm->warms_l2 = has(played, OP_GUEST_L2, 0) || has(played, OP_FAIL, 0);
	vm->event = has(played, OP_IOEVENTFD, 0) ? eventfd(0, EFD_CLOEXEC) : -1;
	vm->sets_flags = has_access(played, ACCESS_WALK_AF);
	if (vm->sets_flags)
		access_flag_prepare(vm);
	vm_make(vm, vm->kvm);
	if (kind == KIND_TRACED)
		kcov_prepare(report);
	if (has(played, OP_RUN, RUN_OTHER_MM))
		stranger_start(vm);
	if (has(played, OP_USERFAULT, 0))
		userfault_prepare(vm);
	if (has(played, OP_FAIL, 0))
		inject_begin(vm, kind == KIND_ALLOCATING);
	if (has(played, OP_MEMORY_LIMIT, 0))
		limit_prepare(vm);
	if (played->flags & VM_COLD)
		run_forerunner(vm);
	else
		run_warm_up(vm);
	if (kind == KIND_TRACED)
		kcov_begin(report);
	do_steps(vm);
	inject_end(vm);
	stranger_end();
	if (kind == KIND_TRACED)
		kcov_done(report);
	report_done(report);
}

/* ITS SUPERVISOR */

/* Whether it ended in time, by itself; how, in words. */
static bool await(pid_t worker, time_t seconds, char *how, size_t room)
{
	const struct timespec limit = { .tv_sec = seconds };
	sigset_t ended;
	int status = 0;

	sigemptyset(&ended);
	sigaddset(&ended, SIGCHLD);
	while (waitpid(worker, &status, WNOHANG) == 0) {
		if (sigtimedwait(&ended, NULL, &limit) < 0 && errno == EAGAIN) {
			kill(worker, SIGKILL);
			waitpid(worker, &status, 0);
			snprintf(how, room, "the worker took more than %lld s",
				 (long long)seconds);
			return false;
		}
	}
	if (WIFSIGNALED(status))
		snprintf(how, room, "the worker was ended by signal %d", WTERMSIG(status));
	return WIFEXITED(status);
}

static void reap_orphans(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static void send_failure(const struct channel *channel, uint32_t id, const char *how)
{
	uint8_t body[4 + 128];
	const size_t size = strnlen(how, 128);

	memcpy(body, (const void *)&report->step, 4);
	memcpy(body + 4, how, size);
	send_frame(channel, KIND_FAILED, id, body, 4 + size);
}

void play(const struct channel *channel, uint32_t id, const struct guest_case *played,
	  enum kind kind)
{
	char how[128] = "the worker ended without a word";
	const time_t seconds = played->flags & VM_NESTED ? TIME_LIMIT_NESTED : TIME_LIMIT;
	pid_t worker;
	bool ended;

	report->kind = report->size = 0;
	report->step = played->count; /* the VM comes before the first step */
	worker = fork();
	if (worker == 0)
		work(played, kind);
	ended = worker > 0 && await(worker, seconds, how, sizeof(how));
	if (has(played, OP_MEMORY_LIMIT, 0))
		limit_forget();
	if (has(played, OP_FAIL, 0))
		inject_forget();
	reap_orphans();
	if (ended && report->kind)
		send_frame(channel, (enum kind)report->kind, id, report->body, report->size);
	else
		send_failure(channel, id, how);
}
