"""Input that nobody would write on purpose, and directories that change while they are read."""

import gzip
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from metaexpert.logs import Entry, Unparsed, open_logs
from metaexpert.logs.reading._blocks import KEPT
from metaexpert.logs.render import make_format
from metaexpert.logs.stats import collect_stats
from metaexpert.logs.verify import verify

Line = Callable[..., bytes]


@pytest.fixture
def hostile(tmp_path: Path, line: Line) -> Path:
    """A directory with one good entry in each of several bad files."""
    (tmp_path / "binary.log").write_bytes(os.urandom(1 << 16).replace(b"\n", b"") + b"\n" + line(1))
    (tmp_path / "nul.log").write_bytes(b"\0" * 5000 + b"\n" + line(2) + b"\0" * 70)
    (tmp_path / "crlf.log").write_bytes(line(3).replace(b"\n", b"\r\n"))
    (tmp_path / "bom.log").write_bytes(b"\xef\xbb\xbf" + line(4))
    (tmp_path / "utf16.log").write_bytes(line(5).decode().encode("utf-16"))
    (tmp_path / "codes.log").write_bytes(line(6, "\x1b[2J\x9b\u202e", **{"k\x1b]0;x\x07": "\x1b[31mred"}))
    (tmp_path / "blank.log").write_bytes(b"\n\n\r\n" + line(7) + b"\n")
    return tmp_path


def test_good_entries_are_found_among_rubbish(hostile: Path) -> None:
    """Binary data, NUL bytes, CRLF, a BOM and UTF-16 hide no entry of another line, and none is fatal."""
    for logs in (open_logs(hostile), open_logs(hostile, reverse=True), open_logs(hostile, limit=99)):
        assert sorted(record.sequence_id for record in logs if isinstance(record, Entry)) == [1, 2, 3, 4, 6, 7]
        assert logs.counts.unparsed >= 4
    assert [r.text for r in open_logs(hostile, grep="nothing of the kind")] == []
    assert collect_stats(open_logs(hostile)).entries == 6
    assert verify(open_logs(hostile)).counts["torn"] >= 4


@pytest.mark.parametrize("name", ["text", "json", "csv"])
@pytest.mark.parametrize("colors", [False, True])
def test_nothing_acts_on_a_terminal(hostile: Path, name: str, colors: bool) -> None:
    """Escape codes inside values, keys and torn lines are shown, in every format for a terminal."""
    form = make_format(name, terminal=True, colors=colors)  # type: ignore[arg-type]
    text = form.start + form(list(open_logs(hostile)))
    assert "\x1b]" not in text
    assert "\x1b[2J" not in text
    assert "\x1b[31mred" not in text
    assert not {"\0", "\x07", "\x9b", "\u202e", "\r"} & set(text)


def test_a_line_of_a_hundred_megabytes(tmp_path: Path, line: Line) -> None:
    """A hundred megabytes without a line end take little memory, are shown cut, and hide nothing around them."""
    with (tmp_path / "expert.log").open("wb") as file:
        file.write(line(1))
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + line(2))
    tracemalloc.start()
    try:
        for logs in (open_logs(tmp_path), open_logs(tmp_path, limit=9), open_logs(tmp_path, reverse=True)):
            records = list(logs)
            assert sorted(r.sequence_id for r in records if isinstance(r, Entry)) == [1, 2]
            (cut,) = (r for r in records if isinstance(r, Unparsed))
            assert len(cut.line) < KEPT + 50
            assert cut.text.endswith(f"…[cut {(100 << 20) - KEPT}]")
        assert len(list(open_logs(tmp_path, order="none"))) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 60 << 20


def test_a_directory_that_changes_while_it_is_read(tmp_path: Path, line: Line) -> None:
    """What is rotated, compressed, removed or truncated after the reading began is read as it was, or told."""
    for number in range(3):
        (tmp_path / f"expert.log{f'.{number}' if number else ''}").write_bytes(
            b"".join(line(n, "x" * 500, at=n) for n in range(1 + (2 - number) * 4000, 1 + (3 - number) * 4000))
        )
    logs = open_logs(tmp_path)
    stream = iter(logs)
    got = [next(stream)]
    (tmp_path / "expert.log.2").unlink()
    data = (tmp_path / "expert.log.1").read_bytes()
    (tmp_path / "expert.log.2.gz").write_bytes(gzip.compress(data))
    (tmp_path / "expert.log.1").unlink()
    (tmp_path / "expert.log").rename(tmp_path / "expert.log.1")
    (tmp_path / "expert.log").write_bytes(line(99_999))
    got += stream
    assert [record.key[1] for record in got] == list(range(1, 12_001))
    with (tmp_path / "expert.log.1").open("ab") as file:
        file.truncate(3_000_000)
    assert len(list(open_logs(tmp_path))) > 4000
