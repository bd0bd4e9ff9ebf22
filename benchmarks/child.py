"""What runs in a subject's own process: read the order, do it, write down the figures.

    python -m benchmarks.child ORDER.json

Started by `benchmarks.host`, by nobody else.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from benchmarks.host import Order
from benchmarks.measures import measure_named
from benchmarks.subjects import subject_class


def main(path: str) -> None:
    """Carry out the order in the file at *path*; an exception ends the process with its traceback."""
    told = json.loads(Path(path).read_text("utf-8"))
    result = Path(told.pop("result"))
    order = Order(**told)
    subject = subject_class(order.subject)()
    os.environ.update(subject.environment)  # before its library is imported
    figures = measure_named(order.measure).inside(subject, order)
    unfinished = result.with_suffix(".part")
    unfinished.write_text(json.dumps(figures), "utf-8")
    unfinished.replace(result)


if __name__ == "__main__":
    main(sys.argv[1])
