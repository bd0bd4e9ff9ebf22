"""What masking adds to a log call.

    python -m benchmarks.masking

Blocks of calls with and without it alternate in one process, three secrets being registered; told are the medians, and
the median of the differences between neighbouring blocks. Without it means: the same call, taken not to hold a secret.
Run it with ``METAEXPERT_PURE_PYTHON=1`` too.
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final
from unittest.mock import patch

from metaexpert.logger import MetaLogger, register_secret
from metaexpert.logger.encoding._screen import screen
from metaexpert.logger.masking.rules import Rules
from metaexpert.logger.system.native import core

#: As exchanges give them: a key and a secret of 64 characters, and a phrase of the user's own.
SECRETS: Final = ("vmPUZE6mv9SD5VNHk4HlWFsOr6aK" * 3, "NhqPtmdSJYdKjVHjA7PZj4Mge3R5" * 3, "my-phrase-no-1")
CALLS: Final = 2000
BLOCKS: Final = 120
_WARM_UP: Final = 10


def block(info: Callable[..., None], ids: Sequence[str]) -> float:
    """Log an entry with each of *ids*. Returns nanoseconds per call."""
    began = time.perf_counter_ns()
    for order_id in ids:
        info("Order filled", side="BUY", size=0.1, price=70000.5, order_id=order_id, attempt=3)
    return (time.perf_counter_ns() - began) / len(ids)


def without_masking() -> tuple[Any, bytes]:
    """Return a context in which Python finds no secret, and a screen by which the core asks for none."""
    open_screen = bytes(flag & 1 for flag in screen[:256]) + bytes([255]) + bytes(len(screen) - 257)
    return patch.object(Rules, "find", lambda *_: []), open_screen


def measure(ids: Sequence[str], logger: Any) -> tuple[float, float, float]:
    """Return nanoseconds per call without and with masking, and the median difference."""
    masked = bytes(screen)
    open_calls, open_screen = without_masking()
    pairs = []
    for _ in range(BLOCKS):
        screen[:] = open_screen
        with open_calls:
            plain = block(logger.info, ids)
        screen[:] = masked
        pairs.append((plain, block(logger.info, ids)))
        logger.flush()
    pairs = pairs[_WARM_UP:]
    return median(p for p, _ in pairs), median(m for _, m in pairs), median(m - p for p, m in pairs)


def main() -> int:
    """Print both cases."""
    for secret in SECRETS:
        register_secret(secret)
    cases = {
        "no text as long as the shortest secret": [f"ord-{number}" for number in range(CALLS)],
        "order ids of 36 characters": [str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(CALLS)],
    }
    sys.stdout.write("compiled\n" if core is not None else "pure Python\n")
    with tempfile.TemporaryDirectory() as directory:
        options: dict[str, Any] = {"log_dir": directory, "log_to_console": False, "journal_size": "64MB"}
        with MetaLogger(**options, symbol="BTCUSDT", strategy_id=7) as logger:
            for name, ids in cases.items():
                plain, masked, more = measure(ids, logger)
                figures = f"{plain:.0f} ns without masking, {masked:.0f} ns with it, {more / plain:+.0%}"
                sys.stdout.write(f"{name}: {figures}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
