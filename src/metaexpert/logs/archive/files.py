"""Reading an archive: each of its Parquet files is read as a log file, group of rows by group of rows.

The statistics of a group say which times and levels it holds, so that a question about an hour does not read the year.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.entry.time_index import Span
from metaexpert.logs.entry import time_key
from metaexpert.logs.reading.files import ARCHIVED, BLOCK, PARTITION, Counts, LogFile, LogName, Piece

_MONEY: Final = "DECIMAL(38, 18)"
#: The columns beside timestamp, sequence_id, severity, file, line and text, the same in every archive.
COLUMNS: Final[dict[str, str]] = {
    **dict.fromkeys(("level", "message", "logger", *schema.DOMAIN_FIELDS, schema.CATEGORY), "VARCHAR"),
    **dict.fromkeys(("hostname", "appname", "procid", "msgid", "exception_type"), "VARCHAR"),
    **dict.fromkeys(("client_order_id", "side", "status"), "VARCHAR"),
    **dict.fromkeys(("size", "price", "filled_size", "order_size", "position_size"), _MONEY),
    **dict.fromkeys(("fee", "pnl"), _MONEY),
    "fee_currency": "VARCHAR",
}


class ArchiveError(Exception):
    """An archive cannot be written or read; the text says why."""


def loaded() -> Any:
    """Return DuckDB.

    Raises:
        ArchiveError: It is not installed.
    """
    try:
        return import_module("duckdb")
    except ModuleNotFoundError:
        raise ArchiveError('DuckDB is not installed; install it with: pip install "metaexpert[query]"') from None


def is_archive(partition: Path) -> bool:
    """Return whether *partition* is the directory of a day of an archive."""
    return partition.name.startswith(PARTITION) and (partition / ARCHIVED).is_file()


@cache
def _connection() -> Any:
    return loaded().connect(config={"threads": 1, "memory_limit": "256MB"})


class ArchiveFile(LogFile):
    """One day of an archive. Its offsets and lengths are numbers of rows.

    Args:
        name: Where it was found.
    """

    __slots__ = ("_groups",)

    def __init__(self, name: LogName) -> None:
        super().__init__(name)
        self._groups: Sequence[Span] | None = None

    @property
    def spans(self) -> Sequence[Span]:
        """Its groups of rows; none if it cannot be read."""
        with self._noting(Counts()):
            return self._row_groups()
        return ()

    def _row_groups(self) -> Sequence[Span]:
        if self._groups is None:
            self._groups = list(self._read_groups())
        return self._groups

    def _read_groups(self) -> Iterator[Span]:
        offset = 0
        with self._query(_GROUPS, [str(self.name.path)]) as found:
            for rows, low, high, worst, unknown in found.fetchall():
                level = schema.LEVEL_NUMBERS[schema.LEVEL_OF_SEVERITY[worst]] if not unknown else schema.CRITICAL
                yield Span(offset, rows, _key(low), _key(high), level)
                offset += rows

    def within(self, offset: int, length: int, counts: Counts, block: int = BLOCK) -> Iterator[Piece]:
        """Yield the lines of a range of rows, group by group."""
        del block
        with self._noting(counts):
            for span in self._row_groups():
                first, end = max(offset, span.offset), min(offset + length, span.offset + span.length)
                if first < end:
                    yield Piece(first, end - first, self._lines(first, end))

    def backward(self, counts: Counts) -> Iterator[bytes]:
        """Yield the same lines in pieces, the last piece first."""
        with self._noting(counts):
            for span in reversed(self._row_groups()):
                yield self._lines(span.offset, span.offset + span.length)
        self.rest()

    def head(self, length: int) -> bytes:
        """Return its first bytes, at most *length*."""
        return next((piece.data for piece in self.within(0, 1, Counts())), b"")[:length]

    def _lines(self, first: int, end: int) -> bytes:
        with self._query(_ROWS, [str(self.name.path), first, end]) as found:
            return "".join(f"{line}\n" for (line,) in found.fetchall()).encode()

    @contextmanager
    def _query(self, sql: str, values: list[Any]) -> Iterator[Any]:
        """Give the answer of a query; a file that was replaced since it was found, or is damaged, is an OSError."""
        try:
            status = self.name.path.stat()
            if (status.st_dev, status.st_ino) != self.identity:
                raise OSError(0, "it was replaced while the logs were read")
            with _connection().cursor() as cursor:
                yield cursor.execute(sql, values)
        except ArchiveError as error:
            raise OSError(0, str(error)) from None
        except loaded().Error as error:
            raise OSError(0, str(error).partition("\n")[0]) from None


_ROWS: Final = (
    "SELECT coalesce(line, text) FROM read_parquet(?, file_row_number=true, hive_partitioning=false) "
    "WHERE file_row_number >= ? AND file_row_number < ? ORDER BY file_row_number"
)
_GROUPS: Final = (
    "SELECT any_value(row_group_num_rows), any_value(stats_min_value) FILTER (path_in_schema = 'timestamp'), "
    "any_value(stats_max_value) FILTER (path_in_schema = 'timestamp'), "
    "any_value(stats_min_value) FILTER (path_in_schema = 'severity')::UTINYINT, "
    "coalesce(any_value(stats_null_count) FILTER (path_in_schema = 'severity'), 1) > 0 "
    "FROM parquet_metadata(?) GROUP BY row_group_id ORDER BY row_group_id"
)


def _key(text: str) -> bytes:
    return time_key(datetime.fromisoformat(text))
