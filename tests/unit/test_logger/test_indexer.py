"""The time index of backups: what it says, of which files, and when it says nothing."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from metaexpert.logger import MetaLogger, schema
from metaexpert.logger.entry import time_index
from metaexpert.logger.entry.time_index import Span
from metaexpert.logger.files import _indexer, archive
from metaexpert.logger.files._indexer import Indexer, key_of, spans_of
from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.archive import Archivist
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.system.descriptors import Descriptor
from metaexpert.logger.system.locks import DirectoryLock
from metaexpert.logger.system.native import core


def line(second: int, level: str = "info", rest: str = "") -> bytes:
    """Return a line as our writer writes it."""
    text = (
        '{"timestamp":"2026-11-22T10:%02d:%02d.000000Z","level":"%s","severity":%d,"facility":16,"version":1,'
        '"hostname":"box","appname":"EmaBot","procid":"42","msgid":"log","sequence_id":%d,"message":"m"%s}\n'
    )
    return (text % (*divmod(second, 60), level, schema.SEVERITIES[level], second + 1, rest)).encode()


def rank(each: tuple[int, Any, str]) -> int:
    """Return how high the level of a line is."""
    return int(schema.LEVEL_NUMBERS[each[1]])


def moment(second: int) -> bytes:
    return b"2026-11-22T10:%02d:%02d.000000" % divmod(second, 60)


def indexed(*pieces: bytes) -> list[Span]:
    """Return what is found in a file that comes in these pieces."""
    made = Indexer()
    for piece in pieces:
        made.add(piece)
    return made.spans()


@pytest.fixture
def told() -> list[tuple[str, OSError]]:
    """What the archivist complained about."""
    return []


@pytest.fixture
def archivist(tmp_path: Path, told: list[tuple[str, OSError]]) -> Iterator[Archivist]:
    """An archivist of expert.log that compresses nothing."""
    (tmp_path / schema.PRIVATE_DIRECTORY).mkdir()
    lock = DirectoryLock(tmp_path / schema.PRIVATE_DIRECTORY / "lock")
    made = Archivist(
        tmp_path, tmp_path / schema.PRIVATE_DIRECTORY, lock, lambda what, error: told.append((what, error))
    )
    made.bases |= {"expert.log"}
    yield made
    made.wait(20)


def noted(directory: Path) -> dict[bytes, list[Span]]:
    """Return what the index of a directory says."""
    lines = time_index.lines_by_key(directory / schema.PRIVATE_DIRECTORY / time_index.NAME)
    return {key: time_index.spans_of(text) for key, text in lines.items()}


def key_at(path: Path) -> bytes:
    with Descriptor.at(path, os.O_RDONLY) as file:
        return key_of(file)


def backup(directory: Path, number: int, *lines: bytes) -> Path:
    path = directory / f"expert.log.{number}"
    path.write_bytes(b"".join(lines))
    return path


class TestStretches:
    """What is found in a file."""

    @pytest.mark.parametrize("size", [1, 7, 300, 100_000])
    def test_stretches_tell_place_times_and_level(self, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Together they are the whole file, in whatever pieces it comes; times need not be in order."""
        monkeypatch.setattr(_indexer, "STRETCH", 2 * len(line(5)))
        data = line(5) + line(3, "warning") + line(9, "error")
        found = indexed(*(data[at : at + size] for at in range(0, len(data), size)))
        assert sum(span.length for span in found) == len(data)
        assert (min(span.low for span in found), max(span.high for span in found)) == (moment(3), moment(9))
        assert max(span.level for span in found) == schema.ERROR
        if size < 100:
            assert found[0] == Span(0, len(line(5)), moment(5), moment(5), schema.INFO)
            assert [span.offset for span in found] == [0, len(line(5)), len(line(5)) + len(line(3, "warning"))]

    @pytest.mark.parametrize("layout", ["flat", "rfc5424"])
    def test_what_our_writer_writes_is_regular(self, tmp_path: Path, layout: schema.Layout) -> None:
        """Both layouts, trades, errors with tracebacks, odd texts: all are indexed."""
        with MetaLogger(log_dir=tmp_path, layout=layout, log_to_console=False, log_level="DEBUG") as logger:
            logger.debug("é\u2028 \x1b[1m", **{'a"b': "x\\y", "level": "error"})
            logger.trade.critical("t", order_id="o", nested={"a": [1, {"b": None}]})
            try:
                raise ValueError("C:\\users\\u0041")
            except ValueError:
                logger.exception("failed")
        for name in ("expert.log", "trades.log", "errors.log"):
            (found,) = indexed((tmp_path / name).read_bytes())
            assert (found.offset, found.length) == (0, (tmp_path / name).stat().st_size)
            assert found.level == schema.CRITICAL

    @pytest.mark.parametrize(
        "odd",
        [
            b"text\n", b"\n", line(3)[:-9] + b"\n", line(3)[5:], b"\0" * 9, b"\0" + line(3),
            line(3).replace(b'"m"', b'"m\0"'), line(3).replace(b'"sequence_id":4,', b""), line(3)[:-1] + b"\r\n",
            line(3).replace(b"info", b"loud"), line(3).replace(b'","level"', b'", "level"'), b"\xef\xbb\xbf" + line(3),
            line(3).replace(b'"box"', b'"b\\u006fx"'),
        ],
    )  # fmt: skip
    def test_an_odd_line_costs_its_piece_only(self, odd: bytes) -> None:
        """Torn, foreign, damaged: what stands with it in one piece may be of any time, the rest is told as ever."""
        size = len(line(1))
        odd += b"" if odd.endswith(b"\n") else b"\n"
        for data in (odd, line(1) + odd, odd + line(1)):
            assert indexed(data) == [time_index.any_time(0, len(data))]
        assert indexed(line(1), line(2), odd, line(3), line(4)) == [
            Span(0, 2 * size, moment(1), moment(2), schema.INFO),
            time_index.any_time(2 * size, len(odd)),
            Span(2 * size + len(odd), 2 * size, moment(3), moment(4), schema.INFO),
        ]
        assert indexed() == indexed(b"") == []

    def test_the_torn_end_of_a_file_is_a_stretch_of_its_own(self) -> None:
        """A line without its end does not hide what stands before it."""
        assert indexed(line(1), line(2), line(3)[:50]) == [
            Span(0, 2 * len(line(1)), moment(1), moment(2), schema.INFO),
            time_index.any_time(2 * len(line(1)), 50),
        ]

    def test_two_lines_that_became_one_may_be_of_any_level(self) -> None:
        """A torn line that another process went on behind has the time of its beginning; it is never passed over."""
        assert indexed(line(3)[:-2] + line(1)) == [Span(0, 2 * len(line(3)) - 2, moment(3), moment(3), schema.CRITICAL)]

    def test_a_long_line_fills_no_memory(self) -> None:
        """A line of more than a megabyte is a stretch of any time; those around it are told."""
        made = Indexer()
        made.add(line(1))
        for _ in range(200):
            made.add(b"x" * 10_000)
            assert len(made._rest) < 1_100_000
        made.add(b"x\n")
        made.add(line(2))
        assert [(span.length, span.low) for span in made.spans()] == [
            (len(line(1)), moment(1)), (2_000_002, b""), (len(line(2)), moment(2)),
        ]  # fmt: skip

    def test_a_level_that_could_hide_counts_as_the_highest(self) -> None:
        """Another program may give the key twice, or write it with escapes; what only looks so costs time, no entry."""
        for rest in (',"level":"error"', r',"\u006cevel":"error"', ',"book":{"level":3}'):
            assert indexed(line(1, rest=rest))[0].level == schema.CRITICAL
        for rest in (',"field_level":3', r',"note":"\u001b[0m \"level\""'):
            assert indexed(line(1, rest=rest))[0].level == schema.INFO

    @pytest.mark.skipif(not hasattr(core, "survey"), reason="the core is not compiled")
    @settings(max_examples=examples(1000), deadline=None)
    @given(
        lines=st.lists(
            st.tuples(
                st.integers(0, 59),
                st.sampled_from(["debug", "info", "warning", "error", "critical"]),
                st.sampled_from(
                    ["", ',"a":1', ',"level":"error"', r',"a":"\u006c"', r',"a":"\n\"level\""', ',"é":"é"']
                ),
            ),
            min_size=1,
            max_size=6,
        ),
        cut=st.none()
        | st.tuples(st.integers(0, 1500), st.sampled_from([b"", b"\n", b"\0", b'"', b"}", b"9", b"\xff"])),
    )
    def test_the_core_says_what_python_finds(
        self, lines: list[tuple[int, Any, str]], cut: tuple[int, bytes] | None
    ) -> None:
        """Or nothing: then Python looks. Usual lines it knows."""
        data = b"".join(line(*each) for each in lines)
        if cut is not None:
            data = data[: cut[0]] + cut[1] + data[cut[0] + 1 :]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_indexer, "_survey", lambda _: None)
            wanted = indexed(data)
        assert indexed(data) == wanted
        if cut is None and all(rest in ("", ',"a":1') for _, _, rest in lines):
            assert core.survey(data) == (wanted[0].low, wanted[0].high, max(lines, key=rank)[1].encode())

    def test_a_piece_holds_the_interpreter_briefly(self) -> None:
        """Trading threads wait for less than half a millisecond, mostly much less; measured in processor time."""
        data = b"".join(line(n % 3600, "error" if n % 9 == 0 else "info", ',"x":"a\\nb"' * 9) for n in range(9000))
        best = []
        for _ in range(3):  # the machine may be shared
            made, took = Indexer(), []
            for at in range(0, len(data), _indexer.PIECE):
                begun = time.thread_time()
                made.add(data[at : at + _indexer.PIECE])
                took.append(time.thread_time() - begun)
            best.append(sorted(took)[len(took) * 99 // 100])
        assert min(best) < 0.0005


class TestFormat:
    """The file and its lines."""

    def test_a_line_gives_back_what_it_was_made_of(self) -> None:
        """Offsets follow from lengths."""
        spans = [Span(0, 10, moment(1), moment(2), 20), Span(10, 5, moment(0), moment(9), 50)]
        assert time_index.spans_of(time_index.line_of(b"1-2-3", spans)) == spans
        assert time_index.spans_of(time_index.line_of(b"1-2-3", [])) == []

    def test_a_damaged_line_says_nothing(self) -> None:
        """Whatever byte is lost or changed, no wrong place or time is told."""
        text = time_index.line_of(b"1-2-3", [Span(0, 10, moment(1), moment(2), 20)])
        for at in range(len(text) - 1):
            for damaged in (text[:at], text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :], text[:at] + text[at + 1 :]):
                assert time_index.spans_of(damaged) in ([], time_index.spans_of(text) if damaged == text else [])
        valid = time_index.line_of(b"1-2-3", [])[:-3]
        for rows in (b"[[1]]", b"3", b"{}", b'[["a","b","c","d"]]'):
            assert time_index.spans_of(valid[:6] + b"%08x " % time_index._checksum(b"1-2-3", rows) + rows) == []

    @pytest.mark.parametrize("text", [b"", b"\0" * 4096, b"metaexpert time index 2\nx", b"no index", b"\xff\n\n"])
    def test_another_file_is_no_index(self, tmp_path: Path, text: bytes) -> None:
        """Emptied by a crash, of another version, or foreign: it holds nothing."""
        (tmp_path / "index").write_bytes(text)
        assert time_index.lines_by_key(tmp_path / "index") == {}

    def test_a_large_index_is_looked_up_in_milliseconds(self, tmp_path: Path) -> None:
        """Five hundred backups of ten stretches each; only the lines that are asked for are decoded."""
        spans = [Span(n * 1000, 1000, moment(n), moment(n + 1), 20) for n in range(10)]
        lines = {b"%d-1-00000000" % n: time_index.line_of(b"%d-1-00000000" % n, spans) for n in range(500)}
        (tmp_path / "index").write_bytes(time_index.HEADER + b"".join(lines.values()))
        best = 9.0
        for _ in range(5):
            begun = time.thread_time()
            found = time_index.lines_by_key(tmp_path / "index")
            assert [time_index.spans_of(text) for text in found.values()] == [spans] * 500
            best = min(best, time.thread_time() - begun)
        assert best < 0.1


class TestKey:
    """What a file is known by."""

    def test_it_is_known_after_a_rename_and_a_copy_with_its_time(self, tmp_path: Path) -> None:
        """Its name and its inode do not matter."""
        path = backup(tmp_path, 1, line(1), line(2))
        key = key_at(path)
        path.rename(tmp_path / "expert.log.2")
        copy = tmp_path / "copy"
        copy.write_bytes((tmp_path / "expert.log.2").read_bytes())
        times = (tmp_path / "expert.log.2").stat()
        os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert key_at(tmp_path / "expert.log.2") == key_at(copy) == key

    @pytest.mark.parametrize(
        "change",
        [
            lambda data: data + line(9),
            lambda data: data[: len(data) - len(line(1))],
            lambda data: data.replace(b"10:00:01", b"10:00:02"),
            lambda data: data[: len(data) - 20] + data[len(data) - 20 :].replace(b"m", b"n"),
        ],
    )
    @pytest.mark.parametrize("keep_time", [False, True])
    def test_it_is_another_after_a_change(
        self, tmp_path: Path, change: Callable[[bytes], bytes], keep_time: bool
    ) -> None:
        """Longer, shorter, or other at its ends: even with the time put back it is not taken for the same."""
        path = backup(tmp_path, 1, line(1), *(line(n) for n in range(100)), line(1))
        os.utime(path, (1, 1))
        key = key_at(path)
        path.write_bytes(change(path.read_bytes()))
        if keep_time:
            os.utime(path, (1, 1))
        assert key_at(path) != key

    def test_an_edit_in_the_middle_is_known_by_its_time(self, tmp_path: Path) -> None:
        """Far from both ends a change of the same size shows by the time of modification."""
        path = backup(tmp_path, 1, *(line(n) for n in range(1000)))
        os.utime(path, (1, 1))
        key, data = key_at(path), bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert key_at(path) != key


class TestArchivist:
    """Who keeps it."""

    @pytest.mark.parametrize("compress", [False, True])
    def test_rotated_backups_are_indexed(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: bool
    ) -> None:
        """After a rotation the index tells of each backup, compressed or not, what its lines hold."""
        monkeypatch.setattr(_indexer, "STRETCH", 3 * len(line(10)))
        monkeypatch.setattr(archive, "_PIECE", 100)
        monkeypatch.setattr(_indexer, "PIECE", 100)
        archivist.compressed |= {"expert.log"} if compress else set()
        sink = RotatingFile(
            tmp_path / "expert.log",
            RotationPolicy(10 * len(line(10)), 99),
            archivist._lock,
            on_rotated=lambda _: archivist.poke(),
        )
        for second in range(20, 55):
            sink.write(memoryview(line(second)))
        sink.close()
        assert archivist.wait(20)
        found = noted(tmp_path)
        backups = sorted(tmp_path.glob("expert.log.*"))
        assert [path.suffix for path in backups] == [".gz"] * 3 if compress else [".1", ".2", ".3"]
        assert set(found) == {key_at(path) for path in backups}
        for number, path in enumerate(backups, 1):
            spans = found[key_at(path)]
            assert (spans[0].low, spans[-1].high) == (moment(50 - 10 * number), moment(59 - 10 * number))
            assert len(spans) > 2
            assert sum(span.length for span in spans) == 10 * len(line(10))

    def test_backups_from_before_are_indexed(self, archivist: Archivist, tmp_path: Path) -> None:
        """Plain and compressed ones; what is no regular file of ours is remembered as such and not read again."""
        backup(tmp_path, 1, line(1))
        (tmp_path / "expert.log.2.gz").write_bytes(gzip.compress(line(2) * 1000))
        backup(tmp_path, 3, b"text\n")
        (tmp_path / "expert.log.4.gz").write_bytes(gzip.compress(line(2)) + gzip.compress(line(3)))
        (tmp_path / "expert.log.5.gz").write_bytes(gzip.compress(line(2) * 1000)[:-9])
        (tmp_path / "expert.log.6.gz").write_bytes(b"text")
        (tmp_path / "expert.log.7.gz").write_bytes(gzip.compress(os.urandom(100_000).hex().encode()) + b"\0")
        archivist.work()
        lengths = {path.name: [s.length for s in noted(tmp_path)[key_at(path)]] for path in tmp_path.glob("*.log.*")}
        assert lengths.pop("expert.log.1") == [len(line(1))]
        assert lengths.pop("expert.log.2.gz") == [1000 * len(line(2))]
        assert lengths.pop("expert.log.3") == [5]
        assert set(map(tuple, lengths.values())) == {()}

    def test_nothing_is_read_twice(self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is in the index, be it that nothing can be said, stays; the file is not even written anew."""
        backup(tmp_path, 1, line(1))
        backup(tmp_path, 2, b"text\n")
        archivist.work()
        before = (tmp_path / schema.PRIVATE_DIRECTORY / "index").stat()
        monkeypatch.setattr(archive, "spans_of", None)
        (tmp_path / "expert.log.2").rename(tmp_path / "expert.log.3")
        archivist.work()
        assert os.path.samestat(before, (tmp_path / schema.PRIVATE_DIRECTORY / "index").stat())

    def test_other_threads_get_their_turn(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """There is a pause after each piece, but not when the program ends and waits for it."""
        backup(tmp_path, 1, *(line(n) for n in range(1000)))
        pauses: list[float] = []
        monkeypatch.setattr(time, "sleep", pauses.append)
        archivist.work()
        assert len(pauses) >= (tmp_path / "expert.log.1").stat().st_size // _indexer.PIECE > 9
        pauses.clear()
        (tmp_path / schema.PRIVATE_DIRECTORY / "index").unlink()
        archivist._again = True
        assert archivist.wait(20)
        assert noted(tmp_path) != {}
        assert pauses == []

    def test_known_files_are_not_opened(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A directory with hundreds of backups costs each rotation a look at their sizes and times."""
        for number in (1, 2, 3):
            backup(tmp_path, number, line(number))
        archivist.work()
        (tmp_path / "expert.log.3").rename(tmp_path / "expert.log.4")
        backup(tmp_path, 3, line(1), line(2))
        opened: list[str] = []
        really = os.open

        def note(path: Path, *args: Any) -> int:
            opened.extend([path.name] * (path.parent == tmp_path))
            return really(path, *args)

        monkeypatch.setattr(os, "open", note)
        archivist.work()
        assert opened == ["expert.log.3"]

    def test_files_that_are_gone_or_changed_leave_it(self, archivist: Archivist, tmp_path: Path) -> None:
        """The index never grows beyond the directory."""
        backup(tmp_path, 1, line(1))
        backup(tmp_path, 2, line(2))
        archivist.work()
        assert len(noted(tmp_path)) == 2
        (tmp_path / "expert.log.2").unlink()
        backup(tmp_path, 1, line(1), line(2))
        archivist.work()
        assert set(noted(tmp_path)) == {key_at(tmp_path / "expert.log.1")}

    def test_a_file_that_changes_while_it_is_read_is_left_for_later(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was found of it may be of neither state."""
        path = backup(tmp_path, 1, line(1))

        def and_append(*args: Any, **kwargs: Any) -> list[Span]:
            spans = spans_of(*args, **kwargs)
            with path.open("ab") as file:
                file.write(line(2))
            return spans

        with monkeypatch.context() as patch:
            patch.setattr(archive, "spans_of", and_append)
            archivist.work()
        assert not (tmp_path / schema.PRIVATE_DIRECTORY / "index").exists()
        archivist.work()
        assert noted(tmp_path)[key_at(path)][0].high == moment(2)

    @pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"metaexpert time index 1\nrubbish\n\xff 1 2\n"])
    def test_a_lost_or_damaged_index_is_made_anew(self, archivist: Archivist, tmp_path: Path, damage: bytes) -> None:
        """It holds nothing that the files do not say."""
        path = backup(tmp_path, 1, line(1))
        (tmp_path / schema.PRIVATE_DIRECTORY / "index").write_bytes(damage)
        (tmp_path / schema.PRIVATE_DIRECTORY / "index.part").write_bytes(b"half")
        archivist.work()
        assert not (tmp_path / schema.PRIVATE_DIRECTORY / "index.part").exists()
        assert noted(tmp_path) == {key_at(path): [Span(0, len(line(1)), moment(1), moment(1), schema.INFO)]}

    @pytest.mark.skipif(os.name == "nt", reason="modes are others there")
    def test_it_has_the_mode_of_the_files(self, archivist: Archivist, tmp_path: Path) -> None:
        """0640: whoever may read the logs may read it."""
        backup(tmp_path, 1, line(1))
        archivist.work()
        mask = os.umask(0)
        os.umask(mask)
        assert stat.S_IMODE((tmp_path / schema.PRIVATE_DIRECTORY / "index").stat().st_mode) == 0o640 & ~mask

    def test_trouble_is_told_and_the_old_index_stays(
        self,
        archivist: Archivist,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        told: list[tuple[str, OSError]],
    ) -> None:
        """A full disk costs the index its news and nothing else."""
        backup(tmp_path, 1, line(1))
        archivist.work()
        before = noted(tmp_path)
        backup(tmp_path, 2, line(2))
        really = Descriptor.write_at

        def write_at(file: Descriptor, offset: int, data: bytes) -> int:
            if bytes(data).startswith(b"metaexpert"):
                raise OSError(errno.ENOSPC, "No space left on device")
            return really(file, offset, data)

        with monkeypatch.context() as patch:
            patch.setattr(Descriptor, "write_at", write_at)
            archivist.work()
        assert [(what, error.errno) for what, error in told] == [("the time index could not be written", errno.ENOSPC)]
        assert noted(tmp_path) == before
        archivist.work()
        assert len(noted(tmp_path)) == 2

    def test_a_backup_that_cannot_be_read_is_told(
        self,
        archivist: Archivist,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        told: list[tuple[str, OSError]],
    ) -> None:
        """The others are indexed."""
        backup(tmp_path, 1, line(1))
        backup(tmp_path, 2, line(2))
        really = Descriptor.at

        def refuse(path: Path, *args: Any, **kwargs: Any) -> Descriptor:
            if path.name == "expert.log.1":
                raise OSError(errno.EIO, "Input/output error")
            return really(path, *args, **kwargs)

        monkeypatch.setattr(Descriptor, "at", refuse)
        archivist.work()
        assert [(what, error.errno) for what, error in told] == [("a backup could not be indexed", errno.EIO)]
        assert set(noted(tmp_path)) == {key_at(tmp_path / "expert.log.2")}

    def test_the_end_of_a_program_does_not_wait_for_it(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Old backups without an index would hold it up for long: what is done is kept, the next start goes on."""
        backup(tmp_path, 1, line(1))
        second = backup(tmp_path, 2, line(2))
        reached, go = threading.Event(), threading.Event()

        def gated(file: Descriptor, *args: Any, **kwargs: Any) -> list[Span]:
            if os.path.samestat(os.fstat(file.fd), second.stat()):
                reached.set()
                go.wait(10)
            return spans_of(file, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(archive, "spans_of", gated)
            patch.setattr(archive, "_INDEX_PATIENCE", -1.0)
            archivist.poke()
            assert reached.wait(10)
            threading.Timer(0.05, go.set).start()
            assert archivist.wait(20)
        assert set(noted(tmp_path)) == {key_at(tmp_path / "expert.log.1")}
        archivist.poke()
        assert archivist.wait(20)
        assert len(noted(tmp_path)) == 2

    def test_a_rotation_comes_first(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While a backup is indexed a full disk may wait for the budget: it is met first, then the index goes on."""
        archivist.budget = 1_000
        done: list[str] = []
        reached, go = threading.Event(), threading.Event()
        meet = Archivist._meet_budget

        def gated(*args: Any, **kwargs: Any) -> list[Span]:
            reached.set()
            go.wait(10)
            found = spans_of(*args, **kwargs)
            done.append("indexed")
            return found

        def met(self: Archivist) -> None:
            done.append("budget")
            meet(self)

        monkeypatch.setattr(archive, "spans_of", gated)
        monkeypatch.setattr(Archivist, "_meet_budget", met)
        backup(tmp_path, 1, line(1))
        archivist.poke()
        assert reached.wait(10)
        backup(tmp_path, 2, *map(line, range(10)))
        archivist.poke()
        go.set()
        assert archivist.wait(20)
        assert done == ["budget", "budget", "indexed"]
        assert not (tmp_path / "expert.log.2").exists()

    def test_a_pause_waits_for_a_thread_that_has_just_done_its_work(
        self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else a fork would come upon the last of it, and Python would warn."""
        run, going, go = archivist._thread._loop, threading.Event(), threading.Event()

        def slow_to_end() -> None:
            run()
            going.set()
            go.wait(10)

        monkeypatch.setattr(archivist._thread, "_loop", slow_to_end)
        backup(tmp_path, 1, line(1))
        archivist.poke()
        assert going.wait(10)
        timer = threading.Timer(0.05, go.set)
        timer.start()
        archivist._thread.before_fork()
        thread = archivist._thread._latest
        assert thread is not None
        assert not thread.is_alive()
        timer.join()
        archivist._thread.after_fork_in_parent()

    def test_a_pause_ends_it_soon(self, archivist: Archivist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before a fork its thread ends in the middle of a file; after it, it goes on."""
        backup(tmp_path, 1, line(1))
        reached, go = threading.Event(), threading.Event()

        def gated(*args: Any, **kwargs: Any) -> list[Span]:
            reached.set()
            go.wait(10)
            return spans_of(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(archive, "spans_of", gated)
            archivist.poke()
            assert reached.wait(10)
            threading.Timer(0.05, go.set).start()
            archivist._thread.before_fork()
        assert not archivist.busy
        assert not (tmp_path / schema.PRIVATE_DIRECTORY / "index").exists()
        archivist._thread.after_fork_in_parent()
        archivist.poke()
        assert archivist.wait(20)
        assert len(noted(tmp_path)) == 1
