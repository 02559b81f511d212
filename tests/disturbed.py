"""What a campaign keeps of its throughput while a worker of it crashes, hangs and leaks in turn.

    python -m tests.disturbed MINUTES [WORKERS]

Two campaigns run at the same time, so that each has the same machine; one is disturbed.
"""

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from fuzz.directory.series import Sample, samples
from fuzz.directory.store import Store

CHECKOUT: Final = Path(__file__).parent.parent
GFF: Final = "from triage.cli import main; main()"
EVERY: Final = 60  # seconds from one misbehaviour to the next


def main() -> None:
    """Run both, and say what each has done."""
    minutes = float(sys.argv[1])
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    with TemporaryDirectory(prefix="gff-disturbed-") as folder:
        roots = [Path(folder) / name for name in ("undisturbed", "disturbed")]
        started = [_start(root, minutes, workers) for root in roots]
        for process in started:
            process.wait()
        undisturbed, disturbed = (samples(root)[-1] for root in roots)
        _tell("undisturbed", undisturbed)
        _tell("disturbed", disturbed)
        for path in sorted(Store(roots[1]).harness.glob("died-*.txt")):
            sys.stdout.write(f"  {path.read_text().splitlines()[0]}\n")
        rest = disturbed.cases / undisturbed.cases
        sys.stdout.write(f"it keeps {rest:.1%} of the throughput\n")
    sys.exit(rest < 0.9)


def _start(root: Path, minutes: float, workers: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ}
    if root.name == "disturbed":
        environment |= {
            "PYTHONPATH": str(Path(__file__).parent / "misbehaviour"),
            "GFF_TEST_WORKER": f"0 {EVERY} crash hang leak",
            "GFF_TEST_TURNS": f"{root}.turns",
        }
    words = [sys.executable, "-c", GFF, "fuzz", "--workers", str(workers)]
    words += ["--for", f"{minutes * 60:.0f}s", "--campaign", str(root), "--seed", "1"]
    return subprocess.Popen(
        words, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )


def _tell(name: str, last: Sample) -> None:
    sys.stdout.write(
        f"{name}: {last.cases:,} cases in {last.seconds:.0f} s, {last.restarts} restarts, "
        f"{last.findings} findings, {last.differed} of {last.rerun} rerun differ\n"
    )


if __name__ == "__main__":
    main()
