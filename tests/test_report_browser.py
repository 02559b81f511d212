"""A campaign's report in a browser, as wide as a desk and as narrow as a phone."""

import re
import shutil
import subprocess
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.campaigns import Past, lived
from tests.command import finding
from triage.overview import overview
from triage.report import report
from triage.report_page import page

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER: Final = next(filter(None, map(shutil.which, NAMES)), None)
QUIET: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--hide-scrollbars",
    *("--enable-logging=stderr", "--window-size=1400,900", "--dump-dom"),
)
WIDTHS: Final = (1280, 390)
TOO_WIDE: Final = "<!doctype html><title>w</title><div style='width:1000px'>x</div>"
# Pages in frames, how wide each is in its own, and a word on the console to show that it is heard.
FRAMES: Final = """<!doctype html><title>frames</title>{frames}<ul id="told"></ul><script>
addEventListener("load", () => {{
  for (const frame of document.querySelectorAll("iframe")) {{
    const page = frame.contentDocument.documentElement;
    const item = document.createElement("li");
    item.textContent = `${{page.clientWidth}} ${{page.scrollWidth}} ${{page.scrollHeight}}`;
    document.querySelector("#told").append(item);
  }}
  console.error("heard");
}});
</script>"""
FRAME: Final = '<iframe style="border:0;width:{}px;height:800px" srcdoc="{}"></iframe>'


class Framed(NamedTuple):
    """The width of a frame, that of the page in it, and the page's height."""

    width: int
    content: int
    height: int


def browsed(folder: Path, *pages: tuple[int, str]) -> tuple[list[Framed], list[str]]:
    """Pages in frames of these widths; what became of them, and what the console said."""
    frames = "".join(FRAME.format(width, escape(content)) for width, content in pages)
    path = folder / "frames.html"
    path.write_text(FRAMES.format(frames=frames), encoding="utf-8")
    ended = subprocess.run(
        [str(BROWSER), *QUIET, f"--user-data-dir={folder / 'profile'}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told = re.findall(r"<li>(\d+) (\d+) (\d+)</li>", ended.stdout)
    console = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    return [Framed(*map(int, each)) for each in told], console


@pytest.mark.skipif(
    BROWSER is None, reason="NO BROWSER: the report's look is NOT checked; install chromium"
)
def test_the_report_fits_its_window_and_the_browser_has_nothing_to_complain_of(
    tmp_path: Path,
) -> None:
    kernels = ("v7.3", "bad-a-kernel-with-a-very-long-name-indeed-which-does-not-fold")
    clauses = ("C2-gmem_abort-natural", "C4-kvm_handle_guest_abort_of_a_long_name-injected")
    found = [finding(clause, kernel, 9.0) for clause in clauses for kernel in kernels]
    root = tmp_path / "some"
    lived(root, Past(killed=True, last_new_s=600.0), *found)
    (root / "questions" / f"{'long' * 40}.case").write_text("x" * 500)
    made = page(report(overview(str(root))))
    framed, console = browsed(tmp_path, *((width, made) for width in WIDTHS), (390, TOO_WIDE))
    assert len(console) == 1, console
    assert "heard" in console[0]
    assert [each.width for each in framed] == [*WIDTHS, 390]
    assert [each.content > each.width for each in framed] == [False, False, True]
    assert all(each.height > 2000 for each in framed[:2])
