"""The rules of a watcher, and the claims that keep its alerts single."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger.system.locks import FileLock
from metaexpert.logs import open_logs
from metaexpert.watch import _claims as claims
from metaexpert.watch._listing import Listing
from metaexpert.watch.rules import STANDS_STILL, Silence, read_rules


def test_rules_as_people_write_them() -> None:
    """A hang in seconds; several silences; what stands still is told after 30 s at most."""
    rules = read_rules("90s", ["trade=30m", "Bar closed = 5m", "any=1h30m"])
    assert (rules.hang, rules.still) == (90.0, STANDS_STILL)
    assert rules.silences == (Silence("trade", 1800.0), Silence("Bar closed", 300.0), Silence("any", 5400.0))
    assert read_rules("5s", []).still == 5.0
    assert read_rules(None, []).hang is None


@pytest.mark.parametrize("text", ["trade", "=30m", "trade=", "trade=soon", "trade=2s", "trade=-5m", "trade=1e3"])
def test_a_silence_that_cannot_be_understood(text: str) -> None:
    """The option and the text are named."""
    with pytest.raises(ValueError, match="--silence"):
        read_rules(None, [text])


def test_marks_of_rules_differ() -> None:
    """Two watchers with different rules do not take each other's marks for their own."""
    marks = {Silence(kind, span).mark for kind in ("trade", "any", "../x") for span in (60.0, 61.0)}
    assert len(marks) == 6
    assert all(mark.isalnum() for mark in marks)


def entry(message: str, level: str = "info", **fields: Any) -> bytes:
    head = {
        "timestamp": "2026-11-22T10:00:00.000000Z", "level": level, "severity": 6, "facility": 16, "version": 1,
        "hostname": "vm", "appname": "a", "procid": "1", "msgid": "log", "sequence_id": 1, "message": message,
    }  # fmt: skip
    return json.dumps({**head, **fields}, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize(
    ("kind", "found", "other"),
    [
        ("any", entry("x"), b""),
        ("trade", entry("x", msgid="trade"), entry("trade", note='"msgid":"trade"')),
        ("decision", entry("x", decision="skip"), entry("decision")),
        ("warning", entry("x", level="error"), entry("warning")),
        ("bar closed", entry("5 min Bar Closed", symbol="X"), entry("x", note="bar closed")),
        ("a.c", entry("a.c"), entry("abc")),
    ],
)
def test_the_entries_of_a_kind(tmp_path: Path, kind: str, found: bytes, other: bytes) -> None:
    """A kind is any, trade, decision, a level, or a part of the message in any case; not what a field says."""
    (tmp_path / "expert.log").write_bytes(found + other)
    logs = Silence(kind, 60.0).narrow(open_logs(tmp_path))
    assert [record.line + b"\n" for record in logs] == [found]


class TestClaims:
    """Each incident is told by one watcher."""

    def test_it_is_made_with_its_facts_once(self, tmp_path: Path) -> None:
        """While one watcher holds it, another gets none; when it was told, nobody does."""
        path = tmp_path / "j.end"
        claim = claims.take(path, {"kind": "hang"})
        assert claim is not None
        assert claims.take(path, {"kind": "other"}) is None
        claim.told()
        assert claims.take(path, {"kind": "other"}) is None
        assert claims.read(path) == {"kind": "hang", "told": True}

    def test_another_watcher_goes_on(self, tmp_path: Path) -> None:
        """After a kill the next one knows which endpoints have it, and that it may have arrived at others."""
        path = tmp_path / "j.end"
        path.write_text('{"reason": "crashed"}')
        first = claims.take(path)
        assert first is not None
        assert not first.tried
        first.trying()
        first.arrived("telegram")
        first.release()  # as the system does for a killed process
        second = claims.take(path)
        assert second is not None
        assert second.tried
        assert second.sent == ["telegram"]
        assert second.facts["reason"] == "crashed"
        second.release()

    def test_a_beginning_is_nothing(self, tmp_path: Path) -> None:
        """An empty or broken file of a killed watcher is made anew with facts, and goes without."""
        path = tmp_path / "j.hung"
        path.write_bytes(b'{"kind')
        claim = claims.take(path, {"kind": "hang"})
        assert claim is not None
        assert claim.facts == {"kind": "hang"}
        claim.release()
        path.write_bytes(b"")
        assert claims.take(path) is None
        assert not path.exists()

    @pytest.mark.parametrize("content", [b"[]", b"7", b"\xff", b'"told"'])
    def test_what_is_no_claim(self, tmp_path: Path, content: bytes) -> None:
        """Whatever the file holds, nothing is raised."""
        path = tmp_path / "j.end"
        path.write_bytes(content)
        assert claims.read(path) == {}

    def test_a_lock_that_another_holds(self, tmp_path: Path) -> None:
        """A claim goes with the lock of its file, not with its content."""
        path = tmp_path / "j.end"
        path.write_text('{"reason": "crashed"}')
        lock = FileLock(path)
        assert lock.acquire()
        assert claims.take(path) is None
        lock.release(delete=False)


def test_a_listing_sees_each_change(tmp_path: Path) -> None:
    """Changes in the same tick of the file system's clock are seen as well."""
    listing = Listing(tmp_path)
    for number in range(50):
        (tmp_path / str(number)).touch()
        listing.refresh()
        assert len(listing.names) == number + 1
    (tmp_path / "below").mkdir()
    listing.refresh()
    assert [name for name, is_directory in listing.names.items() if is_directory] == ["below"]
