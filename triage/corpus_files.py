"""Where the corpus is: in the checkout, or inside the package once it is installed."""

from importlib import resources
from pathlib import Path


def corpus_dir() -> Path:
    """The folder that holds the corpus.

    The packaged copy goes first: beside an installed ``triage`` a folder that happens to be named
    ``corpus`` could be anybody's, and a checkout never has the packaged copy.
    """
    package = Path(str(resources.files("triage")))
    packaged = package / "_corpus"
    return packaged if packaged.is_dir() else package.parent / "corpus"


def case_files(folder: Path) -> tuple[Path, ...]:
    """Every ``.case`` file in and below ``folder``, in an order that does not change."""
    # Not those with a leading dot: such a file is still being written.
    return tuple(sorted(folder.rglob("[!.]*.case")))
