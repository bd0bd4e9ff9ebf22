"""Entries that say nothing of orders, trades and errors, counted without decoding them.

They are most of all. `Counted.see` counts them piece by piece, in the compiled core where it can: a block is what one
process wrote in a piece, in the order of its numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count as numbered
from typing import Final

from metaexpert.logs.entry import TIME_BEGIN, TIME_END, Key
from metaexpert.logs.reading.filters import Criteria
from metaexpert.logs.reading.tally import HEADER, Numbers, RawProcess, Tally, add_range, expert_in, lines_at

#: Without one of these, in lower case, an entry says nothing of orders (`names`) and decisions.
TELLING: Final = (
    *(b'decision_id":', b'order_id":', b'orderid":', b'order-id":', b'order id":', b'link_id":', b'linkid":'),
    *(b'ord_id":', b'ordid":', b'oid":', b'txid":', b'permid":', b'perm_id":'),
    *(b'"order":', b'"ticket":', b'"deal":', b'"id":', b'"c":'),
)
_OWN: Final = b',"message":"log.'
_HEAD: Final = re.compile(rb'.*?"hostname":"([^"]*)","appname":"([^"]*)","procid":"([^"]*)"')
_MOST_DIGITS: Final = 18
#: More bytes than a piece has.
_PIECE: Final = 1 << 40

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
        process: Trades and errors of other processes are counted too; None: those of none are.

    Attributes:
        blocks: What was counted.
        latest: Time of the last trade or error of each piece, with its process: the latest ones.
    """

    def __init__(self, criteria: Criteria, process: RawProcess | None = None) -> None:
        self.process = process
        #: Where an entry of several files was seen first; by its line from the time to the number.
        self._seen: dict[bytes, int] = {}
        self._pieces = numbered()
        self.blocks: list[Block] = []
        self.latest: dict[Process, bytes] = {}
        self._criteria = criteria

    def see(self, data: bytes, found: Tally) -> None:
        """Count the entries in whole lines; several threads may do so at a time."""
        odd = lines_at(data, found.odd)
        if found.high and not self._criteria.may_be_in(found.low, found.high) and not odd:
            return
        in_time = not found.high or (self._criteria.in_time(found.low) and self._criteria.in_time(found.high))
        others = self._others(found, data)
        blocks = _blocks(found, data, others) if in_time and not found.back and not any(map(is_counted, odd)) else None
        self.blocks += self._by_lines(data, others) if blocks is None else blocks
        if found.specials and (header := HEADER.match(data, found.specials[-2])) is not None:
            process = _names(header["host"], header["pid"])
            self.latest[process] = max(self.latest.get(process, b""), header["time"])

    def _others(self, found: Tally, data: bytes) -> dict[int, int]:
        """Return the trades and errors of other processes that are counted here: where they begin, and their kind.

        A copy of one that was seen is not, nor are those that the logger logged about itself: they are told.
        """
        if self.process is None:
            return {}
        theirs = [_process(head) != self.process for _, head, *_ in found.kinds]
        each = zip(found.specials[::2], found.marks[::4], found.marks[1::4], strict=True)
        # Several threads may have copies of one entry at a time: its place among all pieces tells which was first.
        first, piece = self._seen.setdefault, next(self._pieces) * _PIECE
        return {
            start: kind
            for start, end, kind in each
            if theirs[kind]
            and not data.startswith(_OWN, end)
            and first(data[start + TIME_BEGIN : end], piece + start) == piece + start
        }

    def _by_lines(self, data: bytes, others: Mapping[int, int]) -> list[Block]:
        """Do what `_blocks` does, line by line, where the numbers of a process go back, or a time is asked for."""
        found: list[Block] = []
        current: dict[tuple[bytes, bytes], Block | None] = {}
        reached: dict[tuple[bytes, bytes], int] = {}
        stop = -1
        for line in data.split(b"\n"):
            start, stop = stop + 1, stop + 1 + len(line)
            if not line.endswith(b"}") or (header := HEADER.match(line)) is None:
                continue
            time, number, process = header["time"], int(header["number"]), (header["host"], header["pid"])
            if number <= reached.get(process, 0):
                current[process] = None
            reached[process] = number
            if not (start in others or is_counted(line)) or not self._criteria.in_time(time):
                continue
            block = current.get(process) if start not in others else None
            if block is None or time < block.last:
                block = Block(_names(*process), (time, number, 0))
                found.append(block)
                if start not in others:
                    current[process] = block
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


def _blocks(found: Tally, data: bytes, others: Mapping[int, int]) -> list[Block] | None:
    """Return the blocks of a piece; None if the numbers of a process go back in it."""
    blocks: dict[RawProcess, Block] = {}
    singles: list[Block] = []
    kinds = Counter({kind: count for kind, (*_, count) in enumerate(found.kinds) if count})
    told: dict[RawProcess, Counter[int]] = {}
    for kind, size in Counter(others.values()).items():
        told.setdefault(_process(found.kinds[kind][1]), Counter())[kind] = size
    for numbers in found.runs:
        process, every, mine = (numbers.host, numbers.pid), numbers.every, told.get((numbers.host, numbers.pid))
        if any(last >= first for last, first in zip(every[1::2], every[2::2], strict=False)):
            if numbers.ordinary or others:
                return None
        elif numbers.ordinary:
            blocks[process] = _block(found, data, numbers, others, mine.total() if mine else 0)
            kinds.update(mine)
        elif mine:  # copies, maybe of several runs
            each = zip(numbers.runs[::3], numbers.runs[2::3], strict=True)
            places = ((number, found.specials[2 * place]) for number, place in each)
            singles += [_single(found, data, number, at, others[at]) for number, at in places if at in others]
    for kind, count in kinds.items():
        level, head, expert, _ = found.kinds[kind]
        blocks[_process(head)].levels[level.decode()] += count
        blocks[_process(head)].experts[_expert(head, expert)] += count
    return [*blocks.values(), *singles]


def _block(found: Tally, data: bytes, numbers: Numbers, others: Mapping[int, int], told: int) -> Block:
    """Return the block of a process: its ordinary lines, and those of *others* that are its own, so many as *told*."""
    ranges, begin, end = numbers.ordinary, -1, -1
    if told == _size(numbers.every) - _size(ranges) > 0:
        ranges, begin, end = numbers.every, _start(found, numbers.runs[2]), _start(found, numbers.runs[-1])
    elif told:
        each = zip(numbers.runs[::3], numbers.runs[1::3], numbers.runs[2::3], strict=True)
        places = [(first, last or first, _start(found, place)) for first, last, place in each]
        counted = [one for one in places if one[2] < 0 or one[2] in others]
        ranges, begin, end = _joined(counted), counted[0][2], counted[-1][2]
    low = _time(data, numbers, ranges[0], begin)
    high = _time(data, numbers, ranges[-1], end, latest=True)
    pairs = list(zip(ranges[::2], ranges[1::2], strict=True))
    return Block(_names(numbers.host, numbers.pid), (low, ranges[0], 0), high, pairs)


def _size(ranges: Sequence[int]) -> int:
    return sum(ranges[1::2]) - sum(ranges[::2]) + len(ranges) // 2


def _start(found: Tally, place: int) -> int:
    """Return where a trade or an error begins; -1 for an ordinary line."""
    return found.specials[2 * place] if place >= 0 else -1


def _single(found: Tally, data: bytes, number: int, start: int, kind: int) -> Block:
    """Return the block of a trade or an error alone."""
    level, head, expert, _ = found.kinds[kind]
    time = data[start + TIME_BEGIN : start + TIME_END]
    block = Block(_names(*_process(head)), (time, number, 0), time, [(number, number)])
    block.levels[level.decode()] = block.experts[_expert(head, expert)] = 1
    return block


def _joined(each: Iterable[tuple[int, int, int]]) -> list[int]:
    """Return ranges of numbers, first and last of each, those that follow one another as one."""
    found: list[int] = []
    for first, last, _ in each:
        add_range(found, first, last)
    return found


def _time(data: bytes, numbers: Numbers, number: int, start: int, *, latest: bool = False) -> bytes:
    """Return the time of the line at *start*; if that is negative, of the first ordinary one with that header."""
    needle = b'"procid":"%b","msgid":"log","sequence_id":%d,' % (numbers.pid, number)
    low, high = 0, len(data)
    while start < 0:
        at = data.rfind(needle, low, high) if latest else data.find(needle, low, high)
        line = data.rfind(b"\n", 0, max(at, 0)) + 1
        if at < 0 or b'"hostname":"%b",' % numbers.host in data[line:at]:  # two hosts may have the same process id
            start = line
        low, high = (low, at) if latest else (at + 1, high)
    return data[start + TIME_BEGIN : start + TIME_END]


@lru_cache(256)
def _parts(head: bytes) -> tuple[bytes, ...]:
    """Return host, name of the program, and process id in the header of a line."""
    found = _HEAD.match(head)
    return found.groups() if found is not None else (b"", b"", b"")


@lru_cache(256)
def _process(head: bytes) -> RawProcess:
    host, _, pid = _parts(head)
    return host, pid


@lru_cache(256)
def _names(host: bytes, pid: bytes) -> Process:
    return host.decode("utf-8", "backslashreplace"), pid.decode("utf-8", "backslashreplace")


def raw_process(process: Process) -> RawProcess | None:
    """Return host and process id as they are in a line; None if they were no text."""
    return None if "\\" in "".join(process) else (process[0].encode(), process[1].encode())


@lru_cache(256)
def _expert(head: bytes, expert: bytes) -> str:
    return (expert or _parts(head)[1]).decode("utf-8", "backslashreplace")
