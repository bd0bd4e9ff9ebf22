"""SQL over the logs, by DuckDB (extra ``query``): one table ``logs`` with typed columns over all files.

This package reads the files, so that backups, compressed files, both layouts and odd lines are treated as everywhere
else, and the table has each entry once. DuckDB gets them as compact JSON Lines in a temporary file outside the log
directory; nothing is written beside the logs.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from metaexpert.logs.entry import Entry
from metaexpert.logs.library import Logs

#: Columns that every table has, whether an entry has them or not.
COLUMNS: Final[dict[str, str]] = {
    "timestamp": "TIMESTAMP",
    "level": "VARCHAR",
    "severity": "UTINYINT",
    **dict.fromkeys(("message", "expert_name", "symbol", "order_id", "trade_id", "strategy_id"), "VARCHAR"),
    **dict.fromkeys(("account_id", "category", "hostname", "appname", "procid", "msgid"), "VARCHAR"),
    "sequence_id": "UBIGINT",
    "file": "VARCHAR",
}
_INTEGER, _FLOAT, _BOOLEAN, _TEXT, _JSON = "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "JSON"
#: Most columns of a table; further fields are only in the column ``entry``.
_MOST_COLUMNS: Final = 400


class QueryError(Exception):
    """The SQL is wrong, or DuckDB is not installed; the message says which."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a query.

    Attributes:
        columns: Names.
        rows: Tuples of Python values.
    """

    columns: list[str]
    rows: list[tuple[Any, ...]]


def query(logs: Logs, sql: str) -> Answer:
    """Run *sql* on the table ``logs``, which holds the entries that pass the filters of *logs*.

    The table has the `COLUMNS` (times are UTC), a column for each other field (BIGINT, DOUBLE, BOOLEAN, VARCHAR, or
    JSON for lists, objects and mixed types), and ``entry``, the whole entry as JSON. The query cannot read or
    write other files.

    Raises:
        QueryError: The SQL is wrong, or DuckDB is missing.
    """
    try:
        import duckdb  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: PLC0415 - an extra
    except ImportError:
        raise QueryError("DuckDB is not installed; pip install 'metaexpert[query]'") from None
    with tempfile.TemporaryDirectory(prefix="metaexpert-query-") as name:
        directory = Path(name)
        path = directory / "entries.json"
        kinds = _written(logs, path)
        # In a file, so that it need not fit into memory.
        connection = duckdb.connect(str(directory / "logs.duckdb"), config={"autoinstall_known_extensions": "false"})
        try:
            _load(connection, path, kinds)
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            found = connection.execute(sql)
            columns = [column[0] for column in found.description or []]
            return Answer(columns, found.fetchall() if columns else [])
        except duckdb.Error as error:
            raise QueryError(str(error)) from None
        finally:
            connection.close()


def _written(logs: Logs, path: Path) -> dict[str, str]:
    """Write the entries to *path* and return the kind of each field beyond `COLUMNS`."""
    kinds: dict[str, str] = {}
    with path.open("w", encoding="utf-8", errors="surrogatepass") as file:
        for entry in logs:
            if not isinstance(entry, Entry):
                continue
            flat = entry.flat
            for name, value in flat.items():
                if name not in COLUMNS and value is not None and (name in kinds or len(kinds) < _MOST_COLUMNS):
                    kinds[name] = _joined(kinds.get(name), _kind(value))
            record = {name: flat[name] for name in COLUMNS if name in flat}
            rest = {name: value for name, value in flat.items() if name not in COLUMNS}
            file.write(json.dumps([_texts(record) | {"file": entry.file}, rest, flat], ensure_ascii=False) + "\n")
    return kinds


def _texts(record: dict[str, Any]) -> dict[str, Any]:
    return {
        name: str(value) if COLUMNS[name] == _TEXT and value is not None and not isinstance(value, str) else value
        for name, value in record.items()
    }


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return _BOOLEAN
    if isinstance(value, int):
        return _INTEGER if -(2**63) <= value < 2**63 else _TEXT
    if isinstance(value, float):
        return _FLOAT
    return _TEXT if isinstance(value, str) else _JSON


def _joined(old: str | None, new: str) -> str:
    if old is None or old == new:
        return new
    return _FLOAT if {old, new} == {_INTEGER, _FLOAT} else _JSON if _JSON in (old, new) else _TEXT


def _load(connection: Any, path: Path, kinds: dict[str, str]) -> None:
    def extracted(index: int, name: str, kind: str) -> str:
        source = f"line->'$[{index}]'->{_quoted_path(name)}"
        if kind == _JSON:
            return f"{source} AS {_name(name)}"
        return f"TRY_CAST(({source})->>'$' AS {kind}) AS {_name(name)}"

    taken = {name.lower() for name in COLUMNS} | {"entry"}
    columns = [extracted(0, name, kind) for name, kind in COLUMNS.items()]
    for name, kind in kinds.items():
        if name.lower() not in taken:  # SQL names ignore case
            taken.add(name.lower())
            columns.append(extracted(1, name, kind))
    source = (
        "read_csv(?, columns={'line': 'JSON'}, delim='\\0', quote='', escape='', header=false, auto_detect=false, "
        "max_line_size=67108864)"
    )
    chosen = ", ".join([*columns, "line->'$[2]' AS entry"])
    connection.execute(f"CREATE TABLE logs AS SELECT {chosen} FROM {source}", [str(path)])  # noqa: S608 - names are quoted


def _quoted_path(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
    return f"'$.\"{escaped}\"'"


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
