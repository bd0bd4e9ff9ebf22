"""SQL over the logs, by DuckDB (extra ``query``): one table ``logs`` with typed columns over all files.

This package reads the files, so that backups, compressed files, both layouts and odd lines are treated as everywhere
else, and the table has each entry once. DuckDB gets them as JSON Lines in a temporary file outside the log directory;
nothing is written beside the logs. The table is a view on that file: a query takes apart only the columns that it uses.

Bound: a query gets `MOST_MEMORY` of memory, as much again of disk, `MOST_SECONDS` unless the caller says otherwise, and
`MOST_ROWS` rows. It can neither read other files nor change these limits.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logs.entry import Entry, kinds_of
from metaexpert.logs.library import Logs

#: Columns that every table has, whether an entry has them or not.
COLUMNS: Final[dict[str, str]] = {
    "timestamp": "TIMESTAMP",
    "level": "VARCHAR",
    "severity": "UTINYINT",
    "message": "VARCHAR",
    "expert_name": "VARCHAR",
    "symbol": "VARCHAR",
    "order_id": "VARCHAR",
    "trade_id": "VARCHAR",
    "strategy_id": "VARCHAR",
    "account_id": "VARCHAR",
    "category": "VARCHAR",
    "hostname": "VARCHAR",
    "appname": "VARCHAR",
    "procid": "VARCHAR",
    "msgid": "VARCHAR",
    "sequence_id": "UBIGINT",
    "file": "VARCHAR",
}
#: Of the type BIGINT.
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
_INTEGER, _FLOAT, _BOOLEAN, _TEXT, _JSON = "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "JSON"
#: The letters of `kinds_of`.
_LETTERS: Final = {b"s": _TEXT, b"i": _INTEGER, b"f": _FLOAT, b"b": _BOOLEAN, b"j": _JSON}
#: What is in the header of each ordinary line and not in `COLUMNS`.
_HEADER_FIELDS: Final = (b"facility\ti", b"version\ti")
#: Most fields with a kind that are remembered.
_MOST_SEEN: Final = 20_000
#: Most columns of a table; further fields are only in the column ``entry``.
_MOST_COLUMNS: Final = 400


#: Limits of a query: seconds, rows, and memory in DuckDB's notation.
MOST_SECONDS: Final = 60
MOST_ROWS: Final = 1_000_000
MOST_MEMORY: Final = "2GB"
_ROWS_AT_ONCE: Final = 10_000
_CONFIG: Final = {
    "autoinstall_known_extensions": "false",
    "memory_limit": MOST_MEMORY,
    "max_temp_directory_size": MOST_MEMORY,
    "python_enable_replacements": "false",  # it would read variables of this process
}


class QueryError(Exception):
    """The SQL is wrong or beyond a limit, or DuckDB is not installed; the message says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a query.

    Attributes:
        columns: Names.
        rows: Tuples of Python values.
    """

    columns: list[str]
    rows: list[tuple[Any, ...]]


def query(logs: Logs, sql: str, timeout: float = MOST_SECONDS) -> Answer:
    """Run *sql* on the table ``logs``, which holds the entries that pass the filters of *logs*.

    The table has the `COLUMNS` (times are UTC), a column for each other field (BIGINT, DOUBLE, BOOLEAN, VARCHAR, or
    JSON for lists, objects and mixed types), and ``entry``, the whole entry as JSON. The query cannot read or
    write other files.

    Args:
        logs: The entries.
        sql: One statement or several; the result is that of the last.
        timeout: Longest time for the query itself, in seconds.

    Raises:
        QueryError: The SQL is wrong or beyond a limit, or DuckDB is missing.
    """
    try:
        import duckdb  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: PLC0415 - an extra
    except ImportError:
        raise QueryError("DuckDB is not installed; pip install 'metaexpert[query]'") from None
    with tempfile.TemporaryDirectory(prefix="metaexpert-query-") as name:
        path = Path(name, "entries.json")
        kinds = _written(logs, path)
        connection = duckdb.connect(config={"temp_directory": name, **_CONFIG})
        try:
            _load(connection, path, kinds)
            connection.execute(f"SET allowed_paths = ['{_quoted(str(path))}']")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            return _answer(connection, sql, timeout)
        except duckdb.InterruptException:
            raise QueryError(f"the query takes longer than {timeout:g} seconds; --timeout allows more") from None
        except duckdb.Error as error:
            raise QueryError(str(error)) from None
        finally:
            connection.close()


def _answer(connection: Any, sql: str, timeout: float) -> Answer:
    watch = threading.Timer(timeout, connection.interrupt)
    watch.daemon = True
    watch.start()
    try:
        found = connection.execute(sql)
        columns = [column[0] for column in found.description or []]
        rows: list[tuple[Any, ...]] = []
        while columns and (more := found.fetchmany(_ROWS_AT_ONCE)):
            rows += more
            if len(rows) > MOST_ROWS:
                raise QueryError(f"the result has more than {MOST_ROWS} rows; say LIMIT, or count them in SQL")
    finally:
        watch.cancel()
    return Answer(columns, rows)


def _written(logs: Logs, path: Path) -> dict[str, str]:
    """Write the entries to *path* and return the kind of each field beyond `COLUMNS`.

    Each line is an array of the file's name and the entry in the flat layout.
    """
    fields = _Fields()
    with path.open("wb") as file:
        for entry in _entries(logs):
            line = entry.line
            if not fields.take_line(line):
                data = entry.data
                if schema.STRUCTURED_DATA_KEY in data or not line.startswith(b"{"):
                    data = entry.flat
                    line = json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")
                fields.take(data)
            file.write(b"[%b,%b]\n" % (_label(entry.file), line))
    return fields.kinds


class _Fields:
    """The fields beyond `COLUMNS`, and the kind of each by its values.

    Of lines that need no decoding, a field with a kind is looked at once.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self._seen: set[bytes] = set()

    def take_line(self, line: bytes) -> bool:
        """Take in the fields of a line without decoding it; return whether that is possible."""
        found = kinds_of(line)
        if found is None:
            return False
        fields = [*_HEADER_FIELDS, *found.split(b"\n")[:-1]]
        if not self._seen.issuperset(fields):
            if len(self._seen) > _MOST_SEEN:
                self._seen.clear()
            # The last of several with one name counts.
            for name, field in {field[:-2]: field for field in fields}.items():
                self._seen.add(field)
                if not field.endswith(b"n"):
                    self._add(name.decode(), _LETTERS[field[-1:]])
        return True

    def take(self, data: Mapping[str, Any]) -> None:
        """Take in the fields of a decoded entry in the flat layout."""
        for name, value in data.items():
            if value is not None:
                self._add(name, _kind(value))

    def _add(self, name: str, kind: str) -> None:
        if name not in COLUMNS and (name in self.kinds or len(self.kinds) < _MOST_COLUMNS):
            self.kinds[name] = _joined(self.kinds.get(name), kind)


@lru_cache(maxsize=1024)
def _label(file: str) -> bytes:
    return json.dumps(file).encode()


def _entries(logs: Logs) -> Iterator[Entry]:
    for record in logs:
        if isinstance(record, Entry):
            yield record


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return _BOOLEAN
    if isinstance(value, int):
        return _INTEGER if _SMALLEST <= value <= _LARGEST else _TEXT
    if isinstance(value, float):
        return _FLOAT
    return _TEXT if isinstance(value, str) else _JSON


def _joined(old: str | None, new: str) -> str:
    if old is None or old == new:
        return new
    return _FLOAT if {old, new} == {_INTEGER, _FLOAT} else _JSON if _JSON in (old, new) else _TEXT


def _load(connection: Any, path: Path, kinds: dict[str, str]) -> None:
    def extracted(name: str, kind: str) -> str:
        if kind == _JSON:
            return f"line->{_quoted_path(name)} AS {_name(name)}"
        return f"TRY_CAST(line->>{_quoted_path(name)} AS {kind}) AS {_name(name)}"

    taken = {name.lower() for name in COLUMNS} | {"entry"}
    columns = [extracted(name, kind) for name, kind in COLUMNS.items() if name != "file"] + ["line->>'$[0]' AS file"]
    for name, kind in kinds.items():
        if name.lower() not in taken:  # SQL names ignore case
            taken.add(name.lower())
            columns.append(extracted(name, kind))
    source = (
        f"read_csv('{_quoted(str(path))}', columns={{'line': 'JSON'}}, delim='\\0', quote='', escape='', header=false, "
        "auto_detect=false, max_line_size=67108864)"
    )
    chosen = ", ".join([*columns, "line->'$[1]' AS entry"])
    connection.execute(f"CREATE VIEW logs AS SELECT {chosen} FROM {source}")  # noqa: S608 - names are quoted


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _quoted_path(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
    return f"'$[1].\"{escaped}\"'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
