/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stranger.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Eventfds: under a memory limit, a pipe or a socket has no room for a message. */
static pid_t stranger;
static int asked = -1, answered = -1;

static bool say(int event, uint64_t number)
{
	number++; /* 0 would not be heard */
	return write(event, &number, sizeof(number)) == sizeof(number);
}

static bool hear(int event, uint64_t *number)
{
	if (read(event, number, sizeof(*number)) != sizeof(*number))
		return false;
	--*number;
	return true;
}

static _Noreturn void serve(const struct vm *vm, pid_t worker)
{
	uint64_t argument;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* If the worker was killed before that, nobody asks. */
	while (getppid() == worker && hear(asked, &argument)) {
		const int vcpu = vm->vcpus[argument >> 1].fd;

		if (!say(answered, ask(vcpu, KVM_RUN, argument & 1) < 0 ? (uint64_t)errno : 0))
			break;
	}
	_exit(0);
}

void stranger_start(const struct vm *vm)
{
	const pid_t worker = getpid();

	asked = eventfd(0, EFD_CLOEXEC);
	answered = eventfd(0, EFD_CLOEXEC);
	if (asked < 0 || answered < 0)
		vm_failed(vm, "eventfd");
	stranger = fork();
	if (stranger < 0)
		vm_failed(vm, "fork");
	if (!stranger)
		serve(vm, worker);
}

int stranger_run(const struct vm *vm, unsigned long argument)
{
	uint64_t error;

	if (!say(asked, (uint64_t)vm_index(vm) << 1 | argument) || !hear(answered, &error))
		vm_failed(vm, "the process with another mm");
	return (int)error;
}

void stranger_end(void)
{
	if (!stranger)
		return;
	kill(stranger, SIGKILL);
	waitpid(stranger, NULL, 0); /* it holds the VM */
}
