"""The commands of ``gff`` and their order."""

import importlib.metadata
from typing import Annotated, Final

import typer

from triage.commands.bench import bench
from triage.commands.causes import measure_causes
from triage.commands.compile import compile_source
from triage.commands.confirm import confirm_finding
from triage.commands.conform import conform
from triage.commands.corpus import bless_corpus, check_corpus
from triage.commands.corpus_care import (
    export_corpus,
    import_corpus,
    merge_corpora,
    prune_corpus,
)
from triage.commands.doctor import doctor
from triage.commands.exhaust import exhaust
from triage.commands.findings import list_findings, show_finding
from triage.commands.fuzz import fuzz
from triage.commands.kernels import kernels
from triage.commands.live import boot, fetch_parts, list_parts
from triage.commands.live_build import build_kernels
from triage.commands.live_coverage import measure_coverage
from triage.commands.matrix import show_matrix
from triage.commands.quality import measure_quality
from triage.commands.report import write_report
from triage.commands.run import run
from triage.commands.status import show_status

_STATUSES: Final = (
    "Exit status: 0 clean, 1 findings or a mismatch, 2 bad usage or input, 3 something is missing, "
    "70 gff itself failed, 130 interrupted, 141 the reader of the output went away."
)
app: Final = typer.Typer(
    help="Test what KVM on arm64 tells a VMM when a guest memory access cannot be served.",
    epilog=_STATUSES,
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_triage: Final = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
_corpus: Final = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
_live: Final = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"gff {_version()}")
        raise typer.Exit


def _version() -> str:
    try:
        return importlib.metadata.version("guest-fault-fuzzer")
    except importlib.metadata.PackageNotFoundError:
        return "of a checkout, not installed"


_Version = Annotated[
    bool,
    typer.Option("--version", is_eager=True, callback=_tell_version, help="Print the version."),
]


@app.callback()
def _gff(version: _Version = False) -> None:
    pass


app.command(epilog=_STATUSES)(fuzz)
app.command("status", epilog=_STATUSES)(show_status)
app.command("report", epilog=_STATUSES)(write_report)
app.command(epilog=_STATUSES)(exhaust)
app.command(epilog=_STATUSES)(run)
app.command(epilog=_STATUSES)(kernels)
app.command("matrix", epilog=_STATUSES)(show_matrix)
app.add_typer(_triage, name="triage", help="The findings of a campaign.")
_triage.command("list", epilog=_STATUSES)(list_findings)
_triage.command("show", epilog=_STATUSES)(show_finding)
_triage.command("confirm", epilog=_STATUSES)(confirm_finding)
_triage.command("causes", epilog=_STATUSES)(measure_causes)
app.add_typer(_corpus, name="corpus", help="The cases with known outcomes.")
_corpus.command("check", epilog=_STATUSES)(check_corpus)
_corpus.command("bless", epilog=_STATUSES)(bless_corpus)
_corpus.command("merge", epilog=_STATUSES)(merge_corpora)
_corpus.command("prune", epilog=_STATUSES)(prune_corpus)
_corpus.command("import", epilog=_STATUSES)(import_corpus)
_corpus.command("export", epilog=_STATUSES)(export_corpus)
app.add_typer(_live, name="live", help="Real arm64 kernels in QEMU.")
_live.command("fetch", epilog=_STATUSES)(fetch_parts)
_live.command("build", epilog=_STATUSES)(build_kernels)
_live.command("list", epilog=_STATUSES)(list_parts)
_live.command("boot", epilog=_STATUSES)(boot)
_live.command("conform", epilog=_STATUSES)(conform)
_live.command("coverage", epilog=_STATUSES)(measure_coverage)
app.command("compile", epilog=_STATUSES)(compile_source)
app.command(epilog=_STATUSES)(bench)
app.command("quality", epilog=_STATUSES)(measure_quality)
app.command(epilog=_STATUSES)(doctor)
