"""Entries that say nothing of orders, trades and errors, counted without decoding them.

They are most of all. `Counted.see` counts them piece by piece, in the compiled core where it can: a block is what one
process wrote in a piece, in the order of its numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Final

from metaexpert.logs.entry import TIME_BEGIN, TIME_END, Key
from metaexpert.logs.reading.filters import Criteria
from metaexpert.logs.reading.tally import HEADER, Tally, expert_in, lines_at

#: Without one of these, in lower case, an entry says nothing of orders (`names`) and decisions.
TELLING: Final = (
    *(b'decision_id":', b'order_id":', b'orderid":', b'order-id":', b'order id":', b'link_id":', b'linkid":'),
    *(b'ord_id":', b'ordid":', b'oid":', b'txid":', b'permid":', b'perm_id":'),
    *(b'"order":', b'"ticket":', b'"deal":', b'"id":', b'"c":'),
)
_HEAD: Final = re.compile(rb'.*?"hostname":"([^"]*)","appname":"([^"]*)","procid":"([^"]*)"')
_MOST_DIGITS: Final = 18

Process = tuple[str, str]


@dataclass(slots=True)
class Block:
    """Entries of one process, in the order of their numbers.

    Attributes:
        process: Host and process id.
        key: Place of the first one.
        last: Time of the last one, as in a `Key`.
        ranges: First and last number of each range of numbers.
        levels: How many, by level.
        experts: How many, by expert, in the order in which they appear.
    """

    process: Process
    key: Key
    last: bytes = b""
    ranges: list[tuple[int, int]] = field(default_factory=list)
    levels: Counter[str] = field(default_factory=Counter)
    experts: Counter[str] = field(default_factory=Counter)


class Counted:
    """The blocks of all pieces of the files.

    Args:
        criteria: The wanted time.

    Attributes:
        blocks: What was counted.
        latest: Time of the last trade or error of each piece, with its process: the latest ones.
    """

    def __init__(self, criteria: Criteria) -> None:
        self.blocks: list[Block] = []
        self.latest: dict[Process, bytes] = {}
        self._criteria = criteria

    def see(self, data: bytes, found: Tally) -> None:
        """Count the entries in whole lines; several threads may do so at a time."""
        odd = lines_at(data, found.odd)
        if found.high and not self._criteria.may_be_in(found.low, found.high) and not odd:
            return
        in_time = not found.high or (self._criteria.in_time(found.low) and self._criteria.in_time(found.high))
        blocks = _blocks(found, data) if in_time and not found.back and not any(map(is_counted, odd)) else None
        self.blocks += self._by_lines(data) if blocks is None else blocks
        if found.specials and (header := HEADER.match(data, found.specials[-2])) is not None:
            process = _names(header["host"], header["pid"])
            self.latest[process] = max(self.latest.get(process, b""), header["time"])

    def _by_lines(self, data: bytes) -> list[Block]:
        """Do what `_blocks` does, line by line, where the numbers of a process go back, or a time is asked for."""
        found: list[Block] = []
        current: dict[tuple[bytes, bytes], Block | None] = {}
        reached: dict[tuple[bytes, bytes], int] = {}
        for line in data.split(b"\n"):
            if not line.endswith(b"}") or (header := HEADER.match(line)) is None:
                continue
            time, number, process = header["time"], int(header["number"]), (header["host"], header["pid"])
            if number <= reached.get(process, 0):
                current[process] = None
            reached[process] = number
            if not is_counted(line) or not self._criteria.in_time(time):
                continue
            block = current.get(process)
            if block is None or time < block.last:
                block = current[process] = Block(_names(*process), (time, number, 0))
                found.append(block)
            if block.ranges and block.ranges[-1][1] + 1 == number:
                block.ranges[-1] = (block.ranges[-1][0], number)
            else:
                block.ranges.append((number, number))
            block.last = time
            block.levels[header["level"].decode()] += 1
            block.experts[_expert(header["head"], expert_in(line, header.end()) or b"")] += 1
        return found


def is_counted(line: bytes) -> bool:
    """Return whether `Counted` counts a line: its header is ours, and it is neither a trade nor an error."""
    header = HEADER.match(line) if line.endswith(b"}") else None
    if header is None or header["level"] in (b"error", b"critical") or header["msgid"] == b"trade":
        return False
    return len(header["number"]) <= _MOST_DIGITS and expert_in(line, header.end()) is not None


def _blocks(found: Tally, data: bytes) -> list[Block] | None:
    """Return the blocks of a piece; None if the numbers of a process go back in it."""
    blocks: dict[tuple[bytes, bytes], Block] = {}
    for host, pid, runs in found.runs:
        each = list(zip(runs[::3], runs[1::3], runs[2::3], strict=True))
        ranges = [(first, last) for first, last, place in each if place < 0]
        if not ranges:
            continue
        if any(max(one[:2]) >= other[0] for one, other in pairwise(each)):
            return None
        low, high = _time(data.find, pid, ranges[0][0], data), _time(data.rfind, pid, ranges[-1][1], data)
        blocks[host, pid] = Block(_names(host, pid), (low, ranges[0][0], 0), high, ranges)
    for level, head, expert, count in found.kinds:
        if count:
            host, _, pid = _parts(head)
            blocks[host, pid].levels[level.decode()] += count
            blocks[host, pid].experts[_expert(head, expert)] += count
    return list(blocks.values())


def _time(find: Callable[[bytes], int], pid: bytes, number: int, data: bytes) -> bytes:
    """Return the time of an ordinary entry of a process."""
    at = find(b'"procid":"%b","msgid":"log","sequence_id":%d,' % (pid, number))
    start = data.rfind(b"\n", 0, max(at, 0)) + 1
    return data[start + TIME_BEGIN : start + TIME_END]


@lru_cache(256)
def _parts(head: bytes) -> tuple[bytes, ...]:
    """Return host, name of the program, and process id in the header of a line."""
    found = _HEAD.match(head)
    return found.groups() if found is not None else (b"", b"", b"")


@lru_cache(256)
def _names(host: bytes, pid: bytes) -> Process:
    return host.decode("utf-8", "backslashreplace"), pid.decode("utf-8", "backslashreplace")


@lru_cache(256)
def _expert(head: bytes, expert: bytes) -> str:
    return (expert or _parts(head)[1]).decode("utf-8", "backslashreplace")
