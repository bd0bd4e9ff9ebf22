"""The reader that decides whether a subject did the same work, and how many entries are there."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from benchmarks.entry import BOUND, LOGGER, MESSAGE, WARM_UP_FROM, event_fields
from benchmarks.subjects import NAMES, chosen, subject_class
from benchmarks.validate import missing, tally

NOW = datetime(2026, 11, 22, 10, 31, tzinfo=UTC)


def line(number, **changes):
    entry = {
        "timestamp": "2026-11-22T10:31:00.000123Z",
        "level": "INFO",
        "logger": LOGGER,
        "message": MESSAGE,
        **BOUND,
        **event_fields(number),
        **changes,
    }
    return json.dumps({name: value for name, value in entry.items() if value is not None}).encode() + b"\n"


def lacks(tmp_path, *lines):
    path = tmp_path / "a.log"
    path.write_bytes(b"".join(lines))
    return missing([path], json.loads, NOW)


def test_whole_entry_lacks_nothing(tmp_path):
    """An entry with message, eight fields, level, logger and UTC microseconds is the common job."""
    assert lacks(tmp_path, line(1), line(2, timestamp=NOW.timestamp() + 0.000123)) == []


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"message": "something else"}, "message"),
        ({"symbol": None}, "field symbol"),
        ({"price": "64250.5"}, "field price"),
        ({"level": None}, "level"),
        ({"logger": "root"}, "logger name"),
        ({"timestamp": None}, "UTC timestamp"),
        ({"timestamp": "2026-11-22T10:31:00.123Z"}, "UTC timestamp"),
        ({"timestamp": "2026-11-22T10:31:00.123000Z"}, "microseconds"),
        ({"timestamp": "2026-11-22T19:31:00.000123Z"}, "UTC (local time)"),
    ],
)
def test_each_lack_is_named(tmp_path, changes, complaint):
    """What an entry has not, or has as another type, is named."""
    assert lacks(tmp_path, line(1, **changes)) == [complaint]


def test_unreadable_line_and_empty_file_are_named(tmp_path):
    """A line that is no JSON is a lack, and so is a file without entries."""
    assert lacks(tmp_path, b"{broken\n", line(1)) == ["a line could not be read (JSONDecodeError)"]
    assert lacks(tmp_path) == ["no entry at all"]


def test_tally_counts_lost_and_doubled(tmp_path):
    """Entries are counted over all files; a torn last line, NUL bytes and the warm-up are no entries."""
    first, second = tmp_path / "a.log", tmp_path / "a.log.1"
    first.write_bytes(line(0) + line(1) + line(WARM_UP_FROM) + line(3)[:-1])
    second.write_bytes(line(1) + b"Order filled n=2 more\n" + b"\0" * 50)
    assert tally([first, second], range(5)) == (3, 2, 1)


def test_subjects_are_described_without_their_libraries():
    """The table of a machine on which no peer is installed can still name every subject."""
    assert [subject.name for subject in chosen(None)] == list(NAMES)
    assert all(subject.title and subject.imports for subject in chosen(None))
    assert [subject.name for subject in chosen(["floor-noop", "ours-async"])] == ["ours-async", "floor-noop"]
    with pytest.raises(KeyError):
        subject_class("unknown")
