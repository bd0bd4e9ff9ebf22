"""How many examples the tests of properties try: fewer than they are written for in an ordinary run."""

from __future__ import annotations

import os

#: See CONTRIBUTING.md.
SHARE = float(os.environ.get("METAEXPERT_EXAMPLES", 10 if os.environ.get("METAEXPERT_NIGHTLY") else 0.2))


def examples(count: int) -> int:
    """Return how many examples a property tries that is written for *count* of them."""
    return max(round(count * SHARE), 10)
