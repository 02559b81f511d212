"""What the commands of ``gff live`` show: parts fetched, built, listed; a boot."""

from typing import Final

import msgspec
from rich.console import RenderableType

from emu.live.build_variants import PREFIX
from emu.live.images import Record
from triage.screen import printable
from triage.tables import Table, columns, rows

# What is to be said of a line of the executor's.
_NOTES: Final = {
    # arm64's kvm_vm_ioctl_check_extension has no case for KVM_CAP_MEMORY_FAULT_INFO, but its
    # gmem_abort calls kvm_prepare_memory_fault_exit.
    "cap-memory-fault-info=0": "  (arm64 does not advertise it, and reports MEMORY_FAULT anyway)"
}


class FetchedView(msgspec.Struct, frozen=True):
    """A part, where it is, what was downloaded for it, and what is to be said of its choice."""

    part: Record
    folder: str
    mirror: str
    downloaded: int
    remark: str


class FetchedViews(msgspec.Struct, frozen=True):
    """What ``fetch --json`` prints."""

    seconds: float
    parts: tuple[FetchedView, ...]


class BuiltView(msgspec.Struct, frozen=True):
    """A kernel that was built, how long that took, and what is to be said of it."""

    kernel: Record
    seconds: float
    remark: str


class BuiltViews(msgspec.Struct, frozen=True):
    """What ``build --json`` prints."""

    seconds: float
    kernels: tuple[BuiltView, ...]


class Listing(msgspec.Struct, frozen=True):
    """What ``list --json`` prints: what is in the cache, and what can be fetched or built."""

    cache: str
    kernels: tuple[Record, ...]
    qemus: tuple[Record, ...]
    known: tuple[str, ...]
    variants: tuple[str, ...]

    @property
    def absent(self) -> list[str]:
        """The known names that are not in the cache."""
        here = {each.name for each in (*self.kernels, *self.qemus)}
        return [name for name in self.known if name not in here]

    @property
    def unbuilt(self) -> list[str]:
        """The variants that are not in the cache."""
        here = {each.name for each in self.kernels}
        return [name for name in self.variants if PREFIX + name not in here]


class Booted(msgspec.Struct, frozen=True):
    """What ``boot --json`` prints.

    ``complaints`` are the lines of the console in which the kernel complained, ``told`` is what
    the executor said of its host.
    """

    image: str
    kernel: str
    page_size: int
    qemu: str
    nested: bool
    boot_seconds: float
    save_seconds: float
    resume_seconds: float
    state_bytes: int
    told: tuple[str, ...]
    complaints: tuple[str, ...]


def fetched_rows(found: tuple[FetchedView, ...]) -> Table:
    """The parts below one another."""
    table = columns("part", "version", "suite", "bytes", "remark", wide="remark", right=("bytes",))
    for each in found:
        part = each.part
        size = f"{each.downloaded:,}" if each.downloaded else "-"
        table.add_row(part.name, part.package_version, part.suite, size, each.remark or "pinned")
    return table


def built_rows(built: tuple[BuiltView, ...]) -> Table:
    """The kernels below one another."""
    table = columns("image", "release", "pages", "seconds", "remark", right=("pages", "seconds"))
    for each in built:
        kernel = each.kernel
        pages = f"{kernel.page_size >> 10}K"
        table.add_row(kernel.name, kernel.version, pages, f"{each.seconds:.1f}", each.remark)
    return table


def listed_rows(listing: Listing) -> Table:
    """What is in the cache."""
    table = columns("part", "version", "pages", "suite", "pinned", right=("pages",))
    for part in (*listing.kernels, *listing.qemus):
        pages = f"{part.page_size >> 10}K" if part.page_size else ""
        pinned = "yes" if part.pinned else "no"
        version = part.version if part.recipe else part.package_version
        table.add_row(part.name, version, pages, part.suite, pinned)
    return table


def booted_rows(booted: Booted) -> RenderableType:
    """What a boot showed."""
    return rows(
        [
            ("kernel", f"{booted.kernel}, {booted.page_size >> 10}K pages"),
            ("qemu", booted.qemu + (", nested virtualisation" if booted.nested else "")),
            ("boot", f"{booted.boot_seconds:.1f} s until the executor was ready"),
            *_again(booted),
            *(("told", f"{printable(line)}{_NOTES.get(line, '')}") for line in booted.told),
            *(("console", printable(line)) for line in booted.complaints),
        ]
    )


def _again(booted: Booted) -> list[tuple[str, str]]:
    """How it came to answer once more: a nested one has no state."""
    answered = f"{booted.resume_seconds:.2f} s until it answered"
    if booted.nested:
        return [("again", answered)]
    saved = f"{booted.save_seconds:.2f} s, {booted.state_bytes >> 20} MiB"
    return [("save", saved), ("resume", answered)]
