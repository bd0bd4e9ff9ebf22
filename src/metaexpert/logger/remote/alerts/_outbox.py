"""The spool of alerts on disk: each stays there until it has been sent or given up, also over a restart.

Bound: at most `MOST_ROWS` alerts of one channel wait. Further fingerprints are refused, and counted by the caller.

Threads: see `metaexpert.logger.remote.spool`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from metaexpert.logger.remote.alerts._alert import Alert
from metaexpert.logger.remote.alerts._dedup import Group
from metaexpert.logger.remote.spool import Spool

#: Alerts of one channel that may wait; each has a fingerprint of its own.
MOST_ROWS: Final = 10_000
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
_COLUMNS: Final = "number, key, fingerprint, kind, line, count, first, last, repeat"


class Outbox(Spool):
    """The alerts that one channel has to send."""

    FILE_NAME: ClassVar[str] = "outbox.sqlite3"
    SCHEMA: ClassVar[str] = _SCHEMA
    TABLE: ClassVar[str] = "alerts"
    # An alert that was being sent may have arrived.
    ON_TAKE_OVER: ClassVar[str] = ", due = 0, repeat = repeat OR sending, sending = 0"

    def __init__(self, directory: Path | None, endpoint: str) -> None:
        super().__init__(directory, endpoint)
        self._size = 0

    # -- in ---------------------------------------------------------------------------------------------------

    def add(self, groups: Iterable[tuple[str, Group, float]], now: float) -> int:
        """Add *groups* to the alerts of the same fingerprints that wait, or make new ones.

        Args:
            groups: Fingerprint, entries, and when they are due.
            now: The time, by the clock of `due`.

        Returns:
            How many entries were refused for want of room.
        """
        refused = sum(group.count for mark, group, due in groups if not self._add(mark, group, due, now))
        self.commit()
        return refused

    def _add(self, fingerprint: str, group: Group, due: float, now: float) -> bool:
        changed = self._db.execute(
            "UPDATE alerts SET count = count + ?, last = max(last, ?), due = min(due, ?), line = coalesce(?, line) "
            "WHERE owner = ? AND endpoint = ? AND fingerprint = ? AND sending = 0",
            (group.count, group.last, due, group.line if group.seals else None, *self._mine, fingerprint),
        )
        if changed.rowcount:
            return True
        if self._size >= MOST_ROWS and self._measure() >= MOST_ROWS:
            return False
        self._db.execute(
            "INSERT INTO alerts (key, owner, endpoint, fingerprint, kind, line, count, first, last, due, added) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(uuid.uuid4().hex, *self._mine, fingerprint),
                *(group.kind, group.line, group.count, group.first, group.last, due, now),
            ),
        )
        self._size += 1
        return True

    # -- out --------------------------------------------------------------------------------------------------

    def due(self, now: float, most: int) -> list[Alert]:
        """Return at most *most* alerts that are due, the oldest first."""
        return self._select("due <= ? ORDER BY number LIMIT ?", now, most)

    def older_than(self, moment: float) -> list[Alert]:
        """Return our alerts that came before *moment*."""
        return self._select("added < ?", moment)

    def _select(self, condition: str, *values: float) -> list[Alert]:
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM alerts WHERE owner = ? AND endpoint = ? AND sending = 0 AND {condition}",  # noqa: S608
            (*self._mine, *values),
        )
        return [Alert(*(*values, bool(repeat))) for *values, repeat in rows]

    def next_due(self) -> float | None:
        """Return when the next alert is due; None when nothing waits."""
        query = "SELECT min(due) FROM alerts WHERE owner = ? AND endpoint = ? AND sending = 0"
        found: float | None = self._db.execute(query, self._mine).fetchone()[0]
        return found

    def _measure(self) -> int:
        query = "SELECT count(*) FROM alerts WHERE owner = ? AND endpoint = ?"
        self._size = int(self._db.execute(query, self._mine).fetchone()[0])
        return self._size

    def hurry(self) -> None:
        """Make everything due now."""
        self._db.execute("UPDATE alerts SET due = 0 WHERE owner = ? AND endpoint = ?", self._mine)
        self.commit()

    def begin(self, alerts: Sequence[Alert]) -> None:
        """Note that *alerts* are being sent: if the process dies now, they may have arrived."""
        self._change("UPDATE alerts SET sending = 1", alerts)

    def release(self, alerts: Sequence[Alert], *, unknown: bool) -> None:
        """Note that *alerts* were not sent, or that it is *unknown* whether they arrived."""
        self._change(f"UPDATE alerts SET sending = 0, repeat = {'1' if unknown else 'repeat'}", alerts)  # noqa: S608

    def remove(self, alerts: Sequence[Alert]) -> None:
        """Forget *alerts*, which have arrived or were given up."""
        self._change("DELETE FROM alerts", alerts)
        self._size = max(self._size - len(alerts), 0)

    def _change(self, statement: str, alerts: Sequence[Alert]) -> None:
        numbers: list[tuple[Any]] = [(alert.number,) for alert in alerts]
        self._db.executemany(f"{statement} WHERE number = ?", numbers)
        self.commit()
