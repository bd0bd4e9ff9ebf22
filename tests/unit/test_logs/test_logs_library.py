"""The entries of a directory: which, in which order, each once."""

import gzip
import os
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metaexpert.logs import Entry, Record, Unparsed, level_number, open_logs
from metaexpert.logs.entry import by_time, parse
from metaexpert.logs.reading import _survey, dedup, merge
from metaexpert.logs.reading.files import Counts, LogFile, find_logs
from metaexpert.logs.reading.snapshot import Snapshot
from metaexpert.logs.verify import verify

Line = Callable[..., bytes]


def texts(records: Iterable[Record]) -> list[str]:
    return [record.text for record in records]


def numbers(records: Iterable[Record]) -> list[int]:
    return [record.key[1] for record in records]


def write(path: Path, *lines: bytes) -> None:
    path.write_bytes(b"".join(lines))


def test_files_and_backups_are_one_story_in_order(tmp_path: Path, line: Line) -> None:
    """Current files, backups and compressed backups are read as one stream, the oldest first."""
    write(tmp_path / "expert.log", line(5), line(6))
    write(tmp_path / "expert.log.1", line(4))
    (tmp_path / "expert.log.2.gz").write_bytes(gzip.compress(line(2) + line(3)))
    write(tmp_path / "expert.log.10", line(1))
    assert numbers(open_logs(tmp_path)) == [1, 2, 3, 4, 5, 6]


def test_experts_are_merged_by_time(tmp_path: Path, line: Line) -> None:
    """Entries of several logs are ordered by time, within one instant by sequence id."""
    write(tmp_path / "ema.log", line(1, "a", at=1), line(2, "c", at=3), line(3, "e", at=5, procid="1"))
    write(tmp_path / "rsi.log", line(1, "b", at=2), line(2, "d", at=5, procid="2"))
    assert texts(open_logs(tmp_path)) == list("abcde")


def test_an_entry_in_several_files_is_shown_once(tmp_path: Path, line: Line) -> None:
    """A failed trade stands in three files and comes once; a DEBUG trade stands in one and comes too."""
    failed = line(2, "rejected", level="error", category="trade")
    debug = line(3, "book", level="debug", category="trade")
    write(tmp_path / "expert.log", line(1), failed, line(4))
    write(tmp_path / "trades.log", failed, debug)
    write(tmp_path / "errors.log", failed)
    logs = open_logs(tmp_path)
    assert numbers(logs) == [1, 2, 3, 4]
    assert numbers(logs.last(3)) == [2, 3, 4]
    assert logs.counts.entries == 3


def test_copies_are_known_where_the_clock_stepped_back(tmp_path: Path, line: Line) -> None:
    """Entries written after the clock stepped back stand where their times are, without doubles."""
    hours = [line(n, level="error" if n % 10 == 0 else "info", at=n if n < 600 else n - 500) for n in range(1, 1000)]
    write(tmp_path / "expert.log", *hours)
    write(tmp_path / "errors.log", *(text for text in hours if b'"error"' in text))
    got = numbers(open_logs(tmp_path))
    assert sorted(got) == list(range(1, 1000))
    assert got == sorted(range(1, 1000), key=lambda n: (n if n < 600 else n - 500, n))


def test_a_restart_with_the_same_process_id_hides_nothing(tmp_path: Path, line: Line) -> None:
    """In a container each run is process 1 and counts from 1 again: all their errors are shown."""
    runs = [line(n, f"run {run}", level="error", at=60 * run + n, procid="1") for run in (0, 1) for n in (1, 2)]
    write(tmp_path / "expert.log", *runs)
    write(tmp_path / "errors.log", *runs)
    assert texts(open_logs(tmp_path)) == ["run 0", "run 0", "run 1", "run 1"]


def test_foreign_errors_without_numbers_are_all_shown(tmp_path: Path) -> None:
    """Entries that bear no sequence id cannot be told apart, so none is taken for a copy."""
    text = b'{"timestamp":"2026-11-22T10:31:00Z","level":"error","message":"m"}\n'
    write(tmp_path / "other.log", text, text)
    assert texts(open_logs(tmp_path)) == ["m", "m"]


def test_the_window_of_copies_is_bounded() -> None:
    """What is remembered of trades and errors does not grow with the logs; a very late copy is shown again."""
    once = dedup.Once(window=2)
    entries = [parse(_error(n), "x.log") for n in (1, 2, 1, 3, 2, 4, 5, 1)]
    taken = [once.take(entry) is not None for entry in entries if entry]
    assert taken == [True, True, False, True, False, True, True, True]


def _error(number: int) -> bytes:
    text = '{"timestamp":"2026-11-22T10:31:00Z","level":"error","message":"m","sequence_id":%d}'
    return (text % number).encode()


def test_only_logs_are_read(tmp_path: Path, line: Line) -> None:
    """Directories, journals, temporary files and files of other names are left alone."""
    write(tmp_path / "expert.log", line(1))
    for name in ("expert.log.bak", "expert.log.1.gz.tmp", "expert.log.01", "expert.txt", "expert.log.gz", ".log"):
        write(tmp_path / name, line(9, name))
    (tmp_path / ".metaexpert").mkdir()
    write(tmp_path / ".metaexpert" / "journal.log", line(9))
    (tmp_path / "old.log").mkdir()
    assert numbers(open_logs(tmp_path)) == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in directories")
def test_a_named_pipe_does_not_block(tmp_path: Path, line: Line) -> None:
    """A pipe that is called like a log is not opened."""
    os.mkfifo(tmp_path / "pipe.log")
    write(tmp_path / "expert.log", line(1))
    assert len(list(open_logs(tmp_path))) == 1


def test_diagnostics_are_shown_only_when_asked(tmp_path: Path, line: Line) -> None:
    """The logger's own troubles and their backups stay out unless they are wanted."""
    write(tmp_path / "expert.log", line(2))
    write(tmp_path / "logging_errors.log", line(3, level="error"))
    write(tmp_path / "logging_errors.log.1", line(1, level="error"))
    assert numbers(open_logs(tmp_path)) == [2]
    assert numbers(open_logs(tmp_path, diagnostics=True)) == [1, 2, 3]


def test_the_level_is_a_lower_bound(tmp_path: Path, line: Line) -> None:
    """A level lets itself and everything above pass, and a line without level too; filters only narrow."""
    levels = ("debug", "info", "warning", "error", "critical")
    write(tmp_path / "expert.log", *(line(n, w, level=w) for n, w in enumerate(levels, 1)), b"torn\n")
    assert texts(open_logs(tmp_path, level="WARNING")) == ["warning", "error", "critical", "torn"]
    assert texts(open_logs(tmp_path, level="ERROR").filter(level="DEBUG")) == ["error", "critical", "torn"]
    assert texts(open_logs(tmp_path).filter(level=50)) == ["critical", "torn"]
    assert texts(open_logs(tmp_path).filter()) == [*levels, "torn"]


def test_level_names() -> None:
    """Levels are known in any case and by logging's short names; another word is refused."""
    assert [level_number(n) for n in ("Warn", "FATAL", " info ", 25)] == [30, 50, 20, 25]
    with pytest.raises(ValueError, match="'loud' is no level"):
        level_number("loud")


def test_torn_lines_keep_their_place_and_are_counted(tmp_path: Path, line: Line) -> None:
    """A line that is no entry follows the entry before it, whole bytes as they are, and is counted."""
    write(tmp_path / "expert.log", line(1, "a"), b'{"torn\n', b"\xff\x00\r\n", line(3, "c"), line(4)[:30])
    write(tmp_path / "other.log", line(2, "b", at=2))
    logs = open_logs(tmp_path)
    got = list(logs)
    assert [r.line for r in got if isinstance(r, Unparsed)] == [b'{"torn', b"\xff\x00\r", line(4)[:30]]
    assert texts(got)[:3] == ["a", '{"torn', "\\xff\x00\r"]
    assert [r.line for r in logs.last(99)] == [r.line for r in got]
    assert (logs.counts.unparsed, logs.counts.entries) == (3, 3)


def test_a_file_without_entries_stands_where_it_was_modified(tmp_path: Path, line: Line) -> None:
    """Another program's text is placed by the time of its file, so old text does not crowd out the last entries."""
    write(tmp_path / "other.log", *(b"text %d\n" % n for n in range(3000)))
    write(tmp_path / "expert.log", line(1), line(2))
    os.utime(tmp_path / "other.log", (1_000_000_000, 1_000_000_000))
    logs = open_logs(tmp_path)
    assert [type(r) for r in logs.last(3)] == [Unparsed, Entry, Entry]
    everything = list(logs)
    assert len(everything) == 3002
    assert texts(everything)[:2] == ["text 0", "text 1"]
    assert logs.last(5000) == everything


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.sampled_from(["info", "error", "debug"])), max_size=40),
    st.integers(1, 45),
)
def test_the_last_records_are_the_end_of_all(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[int, int, str]], limit: int
) -> None:
    """`last(n)` is exactly the end of the full iteration, for entries in order over files, backups and copies."""
    directory = tmp_path_factory.mktemp("logs")
    make = _maker()
    at = 0
    parts: dict[str, list[bytes]] = {}
    for number, (which, step, level) in enumerate(entries, 1):
        at += step
        name = "rsi.log" if which == 2 else "expert.log" if at > 40 else "expert.log.1"
        text = make(number, level=level, at=at)
        parts.setdefault(name, []).append(text)
        if level == "error":
            parts.setdefault("errors.log", []).append(text)
    for name, lines in parts.items():
        write(directory / name, *lines)
    logs = open_logs(directory)
    everything = [r.line for r in logs]
    assert [r.line for r in logs.last(limit)] == everything[-limit:]
    assert [r.line for r in open_logs(directory, limit=limit)] == everything[-limit:]
    assert len(everything) == len(entries)
    wanted = [text for text in everything if b'"error"' in text]
    assert [r.line for r in open_logs(directory, level="error", limit=limit)] == wanted[-limit:]


def _maker() -> Callable[..., bytes]:
    def make(number: int, *, level: str, at: int) -> bytes:
        text = (
            '{"timestamp":"2026-11-22T10:%02d:%02d.000000Z","level":"%s","sequence_id":%d,"procid":"1","message":"m"}\n'
        )
        return (text % (*divmod(at, 60), level, number)).encode()

    return make


def test_the_last_records_of_a_huge_file_are_near(tmp_path: Path, line: Line) -> None:
    """Asking for the last records reads the end of a file, not its beginning: 4 GB before them cost no time."""
    path = tmp_path / "expert.log"
    with path.open("wb") as file:
        file.truncate(4 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"".join(line(n) for n in range(1, 101)))
    begun = time.perf_counter()
    assert [r.sequence_id for r in open_logs(tmp_path).last(50) if isinstance(r, Entry)] == list(range(51, 101))
    assert time.perf_counter() - begun < 1


def test_reading_is_bounded_by_files_not_by_their_size(tmp_path: Path, line: Line) -> None:
    """Iterating over 24 MB takes no more memory than a few blocks per file."""
    texts = [line(n, "x" * 300, at=n / 1000) for n in range(16_000)]
    for name in ("a.log", "b.log", "c.log"):
        write(tmp_path / name, *texts)
    tracemalloc.start()
    try:
        count = sum(1 for _ in open_logs(tmp_path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 3 * 16_000
    assert peak < 16 << 20


@pytest.mark.parametrize("reverse", [False, True])
def test_disorder_beyond_the_memory_is_sorted(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch, reverse: bool
) -> None:
    """Records that cannot wait in memory are read again when their time has come: also where whole files overlap."""
    monkeypatch.setattr(merge, "MEMORY_LIMIT", 20_000)
    monkeypatch.setattr(_survey, "_SMALLEST", 500)
    monkeypatch.setattr(_survey, "_OPEN", 500)
    for name in "abc":
        (tmp_path / name).mkdir()
    times = list(range(300))
    random.Random(1).shuffle(times)
    write(tmp_path / "a" / "expert.log", *(line(n + 1, at=n) for n in times))
    write(tmp_path / "b" / "expert.log", *(line(n + 1, at=n if n % 10 else n - 300) for n in range(300)))
    packed = gzip.compress(b"".join(line(n + 1, at=n) for n in reversed(range(300))))
    write(tmp_path / "c" / "expert.log.1.gz", packed)
    write(tmp_path / "c" / "expert.log", *(line(n, "text" * 40, at=7) for n in range(1, 9)), b"no entry\n")
    logs = open_logs(*(tmp_path / name for name in "abc"), reverse=reverse)
    found = list(logs)
    assert len(found) == 3 * 300 + 8 + 1
    assert found == sorted(found, key=by_time, reverse=reverse)
    assert logs.counts.unordered == 0
    errors = open_logs(tmp_path / "a", reverse=reverse, grep="m")
    assert [record.key for record in errors] == sorted((record.key for record in errors), reverse=reverse)


def test_more_of_one_microsecond_than_fits_is_told(tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost where more entries of one time wait than memory takes; those out of order are counted."""
    monkeypatch.setattr(merge, "MEMORY_LIMIT", 2000)
    monkeypatch.setattr(_survey, "_SMALLEST", 500)
    monkeypatch.setattr(_survey, "_OPEN", 500)
    for name in ("a.log", "b.log"):
        write(tmp_path / name, *(line(n, at=1) for n in range(1, 100)))
    logs = open_logs(tmp_path)
    assert sorted(numbers(logs)) == sorted([*range(1, 100), *range(1, 100)])
    assert logs.counts.unordered


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names, and no pipes in a directory")
def test_what_leads_to_no_file_is_named(tmp_path: Path, line: Line) -> None:
    """A log's name that cannot be read is told, however it came to be; the files beside it are read, each once."""
    write(tmp_path / "expert.log", line(1), line(2))
    write(tmp_path / "ema\nbot.log", line(3))
    (tmp_path / "folder.log").mkdir()
    for name, target in (
        ("loop.log", "loop.log"), ("one.log.1", "two.log.1"), ("two.log.1", "one.log.1"), ("gone.log", "nowhere"),
        ("again.log", "expert.log"), ("below.log", "folder.log"), ("through.log", "loop.log/x.log"),
    ):  # fmt: skip
        (tmp_path / name).symlink_to(target)
    os.mkfifo(tmp_path / "pipe.log")
    for logs in (open_logs(tmp_path), open_logs(tmp_path, reverse=True), open_logs(tmp_path, limit=9)):
        assert sorted(numbers(logs)) == [1, 2, 3]
        assert set(logs.counts.unreadable) == {
            "folder.log", "loop.log", "one.log.1", "two.log.1", "gone.log", "below.log", "through.log", "pipe.log",
        }  # fmt: skip
    both = open_logs(tmp_path, tmp_path / ".")
    assert sorted(numbers(both)) == [1, 2, 3]
    assert str(tmp_path / "loop.log") in both.counts.unreadable
    report = verify(open_logs(tmp_path))
    assert (report.lines, report.counts) == (3, {"unreadable": 8})


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    """There must be a directory, and it must be one."""
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        open_logs(tmp_path / "nowhere")
    write(tmp_path / "expert.log")
    with pytest.raises(NotADirectoryError, match="is not a directory"):
        open_logs(tmp_path / "expert.log")


def test_an_empty_directory_has_no_entries(tmp_path: Path) -> None:
    """No files, or empty ones, are no error."""
    write(tmp_path / "expert.log")
    assert list(open_logs(tmp_path)) == open_logs(tmp_path).last(5) == []


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without permission is counted with its reason; the others are read."""
    write(tmp_path / "expert.log", line(1))
    write(tmp_path / "secret.log", line(2))
    _refuse(monkeypatch, "secret.log")
    logs = open_logs(tmp_path)
    assert numbers(logs) == [1]
    assert logs.counts.unreadable == {"secret.log": "Permission denied"}


def _refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # A test that runs as root may read every file, so the refusal is played.
    opened = Path.open

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == name:
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)


def test_a_damaged_backup_gives_what_it_holds(tmp_path: Path, line: Line) -> None:
    """A compressed backup that was cut short gives its beginning and is named."""
    (tmp_path / "expert.log.1.gz").write_bytes(gzip.compress(line(1) + b"".join(line(n) for n in range(2, 900)))[:-900])
    write(tmp_path / "expert.log", line(901))
    logs = open_logs(tmp_path)
    found = numbers(logs)
    assert found[0] == 1
    assert found[-1] == 901
    assert logs.counts.unreadable == {"expert.log.1.gz": "the gzip data ends too early"}


def test_a_backup_that_is_being_compressed_is_read_once(tmp_path: Path, line: Line) -> None:
    """Beside NAME.log.1 its unfinished or finished .gz is not read; another backup of that number is."""
    write(tmp_path / "expert.log.1", line(1), line(2))
    packed = gzip.compress(line(1) + line(2))
    for content in (packed, packed[:15], b""):
        (tmp_path / "expert.log.1.gz").write_bytes(content)
        assert numbers(open_logs(tmp_path)) == [1, 2]
    (tmp_path / "expert.log.1.gz").write_bytes(gzip.compress(line(9, at=0)))
    assert numbers(open_logs(tmp_path)) == [9, 1, 2]


def _rotate(directory: Path, text: bytes) -> None:
    """Move each file of the chain up by one and begin a new one, as a writer does."""
    names = find_logs(directory, diagnostics=False)["expert.log"]
    for name in reversed(names):
        name.path.rename(directory / f"expert.log.{name.number + 1}{'.gz' if name.compressed else ''}")
    write(directory / "expert.log", text)


def test_rotation_while_reading_moves_nothing_away(tmp_path: Path, line: Line) -> None:
    """A reading that has begun sees the files that it found, whatever they are called by now."""
    write(tmp_path / "expert.log", line(2))
    write(tmp_path / "expert.log.1", line(1))
    stream = iter(open_logs(tmp_path))
    got = [next(stream)]
    _rotate(tmp_path, line(3))
    got += stream
    assert numbers(got) == [1, 2]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_removal_while_reading_loses_nothing(tmp_path: Path, line: Line) -> None:
    """Files that are compressed and removed after the reading began are still read."""
    write(tmp_path / "expert.log", line(2))
    write(tmp_path / "expert.log.1", line(1))
    stream = iter(open_logs(tmp_path))
    next(stream)
    (tmp_path / "expert.log").unlink()
    assert numbers(stream) == [2]


def test_many_files_are_opened_when_their_turn_comes(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files beyond the limit of open ones are found again under a new name, or named when they are gone."""
    monkeypatch.setattr("metaexpert.logs.reading.snapshot._MOST_OPEN", 1)
    for number in range(1, 4):
        write(tmp_path / f"expert.log.{number}", line(10 - number))
    write(tmp_path / "expert.log", line(10))
    logs = open_logs(tmp_path)
    stream = iter(logs)
    got = [next(stream)]
    _rotate(tmp_path, line(11))
    (tmp_path / "expert.log.2").unlink()
    got += stream
    assert numbers(got) == [7, 8, 10]
    assert logs.counts.unreadable == {"expert.log.1": "it was removed while the logs were read"}


def test_a_rotation_while_the_files_are_opened_is_noticed(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a rotation happens between finding the files and opening them, they are found anew."""
    write(tmp_path / "expert.log", line(1))
    found = find_logs
    pending = [lambda: _rotate(tmp_path, line(2))]

    def find_then_rotate(*args: Any, **kwargs: Any) -> Any:
        chains = found(*args, **kwargs)
        if pending:
            pending.pop()()
        return chains

    monkeypatch.setattr("metaexpert.logs.reading.snapshot.find_logs", find_then_rotate)
    assert numbers(open_logs(tmp_path)) == [1, 2]


def test_a_directory_that_never_rests_is_read_as_it_is(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When each look finds other files, the last set is taken rather than none."""
    write(tmp_path / "expert.log", line(1))
    found = find_logs

    def find_then_rotate(*args: Any, **kwargs: Any) -> Any:
        chains = found(*args, **kwargs)
        _rotate(tmp_path, line(2))
        return chains

    monkeypatch.setattr("metaexpert.logs.reading.snapshot.find_logs", find_then_rotate)
    with Snapshot(tmp_path, diagnostics=False) as snapshot:
        assert snapshot.chains["expert.log"]


def test_a_vanished_directory_holds_no_logs(tmp_path: Path) -> None:
    """A directory removed meanwhile is like an empty one."""
    assert find_logs(tmp_path / "gone", diagnostics=False) == {}


def test_trimming_leaves_out_the_line_that_is_being_written(tmp_path: Path, line: Line) -> None:
    """For following, a file ends at its last whole line, even when what follows is longer than a block."""
    path = tmp_path / "expert.log"
    for tail in (b"", b"half", b"x" * 200_000):
        write(path, line(1), tail)
        file = LogFile(next(iter(find_logs(tmp_path, diagnostics=False)["expert.log"])))
        file.trim()
        assert list(file.lines(Counts())) == [line(1)[:-1]]


def test_a_backup_whose_copy_cannot_be_read_is_read_beside_it(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compressed copy that cannot be opened hides nothing: it is named, the original is read."""
    write(tmp_path / "expert.log.1", line(1))
    (tmp_path / "expert.log.1.gz").write_bytes(gzip.compress(line(1)))
    _refuse(monkeypatch, "expert.log.1.gz")
    logs = open_logs(tmp_path)
    assert numbers(logs) == [1]
    assert logs.counts.unreadable == {"expert.log.1.gz": "Permission denied"}


def test_what_is_being_followed_can_be_taken_even_when_it_is_gone(tmp_path: Path, line: Line) -> None:
    """A file that was open when it was removed is handed over as it is."""
    if os.name == "nt":
        pytest.skip("an open file cannot be removed there")
    write(tmp_path / "expert.log", line(1))
    with Snapshot(tmp_path, diagnostics=False) as snapshot:
        (tmp_path / "expert.log").unlink()
        with snapshot.chains["expert.log"][0].take() as handle:
            assert handle.read() == line(1)


def test_records_tell_their_time(tmp_path: Path, line: Line) -> None:
    """Entries and other lines alike have a time, the latter about that of the entry before them."""
    write(tmp_path / "expert.log", line(1), b"torn\n")
    first, second = open_logs(tmp_path)
    assert first.time == second.time
