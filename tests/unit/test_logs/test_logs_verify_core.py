"""Lines checked in the compiled core give the report of the line-by-line way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples

from metaexpert.logger.system.native import core
from metaexpert.logs import open_logs, verify
from metaexpert.logs.entry import parse
from metaexpert.logs.reading import tally
from metaexpert.logs.reading.files import Counts, LogFile, Piece
from metaexpert.logs.verify import schema_problem
from tests.unit.test_logs.conftest import Line

pytestmark = pytest.mark.skipif(core is None, reason="nothing is compiled")

#: What happens between two lines: the next number, one again, some missing, a restart; the clock goes on, stands, back.
STEPS = st.tuples(
    st.sampled_from([1, 1, 1, 1, 1, 0, 3, -2, None]),
    st.sampled_from([0.0, 0.4, 1.0, 1.0, 2.0, -3.0]),
    st.sampled_from(["1", "1", "2"]),
    st.sampled_from(
        ["info", "info", "info", "info", "trade", "error", "torn", "blank", "nul", "schema", "text", "foreign", "again"]
    ),
)


def lines_of(steps: list[tuple[int | None, float, str, str]], line: Line) -> Iterator[tuple[str, bytes]]:
    number, seconds, last = 0, 100.0, b""
    for step, change, procid, kind in steps:
        number = 1 if step is None else max(1, number + step)
        seconds = max(0.0, seconds + change)
        level = "error" if kind == "error" else "info"
        more: dict[str, Any] = {"category": "trade"} if kind == "trade" else {}
        if kind == "error":
            more = {"exception": {"type": "E", "value": "x", "text": "a\nb"}}
        if kind == "schema":
            more = {"logger": 5}
        made = line(number, f"m {number}", level=level, at=seconds, procid=procid, **more)
        made = {
            "torn": made[:60] + b"\n",
            "blank": b"\n",
            "nul": b"\0\0" + made,
            "text": b"starting\n",
            "foreign": b'{"timestamp": "2026-11-22T10:32:00Z", "level": "info", "message": "m", "sequence_id": 4}\n',
            "again": last or made,
        }.get(kind, made)
        last = made
        yield kind, made


def report_of(directory: Path) -> dict[str, Any]:
    report = verify.verify(open_logs(directory)).as_dict()
    report["problems"].sort(key=str)
    return report


@settings(max_examples=examples(150), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=40), st.integers(0, 30), st.integers(300, 1500), st.booleans())
def test_the_report_is_that_of_the_line_by_line_way(
    tmp_path_factory: pytest.TempPathFactory,
    line: Line,
    steps: list[tuple[int | None, float, str, str]],
    cut: int,
    block: int,
    ended: bool,
) -> None:
    """Restarts, clocks that step back, copies, torn and foreign lines, in pieces of any size."""
    directory = tmp_path_factory.mktemp("logs")
    made = list(lines_of(steps, line))
    whole = b"".join(text for _, text in made[cut:])
    (directory / "expert.log.1").write_bytes(b"".join(text for _, text in made[:cut]))
    (directory / "expert.log").write_bytes(whole if ended else whole[:-1])
    (directory / "trades.log").write_bytes(b"".join(text for kind, text in made if kind == "trade"))

    def pieces(file: LogFile, counts: Counts) -> Iterator[Piece]:
        yield from file.within(0, file.size, counts, block)
        file.rest()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogFile, "pieces", pieces)
        patch.setattr(verify, "_SWAPPED", 5)
        compiled = report_of(directory)
        patch.setattr(verify, "strict_tally", lambda _: None)
        assert compiled == report_of(directory)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["a", "level", "logger", "stack", "exception", "structured_data", "timestamp"]) | st.text(
    max_size=4
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(NAMES, VALUES, max_size=4),
    st.sampled_from([b"", b"1.", b"01", b"-", b"1e5", b'"\\u00e9"', b'"\t"', b'"\xff"', b"[1,]", b"nul", b" 1"]),
    st.sampled_from(
        [
            (b"T10:31:01", b"T25:31:01"), (b"-11-22", b"-02-30"), (b'"severity":6', b'"severity":3'),
            (b'"facility":16', b'"facility":24'), (b'"hostname":"box"', b'"hostname":"b x"'), (b'"appname":"EmaBot"',
            b'"appname":""'), (b'"sequence_id":1', b'"sequence_id":01'), (b"x", b"x"), (b"-11-22", b"-02-29"),
        ]
    ),
)  # fmt: skip
def test_a_line_that_is_sure_is_sound(
    line: Line, fields: dict[str, Any], raw: bytes, change: tuple[bytes, bytes]
) -> None:
    """A line that the core is sure of is an entry that conforms to the schema."""
    made = line(1, "m").rstrip()[:-1] + b"".join(
        b",%b:%b" % (json.dumps(name).encode(), json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        for name, value in fields.items()
    )
    made = (made + (b',"raw":' + raw if raw else b"") + b"}").replace(*change)
    found = tally.strict_tally(made)
    assert found is not None
    if not found.odd and not found.unsure:
        entry = parse(made, "")
        assert entry is not None
        assert schema_problem(entry.data) == ""


def test_ordinary_lines_are_sure(line: Line) -> None:
    """What the writer writes most needs no second look."""
    made = line(1, 'say \\ "hi"\n', price=1.5, book={"bids": [[1, 2.5], []], "ok": True, "no": None}, name="x" * 300)
    found = tally.strict_tally(made)
    assert found is not None
    assert (list(found.odd), list(found.unsure)) == ([], [])
