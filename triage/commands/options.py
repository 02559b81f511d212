"""The options that several commands share, worded once."""

import os
from typing import Annotated, Final

import typer

from triage.inputs import whole_number

CORES: Final = len(os.sched_getaffinity(0))

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, nothing else.")
]
Kernels = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel",
        "-k",
        metavar="NAME",
        help="A kernel of `gff kernels`; may be repeated.  [default: v7.3]",
    ),
]
OnlyKernels = Annotated[
    list[str] | None,
    typer.Option("--kernel", "-k", metavar="NAME", help="Only this kernel; may be repeated."),
]
OnLive = Annotated[
    str | None,
    typer.Option("--live", metavar="IMAGE", help="On a real kernel: an image, or host."),
]
Inject = Annotated[
    str | None,
    typer.Option(
        "--inject",
        metavar="NAME",
        help="What injects errors into the real kernel: breakpoint, debugfs, or allocation.",
    ),
]
ReadingName = Annotated[
    str, typer.Option("--reading", metavar="NAME", help="strict, documented or paranoid.")
]
Directory = Annotated[str, typer.Argument(metavar="DIR", help="The campaign's directory.")]
Metrics = Annotated[
    str | None,
    typer.Option(
        "--metrics",
        metavar="[ADDRESS:]PORT",
        help="Serve the campaign's figures as OpenMetrics; a port alone is of this machine only.",
    ),
]
Campaign = Annotated[
    str, typer.Option("--campaign", metavar="DIR", help="Where it is kept; continued if there.")
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        "-j",
        metavar="N",
        parser=whole_number("--workers", 1, 1024),
        help="Worker processes.",
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs", "-j", metavar="N", parser=whole_number("--jobs", 1, 1024), help="Compilers."
    ),
]
Interpreted = Annotated[
    bool,
    typer.Option("--interpreted", help="Run the source, also where `gff compile` was run."),
]
