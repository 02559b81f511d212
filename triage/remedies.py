"""What would let a live machine play what it could not, by the reason that it gave."""

from typing import Final

from emu.live.unsupported import NO_EL2, NO_ERRORS, PAGES

_LARGE: Final = ", those of the case 16"
_OPTIONS: Final = {NO_EL2: "--nested", NO_ERRORS: "--inject"}


def larger_pages(reason: str) -> str:
    """The kind of image that plays it, to be put behind the reason; "" where none is known."""
    large = PAGES in reason and reason.endswith(_LARGE)
    return " (an image with 16K pages can: debian-7.3-16k)" if large else ""


def option(reason: str, *, nested: bool, inject: bool) -> str:
    """The option of ``gff live conform``, if it is not given, or the image."""
    wanted = _OPTIONS.get(reason)
    given = {"--nested": nested, "--inject": inject}
    if wanted is None or given[wanted]:
        return larger_pages(reason)
    return f" ({wanted} plays them)"
