"""`export`: logs into an archive of Parquet files, which `metaexpert.logs.open_logs` reads like the logs themselves.

An archive has one file for each day in UTC, ``date=2026-11-22/entries.parquet``. Each row is an entry: its line as
it was in the log, and its header, context and trading fields as columns of their own. A line that is no entry stands in
a column ``text`` instead. The columns are the same in every file, so that
files of different times are read together.

A day's file is written beside the archive's files and takes its place in one step, so that a reader sees the old file
or the whole new one. A day that the archive has already is merged: a line that is there comes in no second time. Memory
is bounded: a day waits in a temporary file, and DuckDB sorts it within `_MEMORY`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from metaexpert.logger import schema
from metaexpert.logs.archive.files import COLUMNS, ArchiveError, is_archive, loaded
from metaexpert.logs.entry import Entry, Record, as_json
from metaexpert.logs.library import Logs
from metaexpert.logs.reading.files import ARCHIVED, PARTITION, name_text

_MEMORY: Final = "1GB"
#: Of the type BIGINT.
_LARGEST: Final = 2**63 - 1
#: Rows of a group: what a reader takes at once. Larger ones are packed only a little better.
_GROUP: Final = 20_480
_WRITING: Final = ".export-"
#: What each column is made of: the name of the field, and the type that its text is read as.
_MADE: Final = ", ".join(
    f"TRY_CAST(v[{number}] AS {kind}) AS {name}" for number, (name, kind) in enumerate(COLUMNS.items(), 1)
)
_PATHS: Final = ", ".join(f"'$.{name.replace('exception_type', 'exception.type')}'" for name in COLUMNS)
_FIELDS: Final = (*COLUMNS, schema.EXCEPTION_KEY)
#: Of a staged row: time, number and severity, file, place in the reading, line, its flat
#: form where it has another, and text that is no entry.
_STAGED: Final = (
    "{t: 'VARCHAR', n: 'BIGINT', s: 'UTINYINT', f: 'VARCHAR', p: 'BIGINT', l: 'VARCHAR', d: 'VARCHAR', x: 'VARCHAR'}"
)
_NEW: Final = (
    "SELECT (t || '+00')::TIMESTAMPTZ AS timestamp, n AS sequence_id, s AS severity, f AS file, "  # noqa: S608
    f"{_MADE}, l AS line, x AS text, p AS place, false AS old FROM (SELECT *, CASE WHEN json_valid(coalesce(d, l)) "
    f"THEN json_extract_string(coalesce(d, l), [{_PATHS}]) END AS v FROM read_json($new, format='newline_delimited', "
    f"columns={_STAGED}, maximum_object_size=33554432))"
)
#: Of lines that both have, as many as the one that has more of them.
_MERGED: Final = (
    "SELECT * EXCLUDE again FROM (SELECT *, "  # noqa: S608
    f"row_number() OVER (PARTITION BY timestamp, line, text, old) AS again FROM ({_NEW} "
    "UNION ALL BY NAME SELECT * RENAME (file_row_number AS place), true AS old "
    "FROM read_parquet($old, file_row_number=true, hive_partitioning=false))) "
    "QUALIFY row_number() OVER (PARTITION BY timestamp, line, text, again ORDER BY old DESC) = 1"
)


class Exported(NamedTuple):
    """What `export` has done.

    Attributes:
        entries: Entries that passed the filters.
        others: Lines that are no entries.
        days: Days written.
    """

    entries: int
    others: int
    days: int


def export(logs: Logs, directory: Path) -> Exported:
    """Bring all records of *logs* that pass its filters into the archive in *directory*.

    Doing it again changes nothing. One export at a time may write into an archive.

    Raises:
        ArchiveError: DuckDB is not installed; or *directory* holds something else, or cannot be written.
    """
    duckdb = loaded()
    if str(directory) != (name := name_text(str(directory))):
        raise ArchiveError(f"the name of {name} is no UTF-8, and DuckDB takes no other; give another directory")
    days: set[str] = set()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _check(directory)
        with tempfile.TemporaryDirectory(prefix=_WRITING, dir=directory) as name:
            connection = duckdb.connect(config={"temp_directory": name, "memory_limit": _MEMORY, "threads": 2})
            with connection:
                for day, records in groupby(logs, key=lambda record: record.key[0][:10].decode()):
                    days.add(day)
                    _write_day(connection, Path(name), directory / f"{PARTITION}{day}", records)
    except OSError as error:
        raise ArchiveError(f"{error.filename or directory} cannot be written: {error.strerror}") from None
    except duckdb.Error as error:
        raise ArchiveError(f"the archive cannot be written: {str(error).partition(chr(10))[0]}") from None
    return Exported(logs.counts.entries, logs.counts.unparsed, len(days))


def _check(directory: Path) -> None:
    others = [path.name for path in directory.iterdir() if not path.name.startswith((PARTITION, _WRITING))]
    if others:
        raise ArchiveError(f"{directory} is no archive: it holds {min(others)}; give an empty or a new directory")


def _write_day(connection: Any, temporary: Path, partition: Path, records: Iterable[Record]) -> None:
    staged, written = temporary / "lines.json", temporary / "entries.part"
    with staged.open("wb") as file:
        file.writelines(_rows(records))
    old = partition / ARCHIVED
    merged = is_archive(partition)
    connection.execute(
        f"COPY (SELECT * EXCLUDE (old, place) FROM ({_MERGED if merged else _NEW}) "  # noqa: S608
        f"ORDER BY timestamp, sequence_id, old DESC, place) TO '{_quoted(written)}' "
        f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 9, ROW_GROUP_SIZE {_GROUP})",
        {"new": str(staged), **({"old": str(old)} if merged else {})},
    )
    partition.mkdir(exist_ok=True)
    _keep(written)
    written.replace(old)
    _keep(partition)
    _keep(partition.parent)


def _rows(records: Iterable[Record]) -> Iterator[bytes]:
    for place, record in enumerate(records):
        time, number, _ = record.key
        held = number if abs(number) <= _LARGEST else None
        row: dict[str, Any] = {"t": time.decode(), "n": held, "f": name_text(record.file), "p": place}
        if isinstance(record, Entry):
            flat = record.flat
            row |= {"s": schema.SEVERITIES[record.level], "l": record.line.decode("utf-8", "backslashreplace")}
            if flat is not record.data and flat != record.data:
                row["d"] = as_json({name: flat[name] for name in _FIELDS if name in flat}).decode()
            record.forget()
        else:
            row["x"] = record.text.replace("\0", "\\x00")
        yield orjson.dumps(row) + b"\n"


def _keep(path: Path) -> None:
    """Have a file or a directory on the disk before what depends on it."""
    if os.name == "nt" and path.is_dir():
        return
    number = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
