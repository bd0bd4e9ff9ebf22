"""The spool of alerts on disk: what is to be sent, until it has been sent, also over a restart.

Bound: at most `MOST_ROWS` alerts of one courier wait; what comes then is refused, and counted by the courier.

Threads: see `metaexpert.logger.remote.spool`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from metaexpert.logger.remote.alerts._alert import Alert, Kind, decoded
from metaexpert.logger.remote.spool import Spool

#: Alerts of one courier that may wait; each is a fingerprint of its own.
MOST_ROWS: Final = 10_000
FILE_NAME: Final = "outbox.sqlite3"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS alerts (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, owner TEXT NOT NULL, endpoint TEXT NOT NULL,
    fingerprint TEXT NOT NULL, kind TEXT NOT NULL, line BLOB NOT NULL, count INTEGER NOT NULL,
    first TEXT NOT NULL, last TEXT NOT NULL, due REAL NOT NULL, added REAL NOT NULL,
    sending INTEGER NOT NULL DEFAULT 0, repeat INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS due ON alerts (owner, endpoint, sending, due);
CREATE INDEX IF NOT EXISTS same ON alerts (owner, endpoint, fingerprint);
"""
_COLUMNS: Final = "number, key, kind, line, count, first, last, repeat"


class Outbox(Spool):
    """The alerts that one courier has to send."""

    FILE_NAME: ClassVar[str] = FILE_NAME
    SCHEMA: ClassVar[str] = _SCHEMA
    TABLE: ClassVar[str] = "alerts"

    def __init__(self, directory: Path | None, endpoint: str) -> None:
        super().__init__(directory, endpoint)
        self._size = 0

    # -- in ---------------------------------------------------------------------------------------------------

    def add(
        self, fingerprint: str, kind: Kind, line: bytes, count: int, first: str, last: str, due: float, now: float
    ) -> bool:
        """Add to the alert of *fingerprint* that waits, or make one. Returns whether there was room.

        Not kept until `commit`.
        """
        same = "owner = ? AND endpoint = ? AND fingerprint = ? AND sending = 0"
        who = (self._owner, self._endpoint, fingerprint)
        changed = self._db.execute(
            f"UPDATE alerts SET count = count + ?, last = max(last, ?), due = min(due, ?) WHERE {same}",  # noqa: S608
            (count, last, due, *who),
        )
        if changed.rowcount:
            return True
        if self._size >= MOST_ROWS and self.waiting() >= MOST_ROWS:
            return False
        self._db.execute(
            "INSERT INTO alerts (key, owner, endpoint, fingerprint, kind, line, count, first, last, due, added) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (uuid.uuid4().hex, *who, kind, line, count, first, last, due, now),
        )
        self._size += 1
        return True

    def take_over(self) -> int:
        """Take over the alerts of dead owners; what was being sent may have arrived. Returns how many."""
        return self.adopt(", due = 0, repeat = repeat OR sending, sending = 0")

    # -- out --------------------------------------------------------------------------------------------------

    def due(self, now: float, most: int) -> list[Alert]:
        """Return alerts whose time has come, the oldest first."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM alerts WHERE owner = ? AND endpoint = ? AND sending = 0 AND due <= ? "  # noqa: S608
            "ORDER BY number LIMIT ?",
            (self._owner, self._endpoint, now, most),
        )
        return [_alert(row) for row in rows]

    def next_due(self) -> float | None:
        """Return when the next alert is due; None when nothing waits."""
        query = "SELECT min(due) FROM alerts WHERE owner = ? AND endpoint = ? AND sending = 0"
        found: float | None = self._db.execute(query, (self._owner, self._endpoint)).fetchone()[0]
        return found

    def waiting(self) -> int:
        """Return how many alerts wait or are being sent."""
        query = "SELECT count(*) FROM alerts WHERE owner = ? AND endpoint = ?"
        self._size = int(self._db.execute(query, (self._owner, self._endpoint)).fetchone()[0])
        return self._size

    def hurry(self) -> None:
        """Have everything due now."""
        self._db.execute("UPDATE alerts SET due = 0 WHERE owner = ? AND endpoint = ?", (self._owner, self._endpoint))
        self.commit()

    def begin(self, alerts: Sequence[Alert]) -> None:
        """Note that *alerts* are being sent: if we die now, they may have arrived."""
        self._update("sending = 1", alerts)

    def release(self, alerts: Sequence[Alert], *, unknown: bool) -> None:
        """Note that *alerts* were not sent, or that it is *unknown* whether they arrived."""
        self._update("sending = 0, repeat = 1" if unknown else "sending = 0", alerts)

    def remove(self, alerts: Sequence[Alert]) -> None:
        """Forget *alerts*: they arrived, or were given up."""
        self._db.executemany("DELETE FROM alerts WHERE number = ?", _numbers(alerts))
        self.commit()
        self._size = max(self._size - len(alerts), 0)

    def older_than(self, moment: float) -> list[Alert]:
        """Return our alerts that came before *moment*."""
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM alerts WHERE owner = ? AND endpoint = ? AND sending = 0 AND added < ?",  # noqa: S608
            (self._owner, self._endpoint, moment),
        )
        return [_alert(row) for row in rows]

    def _update(self, change: str, alerts: Sequence[Alert]) -> None:
        self._db.executemany(f"UPDATE alerts SET {change} WHERE number = ?", _numbers(alerts))  # noqa: S608
        self.commit()


def _numbers(alerts: Iterable[Alert]) -> list[tuple[int]]:
    return [(alert.number,) for alert in alerts]


def _alert(row: tuple[Any, ...]) -> Alert:
    number, key, kind, line, count, first, last, repeat = row
    return Alert(number, key, kind, decoded(line), count, first, last, bool(repeat))
