"""The entry point of ``gff``. Nothing is imported here that takes time: Ctrl-C may come early."""

import sys


def main() -> None:
    """The entry point of ``gff``."""
    try:
        from triage.execution import execute_own  # noqa: PLC0415 - see above

        status = execute_own()
    except KeyboardInterrupt:
        status = 128 + 2
    sys.exit(status)
