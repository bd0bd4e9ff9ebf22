"""Lines that are not decoded: those judged by their bytes are what decoding says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.logger.system.native import core
from metaexpert.logs import query
from metaexpert.logs.entry import is_ordinary, kinds_of, parse
from metaexpert.logs.library import open_logs
from metaexpert.logs.verify import schema_problem
from tests.unit.test_logs.conftest import Line

VALUES = st.sampled_from(
    ["1", "-2.50", "1e3", "123456789012345678", "1234567890123456789", "-0", '"7.5"', '""', "true", "false", "null",
     "[1,2]", "tru", '{"price":3}', "01", '"\\u0037"', "1,", "", '"\\n"']
)  # fmt: skip
NAMES = st.sampled_from(
    ["price", "größe", "a b", 'q\\"', "pri\\u0063e", "timestamp", "level", "logger", "exception", ""]
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=4)


def made(line: Line, fields: list[tuple[str, str]], **header: Any) -> bytes:
    """Return a line with these fields, as they are written."""
    return line(1, **header)[:-2] + "".join(f',"{name}":{value}' for name, value in fields).encode() + b"}"


@pytest.mark.skipif(core is None, reason="nothing is compiled")
@given(FIELDS, st.sampled_from(["debug", "info", "error", "critical"]), st.booleans(), st.sampled_from([None, 5, -1]))
def test_an_ordinary_line_is_what_decoding_says(fields: Any, level: str, trade: bool, cut: int | None) -> None:
    """It is an entry without problems, and neither a trade nor an error; its fields have the kinds of their values."""
    header = {"category": "trade"} if trade else {}
    whole = made(written, fields, level=level, **header)[:cut]
    kinds = kinds_of(whole)
    if not is_ordinary(whole):
        assert kinds is None
        return
    entry = parse(whole, "")
    assert entry is not None
    assert not schema_problem(entry.data)
    assert not entry.has_copies
    if kinds is not None:
        told, decoded = query._Fields(), query._Fields()
        assert told.take_line(whole)
        decoded.take(entry.data)
        assert told.kinds == decoded.kinds


def written(number: int, **fields: Any) -> bytes:
    head = {
        "timestamp": "2026-11-22T10:31:00.000000Z", "level": fields.pop("level"), "severity": 0, "facility": 16,
        "version": 1, "hostname": "box", "appname": "EmaBot", "procid": "42",
        "msgid": "trade" if fields else "log", "sequence_id": number, "message": "m",
    }  # fmt: skip
    head["severity"] = {"debug": 7, "info": 6, "error": 3, "critical": 2}[str(head["level"])]
    return json.dumps({**head, **fields}, separators=(",", ":")).encode() + b"\n"


@pytest.mark.skipif(core is None, reason="nothing is compiled")
def test_a_usual_line_is_not_decoded(tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is asked of it decodes an entry."""
    (tmp_path / "expert.log").write_bytes(b"".join(line(n, price=1.5, note="x") for n in range(1, 5)))
    assert all(record._data is None for record in open_logs(tmp_path))  # type: ignore[union-attr]
    assert is_ordinary(line(1)[:-1])
    assert kinds_of(line(1, a="x", b=1, c=1.5, d=None, e=[1], f=False)[:-1]) == b"a\ts\nb\ti\nc\tf\nd\tn\ne\tj\nf\tb\n"
