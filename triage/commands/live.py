"""``gff live``: kernels and QEMUs brought here, listed, and booted."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from emu.live import apt, box, build, cache, debian, fetch, images, protocol
from emu.live.build_variants import MODELS
from emu.live.debian import Part
from emu.live.fetch import Fetched, Source
from emu.live.images import Image, Transport
from emu.live.needs import Needs
from triage.commands.options import Json
from triage.ending import Status, UserError
from triage.inputs import unknown
from triage.live import live_errors
from triage.live_views import (
    Booted,
    FetchedView,
    FetchedViews,
    Listing,
    booted_rows,
    fetched_rows,
    listed_rows,
)
from triage.progress import ProgressLine
from triage.screen import show, show_json

_ANSWER_LIMIT: Final = 30.0

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME", help="A kernel or QEMU of `gff live list`; the QEMUs come with any kernel."
    ),
]
Mirror = Annotated[
    str | None,
    typer.Option(metavar="URL", help="A mirror of Debian.  [default: that of this machine's apt]"),
]
Suite = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The suite of the named parts, instead of the pinned one."),
]
Keyring = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The keys of the mirror.  [default: Debian's, as installed]"),
]
ImageName = Annotated[str, typer.Option("--image", metavar="NAME", help="A kernel in the cache.")]
KernelImage = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A kernel of your own: an arm64 Image.")
]
Qemu = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A qemu-system-aarch64 of your own.")
]
Bus = Annotated[
    str, typer.Option("--transport", metavar="NAME", help="Your kernel's bus: pci or mmio.")
]
Executor = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A static executor, instead of building one.")
]
Nested = Annotated[bool, typer.Option("--nested", help="With nested virtualisation.")]


def fetch_parts(
    names: Names = None,
    mirror: Mirror = None,
    suite: Suite = None,
    keyring: Keyring = None,
    json: Json = False,
) -> Status:
    """Bring arm64 kernels and QEMU here, from Debian's packages, into the cache.

    Uses this machine's apt with a state of its own; needs no root, installs nothing. A part is the
    pinned version or, where that is gone from the mirror, the newest of its series.

    Example: gff live fetch debian-7.3 debian-7.3-16k
    """
    start = time.monotonic()
    with live_errors():
        wanted = _wanted(names or [debian.DEFAULT], None if suite is None else apt.suite(suite))
        source = Source(mirror, keyring)
        found = tuple(_view(fetch.present(part) or _fetched(part, source)) for part in wanted)
    if json:
        show_json(FetchedViews(round(time.monotonic() - start, 1), found))
    else:
        show(
            fetched_rows(found),
            f"mirror: {next((each.mirror for each in found if each.mirror), 'not asked')}",
        )
    return Status.CLEAN


def list_parts(json: Json = False) -> Status:
    """List the kernels and QEMUs in the cache, and what else is known by name.

    Example: gff live list
    """
    with live_errors():
        kernels, qemus = tuple(images.kernels()), tuple(images.fetched_qemus())
    listing = Listing(str(cache.root()), kernels, qemus, tuple(debian.PINS), MODELS)
    if json:
        show_json(listing)
        return Status.CLEAN
    if kernels or qemus:
        show(listed_rows(listing))
    if listing.absent:
        show(f"gff live fetch can bring {', '.join(listing.absent)}")
    if listing.unbuilt:
        show(f"gff live build can make {', '.join(listing.unbuilt)}")
    return Status.CLEAN


def boot(
    image: ImageName = debian.DEFAULT,
    kernel_image: KernelImage = None,
    qemu: Qemu = None,
    transport: Bus = Transport.PCI.value,
    executor: Executor = None,
    nested: Nested = False,
    json: Json = False,
) -> Status:
    """Boot a kernel, save the machine with the executor ready, resume it, and end it.

    A nested machine cannot be resumed, and is booted once more.

    Example: gff live boot --image debian-7.3 --nested
    """
    bus = _transport(transport)
    with live_errors():
        chosen = images.own(kernel_image, qemu, bus) if kernel_image else images.image(image)
        if qemu and not kernel_image:
            chosen = replace(chosen, qemus=(images.users_qemu(qemu),))
        booted = _booted(chosen, executor or build.executor(build.folder()), nested)
    if json:
        show_json(booted)
    else:
        show(booted_rows(booted))
    return Status.CLEAN


def _wanted(names: list[str], suite: str | None) -> list[Part]:
    """The parts named, each once; a kernel brings the QEMUs along."""
    parts = [debian.part(name, suite) for name in dict.fromkeys(names)]
    if any(not part.is_qemu for part in parts):
        parts += [debian.part(name, None) for name in debian.QEMUS if name not in names]
    return parts


def _fetched(part: Part, source: Source) -> Fetched:
    with ProgressLine(None) as line:
        return fetch.fetch(
            part,
            source,
            lambda percent, doing: line.update(f"{part.name}  {percent:3.0f} %  {doing}"),
        )


def _view(fetched: Fetched) -> FetchedView:
    return FetchedView(
        fetched.record, str(fetched.folder), fetched.mirror, fetched.downloaded, fetched.remark
    )


def _booted(image: Image, executor: Path, nested: bool) -> Booted:
    with box.start(image, executor, Needs(nested, debugfs=True)) as started:
        saved = started.saved
        resumed = time.monotonic()
        started.restart()
        started.probe(_ANSWER_LIMIT)
        seconds = time.monotonic() - resumed
        complaints = (*saved.complaints, *started.console.findings())
        major, minor = image.qemu(nested=nested).version
        return Booted(
            image=image.name,
            kernel=image.version,
            page_size=image.page_size,
            qemu=f"{major}.{minor}",
            nested=nested,
            boot_seconds=round(saved.boot_seconds, 2),
            save_seconds=round(saved.save_seconds, 2),
            resume_seconds=round(seconds, 2),
            state_bytes=saved.size,
            told=_told(saved.hello),
            complaints=tuple(f"{each.complaint.value}: {each.line}" for each in complaints),
        )


def _told(hello: bytes) -> tuple[str, ...]:
    """The executor's words about its host; of another program's nothing is understood."""
    try:
        _, _, body = protocol.opened(hello)
        return tuple(body.decode("ascii").splitlines())
    except (protocol.ProtocolError, UnicodeDecodeError):
        return ()


def _transport(name: str) -> Transport:
    known = {each.value: each for each in Transport}
    if name not in known:
        raise UserError(unknown("transport", name, known))
    return known[name]
