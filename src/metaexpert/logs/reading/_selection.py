"""Which lines may be wanted, judged by their bytes: in the compiled core, or here.

A line is dropped only for what is certain: a time outside the wanted one at the place where our writer has it, or a
text that no wanted line can lack. Lines with an escape sequence that can stand for any character, or with bytes that
are not UTF-8, may hold any text. The core does it without the interpreter lock; a property test compares the two.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from metaexpert.logger.system.native import core
from metaexpert.logs.entry import TIME_BEGIN, TIME_END, regular_number

#: Most groups, and most texts of all groups; the same in `system/core/scan.c`.
MOST_GROUPS: Final = 8
MOST_TEXTS: Final = 32
_ESCAPES: Final = re.compile(rb"\\[u/]")


class Group(NamedTuple):
    """Texts of which a wanted line has at least one.

    Attributes:
        texts: The texts, none of them empty.
        fold: Take upper and lower case of ASCII letters for the same; then the texts are in lower case.
        odd: A line that is not regular (see `metaexpert.logs.entry.regular_number`) may be wanted without any.
    """

    texts: tuple[bytes, ...]
    fold: bool
    odd: bool


class Selection(NamedTuple):
    """The lines that may be wanted, out of whole lines.

    Attributes:
        bounds: Begin, end and sequence id of each, one after the other. For a line that is not regular the end is
            negative, and the number -1.
        low: Earliest time of the regular ones; empty when there is none.
        high: Latest time.
        regular: Whether all are regular.
    """

    bounds: Sequence[int]
    low: bytes
    high: bytes
    regular: bool

    def lines(self, data: bytes) -> list[bytes]:
        """Return them, out of the same *data*."""
        return [data[start : abs(stop)] for start, stop, _ in self.each()]

    def odd_lines(self, data: bytes) -> list[bytes]:
        """Return those that are not regular."""
        return [data[start:-stop] for start, stop, _ in self.each() if stop < 0]

    def each(self) -> Iterator[tuple[int, int, int]]:
        """Yield begin, end and sequence id of each."""
        bounds = self.bounds
        return zip(bounds[::3], bounds[1::3], bounds[2::3], strict=True)


#: The fields of a `Selection`, the first one as bytes.
_Selected = tuple[bytes, bytes, bytes, bool]
_Select = Callable[[bytes, bytes, bytes, tuple[Group, ...]], _Selected]


def select(data: bytes, since: bytes, until: bytes, groups: tuple[Group, ...]) -> Selection:
    """Return which lines of *data* may be wanted.

    Args:
        data: Whole lines.
        since: Earliest time, as in a line, without the Z; empty for none.
        until: Latest time, included.
        groups: A wanted line has a text of each.
    """
    bounds, low, high, regular = chosen(data, since, until, groups)
    return Selection(memoryview(bounds).cast("q"), low, high, regular)


def plain_select(
    data: bytes, since: bytes, until: bytes, groups: tuple[Group, ...]
) -> tuple[bytes, bytes, bytes, bool]:
    """Do what the core does."""
    bounds, times, start = array("q"), [], 0
    for line in data.split(b"\n"):
        end = start + len(line)
        if line:
            number = regular_number(line)
            regular = bool(number)
            time = line[TIME_BEGIN:TIME_END] if regular else since
            if time >= since and not (until and regular and time > until) and has_texts(line, groups, regular=regular):
                bounds.extend((start, end if regular else -end, int(number or -1)))
                times += [time] if regular else []
        start = end + 1
    return bounds.tobytes(), min(times, default=b""), max(times, default=b""), 3 * len(times) == len(bounds)


def has_texts(line: bytes, groups: tuple[Group, ...], *, regular: bool) -> bool:
    """Return whether *line* has a text of each of *groups*, or may hide it."""
    hidden: bool | None = None
    for texts, fold, odd in groups:
        searched = line.lower() if fold else line
        if (odd and not regular) or any(text in searched for text in texts):
            continue
        hidden = _may_hide(line) if hidden is None else hidden
        if not hidden:
            return False
    return True


def _may_hide(line: bytes) -> bool:
    if _ESCAPES.search(line):
        return True
    try:
        line.decode()
    except UnicodeDecodeError:
        return True
    return False


chosen: Final[_Select] = plain_select if core is None else core.select
