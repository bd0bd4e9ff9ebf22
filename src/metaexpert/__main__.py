"""`python -m metaexpert`, and the console script `metaexpert`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: The arguments after the program's name; None for `sys.argv`.

    Returns:
        0 for success, 1 when a problem was found or a run failed, 2 for wrong input, 130 after Ctrl-C.
    """
    try:
        # Imported here, so that Ctrl-C during the imports ends as quietly as later.
        from metaexpert.cli.app import execute  # noqa: PLC0415

        return execute(arguments)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
