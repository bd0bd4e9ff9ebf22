"""How an entry gets its number and its room: one number each, in a bounded number of tries."""

from __future__ import annotations

from typing import Any

import pytest

from metaexpert.logger.encoding.route import Route, keep
from metaexpert.logger.journal.journal import Journal
from metaexpert.logger.journal.lane import JournalLane
from metaexpert.logger.system.count import Count


def line(name: str) -> bytes:
    return b'{"sequence_id":0,"name":"%s"}\n' % name.encode()


def route(*lanes: Any, lost: Any = None) -> Route:
    return Route(lanes=lanes, numbers=Count(1), count=None, after=None, lost=lost)


class Contested:
    """A lane whose room others take each time it was made, but for what it takes at last."""

    def __init__(self, *, takes: bool) -> None:
        self.tries = 0
        self.takes = takes
        self.lines: list[bytes] = []

    def has_room(self, _: int) -> bool:
        return False

    def make_room(self, _: int) -> bool:
        self.tries += 1
        assert self.tries < 10_000, "no end"
        return True

    def write(self, _: bytes) -> None:
        raise ValueError("full")

    def append(self, line: bytes, *, reserve: bool) -> bool:
        if self.takes:
            self.lines.append(line)
        return self.takes and reserve


def test_a_lane_whose_room_others_take_takes_the_line_at_last() -> None:
    """The tries have a bound; then the lane finds room for the line itself."""
    lane = Contested(takes=True)
    way = route(lane)
    assert keep(way, line("a"))
    assert lane.lines == [line("a").replace(b"0", b"1")]
    assert way.numbers.value == 2


def test_a_line_that_no_lane_takes_at_last_burns_no_number() -> None:
    """It is as if it had never come."""
    way = route(Contested(takes=False), Contested(takes=False))  # with nothing to call for a lost line
    assert not keep(way, line("a"))
    assert way.numbers.value == 1


def test_a_line_that_one_of_two_lanes_takes_is_told() -> None:
    """Its number is used, and the caller hears how many have it."""
    lost: list[tuple[bytes, int]] = []
    way = route(Contested(takes=True), Contested(takes=False), lost=lambda *told: lost.append(told))
    assert keep(way, line("a"))
    assert lost == [(line("a").replace(b"0", b"1"), 1)]
    assert way.numbers.value == 2


@pytest.mark.parametrize("count", [1, 2])
def test_an_entry_that_comes_while_room_is_judged_has_a_number_of_its_own(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Another thread stirs a lane at rest, and logs, between two steps of a call in the plain way."""
    journal = Journal(None, 2**20)
    lanes = [journal.lane(str(number)) for number in range(count)]
    way = route(*lanes)
    assert keep(way, line("first"))
    for lane in lanes:
        lane.rest()
    really, others = JournalLane.has_room, iter([line("other")])

    def has_room(self: JournalLane, length: int) -> bool:
        found = really(self, length)
        for other in others:
            assert all(lane.make_room(length) for lane in lanes)
            assert keep(way, other)
        return found or really(self, length)

    monkeypatch.setattr(JournalLane, "has_room", has_room)
    assert keep(way, line("own"))
    for lane in lanes:
        lines = [text for pending in lane.pending() for text in pending.lines()]
        assert [text[:16] for text in lines] == [b'{"sequence_id":1', b'{"sequence_id":2', b'{"sequence_id":3']
    journal.close()
