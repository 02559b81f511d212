/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* The addresses are the model's: emu/kvm/state.py. No object reaches the next one. */
#define USER_BASE UINT64_C(0x100000000000)
#define USER_STRIDE_SHIFT 36
#define OBJECT_LIMIT (UINT64_C(1) << USER_STRIDE_SHIFT)

uint64_t user_address(uint32_t object, uint64_t offset)
{
	return USER_BASE + ((uint64_t)object << USER_STRIDE_SHIFT) + offset;
}

uint64_t clipped(uint64_t offset, uint64_t size)
{
	if (offset >= OBJECT_LIMIT)
		return 0;
	return size > OBJECT_LIMIT - offset ? OBJECT_LIMIT - offset : size;
}

uint64_t unit_at(const struct vm *vm, uint64_t address)
{
	const uint64_t object = (address - USER_BASE) >> USER_STRIDE_SHIFT;

	return vm->memory[object].kind == MEM_HUGETLB ? HUGE_SIZE : vm->played->page_size;
}

static void *place(uint32_t object, uint64_t offset)
{
	return (void *)(uintptr_t)user_address(object, offset);
}

static uint64_t page_size(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static int answer(int returned)
{
	return returned < 0 ? errno : 0;
}

/* THE VMM'S OWN MEMORY */

/* QEMU's machine virt has NOR flash that nothing of the kernel's uses; a store of 0 resets it. */
#define FLASH "/sys/firmware/devicetree/base/flash@0"
#define FLASH_OF_ONE (UINT64_C(1) << 24)

static int map_device(const struct vm *vm, uint32_t index, uint64_t size)
{
	const int file = access(FLASH, F_OK) ? -1 : open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
	void *mapped;

	if (file < 0 && errno == ENOMEM)
		return errno;
	if (file < 0 || size > FLASH_OF_ONE)
		report_objection(vm->report, HOST_DEVICE, (uint32_t)FLASH_OF_ONE);
	mapped = mmap(place(index, 0), size, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_FIXED_NOREPLACE, file, (off_t)(index * FLASH_OF_ONE));
	close(file);
	return mapped == MAP_FAILED ? errno : 0;
}

static int map_object(uint32_t index, uint64_t size, uint8_t kind, int *file)
{
	int flags = MAP_FIXED_NOREPLACE | MAP_NORESERVE;

	flags |= kind == MEM_FILE || kind == MEM_SHARED ? MAP_SHARED : MAP_PRIVATE;
	if (kind != MEM_FILE)
		flags |= MAP_ANONYMOUS;
	if (kind == MEM_HUGETLB)
		flags |= MAP_HUGETLB;
	if (kind == MEM_FILE) {
		*file = memfd_create("gff", MFD_CLOEXEC);
		if (*file < 0 || ftruncate(*file, (off_t)size))
			return errno;
	}
	if (mmap(place(index, 0), size, PROT_READ | PROT_WRITE, flags, *file, 0) == MAP_FAILED)
		return errno;
	/* The case says what is huge, not the host. */
	if (kind == MEM_THP)
		return answer(madvise(place(index, 0), size, MADV_HUGEPAGE));
	if (kind == MEM_ANONYMOUS)
		madvise(place(index, 0), size, MADV_NOHUGEPAGE);
	return 0;
}

int create_mem(struct vm *vm, uint32_t index, uint64_t size, uint8_t kind)
{
	struct object *object = &vm->memory[index];

	if (size == 0)
		return EINVAL;
	if (size > OBJECT_LIMIT)
		return ENOMEM;
	munmap(place(index, 0), OBJECT_LIMIT);
	if (object->file >= 0)
		close(object->file);
	object->file = -1;
	object->made = true;
	object->kind = kind;
	if (kind == MEM_DEVICE)
		return map_device(vm, index, size);
	return map_object(index, size, kind, &object->file);
}

int unmap(uint32_t index, uint64_t offset, uint64_t size)
{
	if (offset >= OBJECT_LIMIT)
		return EINVAL;
	if (size > OBJECT_LIMIT - offset)
		size = OBJECT_LIMIT - offset;
	return answer(munmap(place(index, offset), size));
}

int protect(const struct vm *vm, uint32_t index, uint64_t offset, uint64_t size, uint8_t how)
{
	static const int protections[] = {
		[PROTECTION_NONE] = PROT_NONE,
		[PROTECTION_READ] = PROT_READ,
		[PROTECTION_READ_WRITE] = PROT_READ | PROT_WRITE,
	};

	if (offset % page_size())
		return EINVAL;
	if (size == 0)
		return 0;
	if (!vm->memory[index].made || offset >= OBJECT_LIMIT)
		return ENOMEM;
	if (size > OBJECT_LIMIT - offset)
		size = OBJECT_LIMIT - offset;
	return answer(mprotect(place(index, offset), size, protections[how]));
}

int truncate_mem(const struct vm *vm, uint32_t index, uint64_t size)
{
	if (vm->memory[index].file < 0)
		return EBADF;
	if (size > OBJECT_LIMIT)
		return EINVAL;
	return answer(ftruncate(vm->memory[index].file, (off_t)size));
}

int poison_mem(uint32_t index, uint64_t offset)
{
	void *page = place(index, offset & ~(page_size() - 1));

	if (offset >= OBJECT_LIMIT)
		return ENOMEM;
	/* Else a page that nobody wrote would be the zero page. EINVAL: it may not be written. */
	if (madvise(page, page_size(), MADV_POPULATE_WRITE) && errno != EINVAL)
		return errno;
	return answer(madvise(page, page_size(), MADV_HWPOISON));
}

/* GUEST_MEMFD */

int create_gmem(struct vm *vm, uint32_t index, uint64_t size, uint64_t flags)
{
	struct gmem *gmem = &vm->gmems[index];
	struct kvm_create_guest_memfd create = { .size = size, .flags = flags };

	release_gmem(vm, index);
	gmem->fd = ask(vm->fd, KVM_CREATE_GUEST_MEMFD, &create);
	gmem->size = size;
	return answer(gmem->fd);
}

int change_gmem(const struct vm *vm, uint32_t index, uint64_t offset, uint64_t size, int mode)
{
	const int fd = vm->gmems[index].fd;

	if (fd < 0)
		return EBADF;
	return answer(fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size));
}

int release_gmem(struct vm *vm, uint32_t index)
{
	struct gmem *gmem = &vm->gmems[index];

	if (gmem->fd < 0)
		return EBADF;
	close(gmem->fd);
	gmem->fd = -1;
	return 0;
}

int poison_gmem(const struct vm *vm, uint32_t index, uint64_t offset)
{
	const struct gmem *gmem = &vm->gmems[index];
	const bool inside = offset < gmem->size;
	const off_t start = inside ? (off_t)(offset & ~(page_size() - 1)) : 0;
	void *page;
	int error;

	if (gmem->fd < 0)
		return EBADF;
	page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_SHARED, gmem->fd, start);
	if (page == MAP_FAILED)
		return errno;
	error = inside ? answer(madvise(page, page_size(), MADV_HWPOISON)) : EFAULT;
	munmap(page, page_size());
	/* EBUSY: the page is marked, and stays in the file, which is what was wanted. */
	return error == EBUSY ? 0 : error;
}
