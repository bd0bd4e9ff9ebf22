"""What the writer noted of its backups spares the reader most bytes, and changes nothing that is found."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from metaexpert.logger import schema
from metaexpert.logger.entry import time_index
from metaexpert.logger.files import _indexer, archive
from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.archive import Archivist
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.system.locks import DirectoryLock
from metaexpert.logs import Logs, Record, open_logs
from metaexpert.logs.bundle import make_bundle
from metaexpert.logs.reading import _survey, merge
from metaexpert.logs.reading.files import Counts, LogFile, find_logs
from metaexpert.logs.stats import collect_stats
from metaexpert.logs.verify import verify
from tests.unit.test_logs.conftest import START, Line

#: Bytes of a backup, and about those of a line.
SIZE, LINE = 60_000, 400
Ask = dict[str, Any]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretches of eight kilobytes."""
    monkeypatch.setattr(_indexer, "STRETCH", 8000)
    monkeypatch.setattr(_indexer, "PIECE", 2000)
    monkeypatch.setattr(archive, "_PIECE", 2000)


def index_of(directory: Path) -> Path:
    return directory / schema.PRIVATE_DIRECTORY / time_index.NAME


def write(directory: Path, lines: Iterable[bytes], *, compress: bool, name: str = "expert.log") -> None:
    """Write the lines through the rotating file, its backups looked after by the archivist."""
    troubles: list[object] = []
    private = directory / schema.PRIVATE_DIRECTORY
    lock = DirectoryLock(private / "lock")
    archivist = Archivist(directory, private, lock, lambda *what: troubles.append(what))
    archivist.bases |= {name, "errors.log"}
    archivist.compressed |= {name} if compress else set()
    sink = RotatingFile(directory / name, RotationPolicy(SIZE, 99), lock, on_rotated=lambda _: archivist.poke())
    batch = memoryview(b"".join(lines))
    while batch:
        batch = batch[sink.write(batch) :]
    sink.close()
    assert archivist.wait(30)
    lock.close()
    assert troubles == []


def story(line: Line, count: int = 2000) -> list[bytes]:
    """A log of one entry a second. In its middle stand entries from long before, and from after the clock stepped back.

    Some that are critical are recovered ones, too.
    """
    lines = [line(n, "x" * 200, level="error" if n % 500 == 0 else "info") for n in range(1, count)]
    late = [line(n, "late", at=-3600 + n, level="critical" if n == 5010 else "info") for n in range(5001, 5020)]
    back = [line(n, "back", at=n - 6000 + 100) for n in range(6000, 6030)]
    third = count // 3
    return [*lines[:third], *late, *lines[third : 2 * third], *back, *lines[2 * third :]]


class Bytes:
    """Counts the bytes that are read of log files, by their names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: dict[str, int] = {}
        opened = Path.open

        def counted(path: Path, *args: Any, **kwargs: Any) -> Any:
            handle = opened(path, *args, **kwargs)
            return _Counted(handle, path.name, self.read) if ".log" in path.name else handle

        monkeypatch.setattr(Path, "open", counted)

    def of(self, logs: Iterable[Record]) -> tuple[int, list[Record]]:
        """Return how many bytes an iteration reads, and what it gives."""
        self.read.clear()
        found = list(logs)
        return sum(self.read.values()), found


class _Counted:
    def __init__(self, handle: BinaryIO, name: str, read: dict[str, int]) -> None:
        self._handle, self._name, self._read = handle, name, read

    def read(self, size: int = -1) -> bytes:
        data = self._handle.read(size)
        self._read[self._name] = self._read.get(self._name, 0) + len(data)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Bytes:
    """A counter of bytes."""
    return Bytes(monkeypatch)


def seconds(since: float, until: float) -> Ask:
    return {"since": START + timedelta(seconds=since), "until": START + timedelta(seconds=until)}


QUESTIONS: tuple[Ask, ...] = (
    seconds(1000, 1010),
    seconds(-3600 + 5005, -3600 + 5012),
    seconds(95, 105),
    {"since": START + timedelta(seconds=1995)},
    {"until": START},
    {"level": "critical"},
    {"level": "error"},
    {"level": "error", **seconds(900, 1100)},
    {"grep": "late"},
    {"symbol": "none", **seconds(900, 1100)},
    {},
)


def both_ways(directory: Path, ask: Ask, **more: Any) -> Iterator[list[Record]]:
    """Yield what is found with the index, then without it."""
    index = index_of(directory)
    aside = index.with_name("aside")
    yield list(open_logs(directory, **ask, **more))
    index.rename(aside)
    yield list(open_logs(directory, **ask, **more))
    aside.rename(index)


@pytest.mark.parametrize("compress", [False, True])
def test_the_same_is_found_with_and_without(tmp_path: Path, line: Line, compress: bool) -> None:
    """Forwards, backwards, by level, by time, by text: recovered and stepped-back entries included."""
    write(tmp_path, story(line), compress=compress)
    for ask in QUESTIONS:
        with_index, without = both_ways(tmp_path, ask)
        assert with_index == without, ask
        with_index, without = both_ways(tmp_path, ask, reverse=True)
        assert with_index == without, ask
    assert [record.text for record in open_logs(tmp_path, level="critical")] == ["late"]
    recovered = open_logs(tmp_path, **seconds(-3600 + 5005, -3600 + 5012))
    assert [record.key[1] for record in recovered if record.text == "late"] == list(range(5005, 5013))
    stepped = open_logs(tmp_path, **seconds(95, 105))
    assert [record.key[1] for record in stepped if record.text == "back"] == [*range(6000, 6006)]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("collected", [False, True])
def test_only_stretches_that_may_match_are_read(
    tmp_path: Path, line: Line, count: Bytes, monkeypatch: pytest.MonkeyPatch, compress: bool, collected: bool
) -> None:
    """Ten seconds out of half an hour cost a few stretches and the current file; the recovered ones are among them."""
    write(tmp_path, story(line), compress=compress)
    if not collected:
        monkeypatch.setattr(merge, "KEPT_LIMIT", 0)
    names = [path.name for path in tmp_path.glob("*.log.*")]
    assert len(names) > 10
    for ask, most in (
        (seconds(1000, 1010), 4),
        ({"level": "error", **seconds(1000, 1010)}, 4),
        ({"level": "critical"}, 2),
        (seconds(-3600 + 5005, -3600 + 5012), 4),
    ):
        taken, found = count.of(open_logs(tmp_path, **ask))
        assert found
        busy = [name for name in names if count.read.get(name, 0) > 2 * time_index.EDGE]
        assert len(busy) <= most, ask
        if not compress:
            edges = 2 * time_index.EDGE * len(names)
            current = 2 * (tmp_path / "expert.log").stat().st_size
            assert taken < edges + current + 2 * most * 2 * 8000, ask


def test_what_inflating_took_is_released_file_by_file(tmp_path: Path, line: Line) -> None:
    """Files stay open, but not a megabyte and more for each that was inflated."""
    write(tmp_path, story(line), compress=True)
    logs = open_logs(tmp_path, grep="x")
    with logs.opened() as chains:
        assert list(merge.streamed(chains, logs.criteria, logs.counts, merge.ignore, backward=False))
        assert all(file._handle is not None and file._inflated is None for log in chains for file in log.files)


@pytest.mark.parametrize("compress", [False, True])
def test_the_last_ones_are_found_without_the_rest(tmp_path: Path, line: Line, count: Bytes, compress: bool) -> None:
    """The last critical entries, or the last of some time, do not cost all that was logged since."""
    write(tmp_path, story(line), compress=compress)
    names = [path.name for path in tmp_path.glob("*.log.*")]
    for ask in ({"level": "critical"}, {"level": "error"}, seconds(-3600 + 5005, -3600 + 5012)):
        _, found = count.of(open_logs(tmp_path, limit=50, **ask))
        assert len([name for name in names if count.read.get(name, 0) > 2 * time_index.EDGE]) <= 5, ask
        assert found == list(open_logs(tmp_path, **ask))
    taken, found = count.of(open_logs(tmp_path, limit=3, **seconds(1990, 1999)))
    assert [record.key[1] for record in found] == [1997, 1998, 1999]
    assert taken < SIZE * 3


def test_all_entries_are_read_once(tmp_path: Path, line: Line, count: Bytes) -> None:
    """Where nothing can be passed over, the first look at the times is spared."""
    write(tmp_path, story(line), compress=False)
    size = sum(path.stat().st_size for path in tmp_path.glob("*.log*"))
    names = len(list(tmp_path.glob("*.log.*")))
    taken, _ = count.of(open_logs(tmp_path))
    assert taken < size + 2 * time_index.EDGE * names + SIZE + LINE
    index_of(tmp_path).unlink()
    assert count.of(open_logs(tmp_path))[0] > 1.9 * size


def test_the_current_file_and_new_backups_are_read_as_ever(tmp_path: Path, line: Line) -> None:
    """What is not in the index yet is looked at."""
    write(tmp_path, story(line), compress=False)
    (tmp_path / "expert.log").rename(tmp_path / "expert.log.99")
    (tmp_path / "expert.log").write_bytes(line(7000, "new", at=1000))
    found = [record.text for record in open_logs(tmp_path, **seconds(1000, 1000))]
    assert found == ["x" * 200, "new"]


@pytest.mark.parametrize("compress", [False, True])
def test_a_line_that_is_no_entry_costs_only_itself(tmp_path: Path, line: Line, count: Bytes, compress: bool) -> None:
    """Whatever stands in a backup, the rest of it is passed over as ever, and the line keeps its place."""
    lines = story(line)
    odd = (b"text\n", b"\n", lines[7][:90] + b"\n", b"\0\0\n", b'{"timestamp":1}\n', b"x" * 9000 + b"\n")
    for at, one in zip(range(150, 1900, 250), odd, strict=False):
        lines.insert(at, one)
    write(tmp_path, [odd[0], odd[2], *lines], compress=compress)
    assert [name for name, known in _known(tmp_path).items() if not known] == ["expert.log"]
    for ask in QUESTIONS:
        for more in ({}, {"reverse": True}):
            with_index, without = both_ways(tmp_path, ask, **more)
            assert with_index == without, (ask, more)
    if not compress:
        whole = sum(path.stat().st_size for path in tmp_path.glob("*.log*"))
        assert count.of(open_logs(tmp_path, **seconds(1000, 1010)))[0] < whole / 2


@pytest.mark.parametrize("compress", [False, True])
def test_torn_lines_between_files_keep_their_place(tmp_path: Path, line: Line, compress: bool) -> None:
    """A line that is no entry stands behind the entry before it, though that one's file was passed over."""
    write(tmp_path, [line(n, "x" * 200) for n in range(1, 500)], compress=compress)
    current = tmp_path / "expert.log"
    last = open_logs(tmp_path, **seconds(0, 9999)).last(1)[0].key[1]
    current.rename(tmp_path / "gone")
    size = len(list(open_logs(tmp_path)))
    current.write_bytes(b"torn\n" + line(last + 1, at=9000) + b"torn too\n")
    for ask in (seconds(8000, 9999), {"level": "error"}, {"level": "error", **seconds(size - 5, 9999)}, seconds(0, 9)):
        for more in ({}, {"reverse": True}, {"limit": 9}):
            with_index, without = both_ways(tmp_path, ask, **more)
            assert with_index == without, (ask, more)
    torn = [record for record in open_logs(tmp_path, level="error") if record.text == "torn"]
    assert [record.key[1] for record in torn] == [size]


def _change_append(path: Path, line: Line) -> None:
    with path.open("ab") as file:
        file.write(line(9000, "changed", at=1000))


def _change_truncate(path: Path, line: Line) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"\n", 0, 30_000) + 1])


def _change_edit(path: Path, line: Line) -> None:
    data, old, new = path.read_bytes(), b"2026-11-22T10", b"2026-11-22T11"
    middle = data.index(old, 30_000)
    path.write_bytes(data[:middle] + new + data[middle + len(old) :])


def _change_other(path: Path, line: Line) -> None:
    path.write_bytes(b"".join(line(n, "changed", at=1000) for n in range(9000, 9100)))


@pytest.mark.parametrize("change", [_change_append, _change_truncate, _change_edit, _change_other])
def test_a_changed_file_is_read(tmp_path: Path, line: Line, change: Callable[[Path, Line], None]) -> None:
    """What was noted of a file that somebody wrote to since counts no longer."""
    write(tmp_path, story(line), compress=False)
    change(tmp_path / "expert.log.5", line)
    for ask in QUESTIONS:
        with_index, without = both_ways(tmp_path, ask)
        assert with_index == without, ask
    known = _known(tmp_path)
    assert not known["expert.log.5"]
    assert known["expert.log.4"]


def _known(directory: Path) -> dict[str, bool]:
    """Return whether the index knows them, of all files."""
    with open_logs(directory).opened() as logs:
        return {file.label: bool(file.spans) for log in logs for file in log.files}


def test_a_compressed_file_that_was_changed_is_read(tmp_path: Path, line: Line) -> None:
    """Another behind it, or compressed anew after an edit, with the time put back."""
    write(tmp_path, story(line), compress=True)
    one, two = tmp_path / "expert.log.4.gz", tmp_path / "expert.log.5.gz"
    for path, data in (
        (one, one.read_bytes() + gzip.compress(line(9000, "changed", at=1000))),
        (two, gzip.compress(gzip.decompress(two.read_bytes()).replace(b"xxxx", b"yyyy"))),
    ):
        times = path.stat()
        path.write_bytes(data)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    for ask in QUESTIONS:
        with_index, without = both_ways(tmp_path, ask)
        assert with_index == without, ask


@pytest.mark.parametrize("compress", [False, True])
def test_renamed_and_copied_files_are_known(tmp_path: Path, line: Line, compress: bool) -> None:
    """After rotations, and on another machine with the times kept, the index holds."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    write(here, story(line), compress=compress)
    suffix = ".gz" if compress else ""
    for number in range(len(list(here.glob("*.log.*"))), 0, -1):
        (here / f"expert.log.{number}{suffix}").rename(here / f"expert.log.{number + 7}{suffix}")
    shutil.copytree(here, there)
    for directory in (here, there):
        assert [name for name, known in _known(directory).items() if not known] == ["expert.log"]


@pytest.mark.parametrize("index", [b"", b"\0" * 999, b"metaexpert time index 1\n\xff\xff\nx y z\n", None])
def test_without_a_sound_index_all_is_found(tmp_path: Path, line: Line, index: bytes | None) -> None:
    """It may be deleted, emptied or damaged at any time."""
    write(tmp_path, story(line), compress=False)
    expected = [list(open_logs(tmp_path, **ask)) for ask in QUESTIONS]
    if index is None:
        shutil.rmtree(tmp_path / schema.PRIVATE_DIRECTORY)
    else:
        index_of(tmp_path).write_bytes(index)
    assert [list(open_logs(tmp_path, **ask)) for ask in QUESTIONS] == expected


def test_an_index_whose_lines_are_damaged_misleads_nobody(tmp_path: Path, line: Line) -> None:
    """Each line bears a checksum: a wrong digit makes its file unknown, not its entries unfindable."""
    write(tmp_path, story(line), compress=False)
    index_of(tmp_path).write_bytes(index_of(tmp_path).read_bytes().replace(b"T10:4", b"T10:1"))
    ask = seconds(600, 1500)
    with_index, without = both_ways(tmp_path, ask)
    assert with_index == without


def test_the_reader_writes_nothing(tmp_path: Path, line: Line) -> None:
    """It makes no index where there is none, and touches none that is there."""
    write(tmp_path, story(line), compress=False)

    def state() -> tuple[int, ...]:
        found = index_of(tmp_path).stat()
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns  # not when it was read

    before = state()
    list(open_logs(tmp_path, level="error"))
    assert state() == before
    index_of(tmp_path).unlink()
    list(open_logs(tmp_path, level="error"))
    assert sorted(path.name for path in index_of(tmp_path).parent.iterdir()) == ["archive", "lock"]


def test_many_logs_are_read_in_small_stretches(tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stretches of so many logs would not fit into the memory together, smaller ones are made of them."""
    monkeypatch.setattr(_survey, "_SMALLEST", 1000)
    monkeypatch.setattr(_survey, "_OPEN", 1000)
    for compress in (False, True):
        directory = tmp_path / str(compress)
        directory.mkdir()
        write(directory, story(line, 600), compress=compress)
        with open_logs(directory).opened() as logs:
            wanted = open_logs(directory, **seconds(300, 350)).criteria
            found = merge.survey(logs, wanted, Counts(), merge.ignore)
            assert max(stretch.length for stretch in found if stretch.file.spans) < 2000
        for ask in QUESTIONS:
            with_index, without = both_ways(directory, ask)
            assert with_index == without, ask


def test_progress_reaches_the_size(tmp_path: Path, line: Line) -> None:
    """Stretches that are passed over count as done; what is told never goes back."""
    write(tmp_path, story(line), compress=False)
    for ask in QUESTIONS:
        told: list[int] = []
        logs = open_logs(tmp_path, **ask)
        list(Logs(logs.directories, logs.criteria, progress=told.append))
        assert told == sorted(told)
        assert told[-1] == logs.size


def test_progress_goes_on_while_entries_come(tmp_path: Path, line: Line) -> None:
    """The first look at all times is half of the work; a bar that stood at its end for the rest would lie."""
    write(tmp_path, story(line), compress=False)
    told: list[int] = []
    logs = Logs((tmp_path,), progress=told.append)
    next(iter(logs))
    assert told[-1] < 0.6 * logs.size
    told.clear()
    collect_stats(logs)
    assert len([done for done in told if logs.size // 2 < done < logs.size]) > 1
    assert (told == sorted(told), told[-1]) == (True, logs.size)


def test_damage_in_what_is_read_is_told(tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed data that are damaged between their ends are named when they are read, whichever way."""
    monkeypatch.setattr(time_index, "EDGE", 64)
    write(tmp_path, story(line), compress=True)
    path = max(tmp_path.glob("*.log.*"), key=lambda path: path.stat().st_size)
    times, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert _known(tmp_path)[path.name]
    for more in ({}, {"limit": 9999}, {"level": "debug", "reverse": True}):
        logs = open_logs(tmp_path, **more)
        list(logs)
        assert list(logs.counts.unreadable) == [path.name], more


def test_a_backup_that_cannot_be_opened_is_named(tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its being unknown to the index hides no refusal."""
    write(tmp_path, story(line), compress=False)
    opened = Path.open

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == "expert.log.3":
            raise PermissionError(13, "Permission denied")
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    logs = open_logs(tmp_path, **seconds(0, 9))
    list(logs)
    assert logs.counts.unreadable == {"expert.log.3": "Permission denied"}


def test_figures_are_the_same(tmp_path: Path, line: Line) -> None:
    """Statistics use it too; `verify` reads every line of every file, whatever it says."""
    write(tmp_path, story(line), compress=False)
    figures = []
    for _ in range(2):
        figures.append([collect_stats(open_logs(tmp_path, **ask)).as_dict(top=9) for ask in QUESTIONS])
        report = verify(open_logs(tmp_path, level="critical"))
        assert report.lines == len(story(line))
        index_of(tmp_path).unlink(missing_ok=True)
    assert figures[0] == figures[1]


def test_a_bundle_neither_needs_nor_holds_it(tmp_path: Path, line: Line) -> None:
    """The archive is the same without it, and has no member of that name."""
    (tmp_path / "logs").mkdir()
    write(tmp_path / "logs", story(line), compress=True)
    members = []
    for name in ("one.tar.gz", "two.tar.gz"):
        make_bundle(open_logs(tmp_path / "logs"), tmp_path / name, {})
        with tarfile.open(tmp_path / name) as packed:
            members.append(
                {
                    member.name.partition("/")[2]: cast("BinaryIO", packed.extractfile(member)).read()
                    for member in packed.getmembers()
                }
            )
        index_of(tmp_path / "logs").unlink(missing_ok=True)
    assert members[0] == members[1]
    assert sorted(members[0]) == ["config.json", "entries.jsonl", "stats.json", "verify.json", "versions.json"]


def test_many_closed_files_are_asked_one_after_another(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the number of files that are held open, each is opened for its turn and closed behind it."""
    monkeypatch.setattr("metaexpert.logs.reading.snapshot._MOST_OPEN", 0)
    write(tmp_path, story(line), compress=True)
    for ask in QUESTIONS:
        with_index, without = both_ways(tmp_path, ask)
        assert with_index == without, ask
    with open_logs(tmp_path).opened() as logs:
        wanted = open_logs(tmp_path, level="critical").criteria
        assert list(merge.streamed(logs, wanted, Counts(), merge.ignore, backward=False))
        assert all(file._handle is None for log in logs for file in log.files)


def test_the_current_file_is_never_looked_up(tmp_path: Path, line: Line) -> None:
    """It grows; only backups are noted."""
    (tmp_path / "expert.log").write_bytes(line(1))
    (name,) = find_logs(tmp_path, diagnostics=False)["expert.log"]
    assert not LogFile(name).spans
