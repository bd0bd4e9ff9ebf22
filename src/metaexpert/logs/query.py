"""SQL over the logs, by DuckDB (extra ``query``): one table ``logs`` with typed columns over all files.

This package reads the files, so that backups, compressed files, both layouts and odd lines are treated as everywhere
else, and the table has each entry once. DuckDB gets them as JSON Lines in a temporary file outside the log directory;
nothing is written beside the logs. The table is a view on that file: a query takes apart only the columns that it uses.
Of a query that names all its columns, the compiled core writes only these into the file (`needed`).

Bound: a query gets `MOST_MEMORY` of memory, as much again of disk, `MOST_SECONDS` unless the caller says otherwise, and
`MOST_ROWS` rows. It can neither read other files nor change these limits.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Container, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from metaexpert.logger import schema
from metaexpert.logger.system.native import core
from metaexpert.logs.entry import Entry, as_json, kinds_of, parse
from metaexpert.logs.library import Logs
from metaexpert.logs.reading.ahead import ahead
from metaexpert.logs.reading.dedup import Recent, header_of
from metaexpert.logs.reading.files import LogFile, name_text
from metaexpert.logs.reading.merge import once_through
from metaexpert.logs.reading.tally import lines_at

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
#: Trades and errors remembered to recognise copies.
_WINDOW: Final = 200_000
#: Most columns of a table; further fields are only in the column ``entry``.
_MOST_COLUMNS: Final = 400


#: Most names that a query may need of whole entries; the same in `system/core/project.c`.
_MOST_NEEDED: Final = 24
#: Parts of a parsed statement that mean only the columns that they name.
_KNOWN_PARTS: Final = frozenset(
    {"SELECT_NODE", "SET_OPERATION_NODE", "BASE_TABLE", "SUBQUERY", "JOIN", "EMPTY", "ORDER_MODIFIER",
     "LIMIT_MODIFIER", "DISTINCT_MODIFIER", "ASCENDING", "DESCENDING", "ORDER_DEFAULT"}
)  # fmt: skip
_PLAIN_JOINS: Final = frozenset({"REGULAR", "CROSS"})
#: Needs the line of an entry, its file, or a part of the header that is seldom asked for.
_OF_WHOLE_ENTRIES: Final = frozenset({"entry", "file", "facility", "version"})
#: Expressions that mean columns without their names.
_UNNAMED: Final = frozenset({"STAR", "POSITIONAL_REFERENCE"})
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
    # The filters choose among whole entries, and so does each iteration with a limit.
    quick = core is not None and not logs.filtered and logs.limit is None
    try:
        if quick and (wanted := _needed(duckdb, sql)) is not None:
            with suppress(duckdb.BinderException):  # the message shall name all columns
                return _asked(duckdb, logs, sql, timeout, wanted)
        return _asked(duckdb, logs, sql, timeout, None)
    except duckdb.InterruptException:
        raise QueryError(f"the query takes longer than {timeout:g} seconds; --timeout allows more") from None
    except duckdb.Error as error:
        raise QueryError(str(error)) from None


def _needed(duckdb: Any, sql: str) -> Needed | None:
    with closing(duckdb.connect()) as connection:
        return needed(connection, sql)


def _asked(duckdb: Any, logs: Logs, sql: str, timeout: float, wanted: Needed | None) -> Answer:
    with tempfile.TemporaryDirectory(prefix="metaexpert-query-") as name:
        path = Path(name, "entries.json")
        kinds = _written(logs, path) if wanted is None else _projected(logs, path, wanted.names)
        connection = duckdb.connect(config={"temp_directory": name, **_CONFIG})
        try:
            _load(connection, path, kinds, sort=wanted is not None and wanted.ordered)
            connection.execute(f"SET allowed_paths = ['{_quoted(str(path))}']")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            return _answer(connection, sql, timeout)
        finally:
            connection.close()


def _answer(connection: Any, sql: str, timeout: float) -> Answer:
    watch = threading.Timer(timeout, connection.interrupt)
    watch.daemon = True
    watch.start()
    try:
        found = connection.execute(sql)
        if found is None:  # nothing but blanks, comments and semicolons
            raise QueryError("the SQL has no statement; it should be like SELECT level, count(*) FROM logs GROUP BY 1")
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
                fields.take(entry.flat)
                line = _row(entry)
            file.write(b"[%b,%b]\n" % (_label(entry.file), line))
    return fields.kinds


def _row(entry: Entry) -> bytes:
    """Return the line of an entry in the flat layout, with its time in UTC."""
    data = entry.data
    ours = schema.STRUCTURED_DATA_KEY not in data and entry.line.startswith(b"{")
    if ours and data["timestamp"] == entry.timestamp:
        return entry.line
    return as_json({**entry.flat, "timestamp": entry.timestamp})


def _projected(logs: Logs, path: Path, names: tuple[bytes, ...]) -> dict[str, str]:
    """Write the fields with these *names* of all entries to *path*, and return their kinds, see `_written`.

    The lines come in the order of the files, nearly that of time.
    """
    fields, recent = _Fields(), Recent(_WINDOW)
    counts = logs.counts
    counts.reset()

    def work(piece: tuple[LogFile, bytes]) -> Any:
        return core.project(piece[1], names)

    with path.open("wb") as file, logs.opened() as chains:
        for (_, data), found in ahead(once_through(chains, counts, logs.progress), work):
            lines, columns, specials, odd = found
            counts.entries += lines.count(b"\n")
            begin = 0
            marks = memoryview(specials).cast("q")
            for start, end, at, stop in zip(marks[::4], marks[1::4], marks[2::4], marks[3::4], strict=True):
                if recent.seen(data[start:end]):  # from its time to its number, copies are equal
                    file.write(memoryview(lines)[begin:at])
                    counts.entries -= 1
                    begin = stop
            file.write(memoryview(lines)[begin:] if begin else lines)
            for name, kinds in columns:
                fields.take_kinds(name, kinds)
            for line in lines_at(data, memoryview(odd).cast("q")):
                entry = parse(line, "")
                counts.unparsed += entry is None
                if entry is not None and not (entry.identity and entry.has_copies and recent.seen(header_of(entry))):
                    counts.entries += 1
                    fields.take(entry.flat, names)
                    file.write(b'["",%b]\n' % _row(entry))
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

    def take_kinds(self, name: bytes, letters: bytes) -> None:
        """Take in a field with the letters of its values."""
        for letter in letters.replace(b"n", b""):
            self._add(name.decode(), _LETTERS[bytes([letter])])

    def take(self, data: Mapping[str, Any], wanted: Container[bytes] | None = None) -> None:
        """Take in the fields of a decoded entry in the flat layout: all, or those *wanted* (in lower case)."""
        for name, value in data.items():
            if value is not None and (wanted is None or name.lower().encode("utf-8", "replace") in wanted):
                self._add(name, _kind(value))

    def _add(self, name: str, kind: str) -> None:
        if name not in COLUMNS and (name in self.kinds or len(self.kinds) < _MOST_COLUMNS):
            self.kinds[name] = _joined(self.kinds.get(name), kind)


@lru_cache(maxsize=1024)
def _label(file: str) -> bytes:
    return json.dumps(name_text(file)).encode()


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


def _load(connection: Any, path: Path, kinds: dict[str, str], *, sort: bool) -> None:
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
    order = " ORDER BY timestamp, sequence_id" if sort else ""
    connection.execute(f"CREATE VIEW logs AS SELECT {chosen} FROM {source}{order}")  # noqa: S608 - names are quoted


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _quoted_path(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
    return f"'$[1].\"{escaped}\"'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class Needed(NamedTuple):
    """What a query needs of the table.

    Attributes:
        names: Columns, in lower case; some may be no columns.
        ordered: Whether the order of the rows may show in the result.
    """

    names: tuple[bytes, ...]
    ordered: bool


def needed(connection: Any, sql: str) -> Needed | None:
    """Return what *sql* needs; None for whole entries.

    DuckDB parses it. Whole entries are taken for all that may mean columns without their names (a star, a row, another
    statement than SELECT) or is not known here.

    Args:
        connection: Of DuckDB.
        sql: The statements.
    """
    parsed = orjson.loads(connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchone()[0])
    if parsed.get("error", True) or not parsed.get("statements"):
        return None
    tops = [statement["node"] for statement in parsed["statements"]]
    ordered = not all(top.get("group_expressions") or _has_order(top) for top in tops)
    parts = list(_parts(tops))
    if not all(map(_is_known, parts)):
        return None
    others = {str(item["key"]).lower() for part in parts for item in (part.get("cte_map") or {}).get("map", ())}
    tables = [part for part in parts if part.get("type") == "BASE_TABLE"]
    if any(str(table.get("table_name")).lower() not in others | {"logs"} for table in tables):
        return None
    rows = {str(part["alias"]).lower() for part in parts if "class" not in part and part.get("alias")}
    references = [[str(name).lower() for name in part["column_names"]] for part in parts if "column_names" in part]
    names = {name for path in references for name in path}
    names.update(str(name).lower() for part in parts for name in part.get("using_columns") or ())
    whole = _OF_WHOLE_ENTRIES & names or any(path[-1] in rows | others | {"logs"} for path in references)
    names |= {"timestamp", "sequence_id"} if ordered else set()
    if whole or len(names) > _MOST_NEEDED or not all(map(str.isascii, names)):
        return None
    return Needed(tuple(sorted(name.encode() for name in names)), ordered)


def _has_order(node: dict[str, Any]) -> bool:
    return any(part.get("type") == "ORDER_MODIFIER" for part in node.get("modifiers") or ())


def _parts(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _is_known(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    if "class" in part:
        return part["class"] not in _UNNAMED and kind not in _UNNAMED
    if not isinstance(kind, str) or kind.endswith("_TYPE_INFO"):
        return True
    plain = not part.get("column_name_alias") and part.get("ref_type", "REGULAR") in _PLAIN_JOINS
    return kind in _KNOWN_PARTS and plain and not part.get("schema_name") and not part.get("catalog_name")
