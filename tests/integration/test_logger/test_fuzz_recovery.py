"""Journals of a real process that died, changed by Hypothesis: recovery neither fails, nor writes a bad line.

METAEXPERT_FUZZ_EXAMPLES says how many (see CONTRIBUTING.md).
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from metaexpert.logger import MetaLogger

NIGHTLY = bool(os.environ.get("METAEXPERT_NIGHTLY"))
EXAMPLES = int(os.environ.get("METAEXPERT_FUZZ_EXAMPLES", 5_000 if NIGHTLY else 120))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not NIGHTLY,
    database=None,
)
ENTRIES = 120

VICTIM = f"""
import os
from metaexpert.logger import MetaLogger
from metaexpert.logger.files.writing_thread import writing_thread
import metaexpert.logger.journal.segment as segment
from metaexpert.logger.system.native import core
if os.environ["DIE"] == "intent" and hasattr(core, "Appender"):
    del core.Appender  # it commits by itself
logger = MetaLogger(log_to_console=False, journal_size=4096 * 16)
for number in range(40):
    logger.info("m", number=number, filler="x" * 200)
if os.environ["DIE"] == "intent":
    logger.flush()  # and there is a segment to spare
    segment.Segment.commit = lambda *_: os._exit(0)  # a batch is written, and not noted
    logger.info("m", number=40, filler="x" * 200)
    logger.flush()
writing_thread._directories = ()
for number in range(40, {ENTRIES}):
    logger.error("m", number=number, filler="x" * 200) if number % 7 == 0 else logger.trade.info("m", number=number)
os._exit(0)
"""


def edited(data: bytes, edits: list[tuple[float, bytes]], length: float | None, tail: bytes) -> bytes:
    """Return *data* with pieces replaced, cut to a share of its length, and with something behind it."""
    changed = bytearray(data)
    for place, piece in edits:
        at = int(place * max(len(changed) - 1, 0))
        changed[at : at + len(piece)] = piece
    if length is not None:
        del changed[int(length * len(changed)) :]
    return bytes(changed) + tail


#: Half of the changes are where they hurt: in the header.
PLACES = st.one_of(st.floats(0, 1), st.floats(0, 0.13))
PIECES = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.sampled_from(
        [b"\n", b"\0", b'{"timestamp":"', b"}\n", b"\xff" * 16, b"\0" * 64, b"\n\n\n", b'{"timestamp":"x"}\n']
    ),
)
CHANGES = st.tuples(
    st.lists(st.tuples(PLACES, PIECES), max_size=6), st.none() | st.floats(0, 1), st.just(b"") | st.binary(max_size=600)
)


@pytest.mark.storm
@pytest.mark.timeout(3600 if NIGHTLY else 120)
@pytest.mark.parametrize("died", ["waiting", "intent"])
def test_whatever_lies_in_the_journal(
    program: Any, tmp_path: Path, logs: Callable[..., Any], capsys: pytest.CaptureFixture[str], died: str
) -> None:
    """No exception, no torn or invalid line, nothing that was not logged, no entry of an unharmed segment missing."""
    program(VICTIM, env={**os.environ, "DIE": died})
    Path("logs").rename("original")
    segments = sorted(path.name for path in Path("original/.metaexpert").glob("*.segment"))
    assert len(segments) >= 2
    whole = {name: numbers(Path("original/.metaexpert", name).read_bytes()) for name in segments}
    turn = itertools.count()

    @FUZZ
    @given(st.dictionaries(st.sampled_from(segments), CHANGES, min_size=1, max_size=2), st.booleans())
    def fuzz(changes: dict[str, Any], twice: bool) -> None:
        place = tmp_path / f"turn{next(turn)}"
        shutil.copytree("original", place)
        for name, change in changes.items():
            path = place / ".metaexpert" / name
            path.write_bytes(edited(path.read_bytes(), *change))
        for _ in range(1 + twice):
            logger = MetaLogger(log_dir=place, log_to_console=False, install=False, capture_stdlib=False)
            assert logger.close()
            assert logger.stats()["failed"] == 0
        found = logs(place)
        for base in ("expert.log", "trades.log", "errors.log"):
            assert all(isinstance(entry, dict) for entry in found.entries(base))
        there = Counter(number for base in ("expert.log",) for number in found.numbers(base))
        unharmed = [number for name in segments if name not in changes for number in whole[name].get("expert.log", [])]
        assert [number for number in unharmed if number not in there] == []
        assert [number for number in unharmed if there[number] > 1] == []
        left = {path.suffix for path in (place / ".metaexpert").iterdir()}
        assert left <= {"", ".unreadable", ".damaged"}, left
        shutil.rmtree(place)

    fuzz()
    capsys.readouterr()


def numbers(segment: bytes) -> dict[str, list[int]]:
    """Return the numbers of the entries that wait in a segment, under the name of their file."""
    length = int.from_bytes(segment[24:26], "little")
    name = segment[26 : 26 + length].decode()
    found = [json.loads(line) for line in segment[512:].rstrip(b"\0").splitlines()]
    return {name: [entry["number"] for entry in found if "number" in entry]}
