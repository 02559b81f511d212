"""How this command was started, for the commands that it tells people to type."""

import shutil
import sys
from pathlib import Path
from typing import Final

_NAME: Final = "gff"


def own_name() -> str:
    """``gff``, or the path it was started by where its name alone would not find it."""
    started = sys.argv[0]
    if Path(started).name != _NAME:
        return _NAME
    found = shutil.which(_NAME)
    same = found is not None and Path(found).resolve() == Path(started).resolve()
    return _NAME if same else started
