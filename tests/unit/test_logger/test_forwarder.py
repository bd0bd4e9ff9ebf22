"""Forwarding to collectors: order, spool, window, restart; by a clock that moves when told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sinks import FakeClock

from metaexpert.logger.remote.exports import _forwarder
from metaexpert.logger.remote.exports._backlog import Backlog
from metaexpert.logger.remote.exports._forwarder import Forwarder, TransportError


class Pipe:
    """A transport that takes lines while it is up; what was sent in the last moment before a break is lost."""

    name = "pipe"

    def __init__(self, *, acknowledged: bool = False) -> None:
        self.endpoint = "pipe-hash"
        self.acknowledged = acknowledged
        self.up = True
        self.arrived: list[bytes] = []
        self.connected = False
        self.finishes = True

    def connect(self) -> None:
        if not self.up:
            raise TransportError("connection refused")
        self.connected = True

    def send(self, lines: Sequence[bytes]) -> None:
        if not self.up:
            raise TransportError("broken pipe")
        self.arrived += lines

    def break_off(self, lost: int) -> None:
        """Break the connection; the last *lost* lines never arrived."""
        self.up = self.connected = False
        del self.arrived[len(self.arrived) - lost :]

    def finish(self) -> bool:
        self.connected = False
        return self.finishes

    def abort(self) -> None:
        self.connected = False

    def after_fork(self) -> None:
        self.connected = False


class Bench:
    """A forwarder on a fake clock."""

    def __init__(
        self, pipe: Pipe, directory: Path | None, clock: FakeClock | None = None, most: int = 10_000_000
    ) -> None:
        self.clock = clock or FakeClock(1000)
        self.pipe = pipe
        self.reports: list[str] = []
        self.backlog = Backlog(directory, pipe.endpoint, most)
        report = lambda _, text: self.reports.append(text)  # noqa: E731
        self.forwarder = Forwarder(pipe, self.backlog, report, self.clock, jitter=lambda: 1.0)

    def run(self, seconds: float) -> None:
        end = self.clock() + seconds
        while self.clock() <= end:
            self.clock.advance(max(self.forwarder.step(), 0.001))


def lines(first: int, last: int, size: int = 10) -> list[bytes]:
    """Return lines that tell their number."""
    return [b"%d" % n + b" " * size + b"\n" for n in range(first, last)]


def numbers(found: Sequence[bytes]) -> list[int]:
    """Return the numbers of lines."""
    return [int(line) for line in found]


def test_lines_arrive_in_order(tmp_path: Path) -> None:
    """What is taken is sent, in order, once."""
    it = Bench(Pipe(), tmp_path)
    for n in range(0, 1000, 100):
        it.forwarder.take(lines(n, n + 100))
        it.run(0.05)
    assert numbers(it.pipe.arrived) == list(range(1000))
    assert it.forwarder.idle


def test_what_broke_off_is_sent_again_and_nothing_is_missing(tmp_path: Path) -> None:
    """After a reconnection the window is sent again: repeats, but no gap."""
    it = Bench(Pipe(), tmp_path)
    it.forwarder.take(lines(0, 500))
    it.run(1)
    it.pipe.break_off(lost=120)
    it.forwarder.take(lines(500, 800))
    it.run(5)
    assert it.forwarder.stuck
    it.pipe.up = True
    it.run(60)
    assert set(numbers(it.pipe.arrived)) == set(range(800))
    assert it.forwarder.counts.resent == 500
    assert not it.forwarder.stuck


def test_an_acknowledged_transport_repeats_nothing(tmp_path: Path) -> None:
    """Where a batch is confirmed there is no window."""
    it = Bench(Pipe(acknowledged=True), tmp_path)
    it.forwarder.take(lines(0, 500))
    it.run(1)
    it.pipe.break_off(lost=0)
    it.forwarder.take(lines(500, 600))
    it.run(2)
    it.pipe.up = True
    it.run(60)
    assert numbers(it.pipe.arrived) == list(range(600))


def test_the_window_is_bounded_in_time_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was sent long ago, or beyond the bytes that buffers hold, is not sent again."""
    it = Bench(Pipe(), tmp_path)
    it.forwarder.take(lines(0, 100))
    it.run(1)
    it.run(_forwarder.WINDOW_SECONDS)
    it.forwarder.take(lines(100, 110))
    it.run(1)
    it.pipe.connected = False
    it.run(2)
    assert it.forwarder.counts.resent == 10
    monkeypatch.setattr(_forwarder, "WINDOW_BYTES", 1000)
    it.forwarder.take(lines(110, 310, size=100))
    it.run(1)
    it.pipe.connected = False
    it.run(2)
    assert it.forwarder.counts.resent < 10 + 12


def test_what_does_not_fit_memory_waits_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the collector takes nothing entries go to disk, and follow in order."""
    monkeypatch.setattr(_forwarder, "SPILL", 500)
    it = Bench(Pipe(acknowledged=True), tmp_path)
    it.pipe.up = False
    for n in range(0, 1000, 50):
        it.forwarder.take(lines(n, n + 50))
        it.forwarder.step()
    assert it.backlog.count > 800
    assert it.forwarder.stats()["waiting"] == 1000
    it.pipe.up = True
    it.run(60)
    assert numbers(it.pipe.arrived) == list(range(1000))
    assert it.backlog.count == 0


def test_a_full_spool_counts_what_it_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound of the spool entries are dropped, counted and told; those before arrive."""
    monkeypatch.setattr(_forwarder, "SPILL", 0)
    it = Bench(Pipe(acknowledged=True), tmp_path, most=1000)
    it.pipe.up = False
    it.forwarder.take(lines(0, 1))
    it.forwarder.take(lines(1, 200))
    dropped = it.forwarder.counts.dropped
    assert 0 < dropped < 199
    assert any(f"{dropped} entries were dropped" in text for text in it.reports)
    it.pipe.up = True
    it.run(60)
    assert numbers(it.pipe.arrived) == list(range(200 - dropped))


def test_the_next_process_sends_what_was_left(tmp_path: Path) -> None:
    """What a forwarder could not send when it closed is sent by the next one to the same endpoint, and by no other."""
    one = Bench(Pipe(), tmp_path)
    one.pipe.up = False
    one.forwarder.take(lines(0, 300))
    one.forwarder.step()
    one.forwarder.close()
    stranger = Pipe()
    stranger.endpoint = "another"
    other = Bench(stranger, tmp_path, one.clock)
    other.run(60)
    assert stranger.arrived == []
    heir = Bench(Pipe(), tmp_path, one.clock)
    heir.run(60)
    assert numbers(heir.pipe.arrived) == list(range(300))


def test_what_nobody_confirmed_at_the_end_is_sent_again(tmp_path: Path) -> None:
    """When the other side does not confirm that it has read everything, the window is left to the next process."""
    one = Bench(Pipe(), tmp_path)
    one.forwarder.take(lines(0, 50))
    one.run(1)
    one.pipe.finishes = False
    one.forwarder.close()
    assert one.forwarder.counts.unconfirmed == 50
    heir = Bench(Pipe(), tmp_path, one.clock)
    heir.run(5)
    assert numbers(heir.pipe.arrived) == list(range(50))
    heir.forwarder.close()
    assert numbers(Bench(Pipe(), tmp_path).pipe.arrived) == []


def test_pauses_grow_while_the_collector_is_down(tmp_path: Path) -> None:
    """Tries become rarer, up to half a minute apart; the trouble is told."""
    it = Bench(Pipe(), tmp_path)
    it.pipe.up = False
    it.forwarder.take(lines(0, 1))
    waits = []
    for _ in range(8):
        waits.append(it.forwarder.step())
        it.clock.advance(waits[-1])
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert waits[-1] == _forwarder.LONGEST_BACKOFF
    assert any("connection refused" in text for text in it.reports)


def test_without_a_disk_entries_wait_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the spool cannot be made entries are kept in memory, and that is told."""
    monkeypatch.setattr(_forwarder, "SPILL", 0)
    (tmp_path / "taken").write_text("a file")
    it = Bench(Pipe(acknowledged=True), tmp_path / "taken")
    it.forwarder.take(lines(0, 1))
    it.forwarder.take(lines(1, 100))
    assert any("memory only" in text for text in it.reports)
    it.run(10)
    assert numbers(it.pipe.arrived) == list(range(100))


def test_a_spool_that_has_no_place_holds_nothing_up(tmp_path: Path) -> None:
    """Where the directory of the spool cannot be made entries are sent all the same, and one report says so."""
    (tmp_path / "taken").write_text("a file")
    it = Bench(Pipe(), tmp_path / "taken")
    it.forwarder.take(lines(0, 50))
    it.run(1)
    assert numbers(it.pipe.arrived) == list(range(50))
    assert len([text for text in it.reports if "memory only" in text]) == 1


def test_a_child_sends_nothing_of_its_parent(tmp_path: Path) -> None:
    """After a fork the child has an empty queue and no connection."""
    it = Bench(Pipe(), tmp_path)
    it.forwarder.take(lines(0, 10))
    it.forwarder.before_fork()
    it.forwarder.after_fork()
    assert it.forwarder.idle
    it.forwarder.take(lines(10, 20))
    it.run(1)
    assert numbers(it.pipe.arrived) == list(range(10, 20))


def test_an_error_that_nobody_expected_is_told_and_goes_by(tmp_path: Path) -> None:
    """A fault of ours is reported by its kind, and the work goes on after a pause."""
    it = Bench(Pipe(), tmp_path)
    it.forwarder.failed(RuntimeError("with a secret"))
    assert it.forwarder.trouble == "RuntimeError"
    it.forwarder.take(lines(0, 5))
    it.run(5)
    assert numbers(it.pipe.arrived) == list(range(5))
