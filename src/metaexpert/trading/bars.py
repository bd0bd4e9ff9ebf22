"""Price bars, and the reader of CSV files of bars.

A file of bars has a header line with the columns ``timestamp, open, high, low, close, volume`` in any order and
any case; other columns are ignored. ``timestamp`` is the time at which the bar *opened*, in ISO 8601; a time
without an offset is UTC. Prices are positive, volume is not negative, times rise from row to row.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

COLUMNS: Final = ("timestamp", "open", "high", "low", "close", "volume")
_SHOWN: Final = 60

type PathLike = str | os.PathLike[str]


class BarError(ValueError):
    """A bar, or a line of a file of bars, that cannot be traded on.

    Attributes:
        column: The column (or field) that is wrong, None when the whole line or file is.
        value: The wrong value, None when there is none.
        expected: What is expected instead.
        path: The file as it was named, None for a bar that came from no file.
        line: The line of the file, counted from 1; None as above.
    """

    def __init__(
        self,
        expected: str,
        *,
        column: str | None = None,
        value: object = None,
        path: str | None = None,
        line: int | None = None,
    ) -> None:
        self.column = column
        self.value = value
        self.expected = expected
        self.path = path
        self.line = line
        super().__init__(self._sentence())

    def at(self, path: str, line: int) -> BarError:
        """Return the same error with its location in a file."""
        return BarError(self.expected, column=self.column, value=self.value, path=path, line=line)

    def _sentence(self) -> str:
        where = [] if self.path is None else [self.path]
        where += [] if self.line is None else [f"line {self.line}"]
        where += [] if self.column is None else [f"column {self.column}"]
        found = "" if self.value is None else f"{_shown(self.value)}: "
        return f"{', '.join(where)}: {found}{self.expected}" if where else f"{found}{self.expected}"


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of prices. Building an impossible one raises `BarError`.

    Attributes:
        time: When the bar opened; an aware datetime (a naive one is taken as UTC).
        open: First price, in the quote currency, above zero.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: Traded volume in the unit of the data's source, zero or more.
    """

    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float

    def __post_init__(self) -> None:
        if self.time.tzinfo is not UTC:
            object.__setattr__(self, "time", _in_utc(self.time))
        for column in COLUMNS[1:]:
            _check_number(column, getattr(self, column))
        if self.high < max(self.open, self.low, self.close):
            raise BarError(
                f"the high must not be below open, low or close ({self.open}, {self.low}, {self.close})",
                column="high",
                value=self.high,
            )
        if self.low > min(self.open, self.close):
            raise BarError(
                f"the low must not be above open or close ({self.open}, {self.close})",
                column="low",
                value=self.low,
            )


def read_bars(path: PathLike) -> Iterator[Bar]:
    """Yield the bars of a CSV file one by one; only one row is in memory at a time.

    UTF-8 with or without a byte order mark, any line ends, blank lines are skipped.

    Raises:
        BarError: at the first wrong line, naming file, line, column, value and the expected value.
        OSError: when the file cannot be opened or read.
    """
    name = os.fspath(path)
    with open(path, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123 - any os.PathLike
        rows = csv.reader(file)
        try:
            yield from _bars_of(rows, name)
        except UnicodeDecodeError as error:
            raise BarError("the file must be UTF-8 text", path=name, line=rows.line_num + 1) from error
        except csv.Error as error:
            raise BarError(f"this is no CSV row ({error})", path=name, line=rows.line_num) from error


def load_bars(path: PathLike) -> tuple[Bar, ...]:
    """Return all bars of a CSV file, checked. Same errors as `read_bars`."""
    return tuple(read_bars(path))


def check_bars(path: PathLike) -> int:
    """Read a whole CSV file without keeping it and return how many bars it holds. Errors as `read_bars`."""
    return sum(1 for _ in read_bars(path))


def check_order(bar: Bar, previous: Bar | None) -> None:
    """Raise `BarError` unless *bar* opened later than *previous*."""
    if previous is not None and bar.time <= previous.time:
        raise BarError(
            f"a time must be later than that of the row before ({previous.time.isoformat()})",
            column="timestamp",
            value=bar.time.isoformat(),
        )


def _bars_of(rows: Any, name: str) -> Iterator[Bar]:
    header = next(rows, None)
    if header is None:
        raise BarError(f"the file is empty; it needs a header: {','.join(COLUMNS)}", path=name, line=1)
    columns = _columns(header, name, rows.line_num)
    previous: Bar | None = None
    for row in rows:
        if not any(map(str.strip, row)):
            continue
        try:
            bar = _bar(row, columns, len(header))
            check_order(bar, previous)
        except BarError as error:
            raise error.at(name, rows.line_num) from None
        yield bar
        previous = bar
    if previous is None:
        raise BarError("the file has a header but no bars", path=name, line=rows.line_num)


def _columns(header: Sequence[str], name: str, line: int) -> dict[str, int]:
    names = [column.strip().lower() for column in header]
    for column in COLUMNS:
        if names.count(column) != 1:
            problem = "is missing" if column not in names else "stands there more than once"
            raise BarError(
                f"this column {problem}; the header must name {','.join(COLUMNS)}, separated by commas",
                column=column,
                value=",".join(header),
                path=name,
                line=line,
            )
    return {column: names.index(column) for column in COLUMNS}


def _bar(row: Sequence[str], columns: dict[str, int], width: int) -> Bar:
    if len(row) != width:
        raise BarError(f"the row has {len(row)} values; the header has {width} columns", value=",".join(row))
    cells = {column: row[index].strip() for column, index in columns.items()}
    time = _time(cells["timestamp"])
    return Bar(time, *(_number(column, cells[column]) for column in COLUMNS[1:]))


def _time(text: str) -> datetime:
    try:
        return _in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        expected = "a time in ISO 8601 is needed, such as 2024-01-31 09:00:00"
        raise BarError(expected, column="timestamp", value=text) from None


def _in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _number(column: str, text: str) -> float:
    try:
        # float() also reads 1_000 and digits of other scripts, which in a price file are damage.
        if text.isascii() and "_" not in text:
            return float(text)
    except ValueError:
        pass
    raise BarError("a number is needed, such as 1.0722", column=column, value=text)


def _check_number(column: str, value: float) -> None:
    if not math.isfinite(value):
        raise BarError("a finite number is needed", column=column, value=value)
    if value <= 0 and column != "volume":
        raise BarError("a price must be above zero", column=column, value=value)
    if value < 0:
        raise BarError("a volume must be zero or more", column=column, value=value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
