"""The delivery of alerts: spool, collapse of repeats, budget, retries, and what becomes of what cannot be delivered.

One `Courier` serves one channel. At least once: an alert is in the outbox before it is sent, and leaves it when the
service has confirmed it. After an outcome that nobody knows it is sent again, marked as a possible repeat; what the
service refuses, or does not take for a day, goes to the dead letters and is reported.

Repeats: the first alert of a fingerprint goes out at once. Those of the next minute are counted and told in one
message, then those of two minutes, of four, up to an hour; after as long a silence it begins anew. While a channel
has to wait (its budget is used up, it is down), everything that waits is collapsed too, and goes out as one list.

Threads: all methods but `idle` and `stuck` are called by one thread at a time: `metaexpert.logger.handlers.worker`.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from metaexpert.logger import schema
from metaexpert.logger.handlers.alert import Alert, Kind, decoded, fingerprint
from metaexpert.logger.handlers.budget import Budget
from metaexpert.logger.handlers.channel import Channel, Message, Outcome
from metaexpert.logger.handlers.locking import Descriptor
from metaexpert.logger.handlers.outbox import Outbox

#: Seconds in which repeats are counted before they are told: the first time, and at most.
FIRST_WINDOW: Final = 60.0
LONGEST_WINDOW: Final = 3600.0
#: So many alerts that wait are sent one by one; more become a list.
MOST_SINGLE: Final = 3
#: Alerts looked at for one message.
_MOST_LISTED: Final = 200
#: Seconds after which an alert that nobody took is given up.
LONGEST_LIFE: Final = 24 * 3600.0
#: Longest pause between two tries, in seconds.
LONGEST_BACKOFF: Final = 300.0
#: Seconds between two looks for alerts of dead processes.
ADOPTION_INTERVAL: Final = 30.0
_MOST_WINDOWS: Final = 10_000
_MOST_DEAD_LETTERS: Final = 5 * 1024 * 1024
UNDELIVERED_FILE: Final = "undelivered.jsonl"

Report = Callable[[str, str], None]


class Window(NamedTuple):
    """For how long repeats of one fingerprint are counted, and until when."""

    interval: float
    until: float


class Windows:
    """When the next message of a fingerprint may go out."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def due(self, mark: str, now: float) -> float:
        """Return when an alert that comes *now* is to be told."""
        window = self._windows.get(mark)
        return now if window is None else max(window.until, now)

    def sent(self, mark: str, now: float) -> None:
        """Note that a message of it has gone out."""
        window = self._windows.pop(mark, None)
        if window is None or now > window.until + window.interval:
            interval = FIRST_WINDOW
        else:
            interval = min(window.interval * 2, LONGEST_WINDOW)
        self._windows[mark] = Window(interval, now + interval)
        if len(self._windows) > _MOST_WINDOWS:  # the one that was told longest ago
            del self._windows[next(iter(self._windows))]


class DeadLetters:
    """The file of alerts that were given up: JSON lines with reason, counts and entry.

    Args:
        directory: Where it lies; None for nowhere.
    """

    def __init__(self, directory: Path | None) -> None:
        self._path = None if directory is None else directory / UNDELIVERED_FILE

    def keep(self, channel: str, reason: str, alerts: Sequence[Alert]) -> str:
        """Add *alerts*. Returns where they are, for a report; raises OSError."""
        if self._path is None:
            return "nothing keeps them without log files"
        if self._path.exists() and self._path.stat().st_size > _MOST_DEAD_LETTERS:
            self._path.replace(self._path.with_name(f"{UNDELIVERED_FILE}.1"))
        lines = [_letter(channel, reason, alert) for alert in alerts]
        with Descriptor.at(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as file:
            os.write(file.fd, b"".join(lines))
        return f"kept in {self._path.parent.name}/{self._path.name}"


def _letter(channel: str, reason: str, alert: Alert) -> bytes:
    letter = {
        "channel": channel,
        "reason": reason,
        "count": alert.count,
        "first": alert.first,
        "last": alert.last,
        "entry": dict(alert.entry),
    }
    return json.dumps(letter, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


class Backoff:
    """Pauses between tries: doubling, with jitter so that many processes do not come at once."""

    def __init__(self, longest: float = LONGEST_BACKOFF, jitter: Callable[[], float] = random.random) -> None:
        self._longest = longest
        self._jitter = jitter
        self.tries = 0

    def next(self) -> float:
        """Return the next pause in seconds: between half of and the whole of 1, 2, 4, 8 and so on."""
        pause = min(2.0 ** min(self.tries, 30), self._longest)
        self.tries += 1
        return pause * (0.5 + 0.5 * self._jitter())

    def reset(self) -> None:
        """Begin anew."""
        self.tries = 0


@dataclass
class _Sending:
    """A message under way."""

    alerts: list[Alert]
    message: Message
    part: int = 0
    begun: bool = False
    repeat: bool = False


@dataclass
class Counts:
    """What a courier has done.

    Attributes:
        delivered: Entries that the service has confirmed.
        messages: Messages that it took.
        repeated: Messages sent again after an unknown outcome.
        undelivered: Entries that were given up.
        dropped: Entries for which the outbox had no room.
    """

    delivered: int = 0
    messages: int = 0
    repeated: int = 0
    undelivered: int = 0
    dropped: int = 0


class Courier:
    """Delivers alerts to one channel.

    Args:
        channel: Where to.
        outbox: What is to be sent.
        budget: How many messages may be sent.
        letters: Where goes what cannot be delivered.
        report: Told of troubles: what repeats of it are recognised by, and a sentence.
        clock: Seconds that never step back, counted from the epoch.
        jitter: Returns numbers between 0 and 1.
    """

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        budget: Budget,
        letters: DeadLetters,
        report: Report,
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.channel = channel
        self._outbox = outbox
        self._budget = budget
        self._letters = letters
        self._report = report
        self._clock = clock or _steady_clock()
        self._backoff = Backoff(jitter=jitter)
        self._jitter = jitter
        self._windows = Windows()
        self._sending: _Sending | None = None
        self._paused_until = 0.0
        self._next_adoption = 0.0
        self._notices: list[tuple[Kind, bytes]] = []
        self._noticing = threading.Lock()
        self._idle = False
        self._ending = False
        self.counts = Counts()
        #: Why the last try failed; empty when it did not.
        self.trouble = ""
        #: Why an alert was given up last.
        self.last_refusal = ""

    # -- in ---------------------------------------------------------------------------------------------------

    def take(self, lines: list[bytes]) -> None:
        """Put entries into the outbox, repeats together."""
        self._idle = False
        self._store(_grouped(lines))

    def notify(self, kind: Kind, line: bytes) -> None:
        """Have a sign of life or a test told, never collapsed. By any thread."""
        with self._noticing:
            self._notices.append((kind, line))
            self._idle = False

    def _take_notices(self) -> None:
        with self._noticing:
            notices, self._notices = self._notices, []
        groups = {uuid.uuid4().hex: _Group(line, kind, _time(decoded(line))) for kind, line in notices}
        if groups:
            self._store(groups)

    def _store(self, groups: Mapping[str, _Group]) -> None:
        try:
            self._try_store(groups)
        except (sqlite3.Error, OSError) as error:
            self._lose_disk(error)
            self._try_store(groups)

    def _try_store(self, groups: Mapping[str, _Group]) -> None:
        now, dropped = self._clock(), 0
        for mark, group in groups.items():
            due = now if group.kind != "alert" or self._ending else self._windows.due(mark, now)
            stored = self._outbox.add(mark, group.kind, group.line, group.count, group.first, group.last, due, now)
            dropped += 0 if stored else group.count
        self._outbox.commit()
        if dropped:
            self.counts.dropped += dropped
            self._report("alerts full", f"too many alerts wait for {self.channel.name}; {dropped} were dropped")

    def _lose_disk(self, error: Exception) -> None:
        what = "alerts are kept in memory only, and would be lost with the process"
        self._report("alerts outbox", f"{what}: {type(error).__name__}")
        self._sending = None
        self._outbox.forget_disk()

    # -- out --------------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Send one message, if one is due. Returns how long there is nothing to do, in seconds."""
        try:
            return self._step()
        except (sqlite3.Error, OSError) as error:
            self._lose_disk(error)
            return 1.0

    def _step(self) -> float:
        now = self._clock()
        self._outbox.open()
        self._tell_set_aside()
        self._take_notices()
        if now >= self._next_adoption:
            self._next_adoption = now + ADOPTION_INTERVAL
            self._outbox.take_over()
            self._give_up_old(now)
        if now < self._paused_until:
            return self._paused_until - now
        if self._sending is None and (wait := self._compose(now)) is not None:
            return wait
        wait = self._budget.take()
        if wait > 0:
            self._drop_unbegun()
            return wait
        self._send()
        return 0.0

    def _compose(self, now: float) -> float | None:
        """Make a message of what is due. Returns how long to wait when nothing is."""
        due = self._outbox.due(now, _MOST_LISTED)
        if not due:
            next_due = self._outbox.next_due()
            self._idle = next_due is None and not self._notices
            return ADOPTION_INTERVAL if next_due is None else max(next_due - now, 0.01)
        alerts = due[:1] if len(due) <= MOST_SINGLE else due
        message = self.channel.render(alerts)
        alerts = alerts[: message.alerts]
        self._sending = _Sending(alerts, message, repeat=any(alert.repeat for alert in alerts))
        return None

    def _drop_unbegun(self) -> None:
        # What waits for the budget goes on collapsing.
        if self._sending is not None and not self._sending.begun:
            self._sending = None

    def _send(self) -> None:
        sending = self._sending
        assert sending is not None  # noqa: S101 - for the type checker
        if not sending.begun:
            sending.begun = True
            self._outbox.begin(sending.alerts)
        if sending.repeat:
            self.counts.repeated += 1
        part = sending.message.parts[sending.part]
        key = sending.alerts[0].key + (f"-{sending.part + 1}" if len(sending.message.parts) > 1 else "")
        # A list marks the lines that may be repeats; its own mark is for the whole.
        mark = sending.repeat and (len(sending.alerts) == 1 or sending.part > 0)
        outcome = self.channel.send(part, key, repeat=mark)
        self._settle(sending, outcome)

    def _settle(self, sending: _Sending, outcome: Outcome) -> None:
        if outcome.kind == "delivered":
            self._arrived(sending, outcome)
            return
        if outcome.kind == "refused":
            self._sending = None
            self._give_up(sending.alerts, outcome.reason)
            return
        self.trouble = outcome.reason
        pause = self._backoff.next()
        if outcome.kind == "later":
            wait = pause if outcome.wait is None else outcome.wait
            pause = wait * (1.0 + 0.1 * self._jitter())
            self._budget.block(wait)
        self._paused_until = self._clock() + pause
        unknown = outcome.kind == "unknown"
        what = "it is unknown whether an alert arrived at" if unknown else "no alert could be sent to"
        self._report(f"alerts {self.channel.name}", f"{what} {self.channel.name}: {outcome.reason}; tried again")
        if sending.part:  # the first parts have arrived: go on with this one
            sending.repeat = sending.repeat or unknown
        else:
            self._outbox.release(sending.alerts, unknown=unknown)
            self._sending = None

    def _arrived(self, sending: _Sending, outcome: Outcome) -> None:
        self.trouble = ""
        self._backoff.reset()
        self.counts.messages += 1
        if outcome.wait:
            self._budget.block(outcome.wait)
        sending.part += 1
        sending.repeat = False
        if sending.part < len(sending.message.parts):
            return
        self._sending = None
        now = self._clock()
        for alert in sending.alerts:
            self.counts.delivered += alert.count
            if alert.kind == "alert":
                self._windows.sent(fingerprint(alert.entry), now)
        self._outbox.remove(sending.alerts)

    def _give_up_old(self, now: float) -> None:
        old = self._outbox.older_than(now - LONGEST_LIFE)
        if old:
            self._give_up(old, f"not taken for a day; last: {self.trouble or 'never tried'}")

    def _give_up(self, alerts: Sequence[Alert], reason: str) -> None:
        count = sum(alert.count for alert in alerts)
        self.counts.undelivered += count
        self.last_refusal = reason
        try:
            where = self._letters.keep(self.channel.name, reason, alerts)
        except OSError as error:
            where = f"they could not be kept ({error.strerror})"
        self._report(
            f"alerts undelivered {self.channel.name}",
            f"{count} alerts were not delivered to {self.channel.name}: {reason}; {where}",
        )
        self._outbox.remove(alerts)

    def _tell_set_aside(self) -> None:
        if self._outbox.set_aside:
            self._report("alerts outbox", f"the outbox of alerts was unreadable and is now {self._outbox.set_aside}")
            self._outbox.set_aside = ""

    # -- state ------------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return self._idle

    @property
    def stuck(self) -> bool:
        """Whether the last try failed."""
        return bool(self.trouble)

    def stats(self) -> dict[str, Any]:
        """Return what was done."""
        counts = self.counts
        return {
            "delivered": counts.delivered,
            "messages": counts.messages,
            "repeated": counts.repeated,
            "undelivered": counts.undelivered,
            "dropped": counts.dropped,
            "trouble": self.trouble,
        }

    def hurry(self) -> None:
        """Tell at once what would have been counted for longer."""
        self._ending = True
        self._idle = False
        self._outbox.open()
        self._outbox.hurry()

    def failed(self, error: Exception) -> None:
        """Report an error that nobody expected, by its kind alone."""
        self.trouble = type(error).__name__
        self._report(f"alerts {self.channel.name}", f"sending alerts to {self.channel.name} failed: {self.trouble}")

    def close(self) -> None:
        """Leave what was not sent to the next process, and release everything."""
        self._outbox.open()
        self._take_notices()
        if self._sending is not None and self._sending.begun:
            self._outbox.release(self._sending.alerts, unknown=self._sending.part > 0)
        self._outbox.leave()
        self._budget.close()
        self.channel.close()

    def before_fork(self) -> None:
        """Close the outbox: SQLite must not be carried across."""
        self._outbox.close()

    def after_fork(self) -> None:
        """Start anew in a child: what waits is the parent's."""
        self._outbox.after_fork()
        self._budget.after_fork()
        self.channel.after_fork()
        self._noticing = threading.Lock()
        self._notices = []
        self._sending = None
        self._idle = True
        self.counts = Counts()


@dataclass
class _Group:
    """Repeats that came together."""

    line: bytes
    kind: Kind
    first: str
    count: int = 1
    last: str = ""

    def __post_init__(self) -> None:
        self.last = self.last or self.first


def _grouped(lines: Sequence[bytes]) -> dict[str, _Group]:
    groups: dict[str, _Group] = {}
    for line in lines:
        entry = decoded(line)
        if entry.get(schema.ALERT) is False:
            continue
        mark, moment = fingerprint(entry), _time(entry)
        group = groups.get(mark)
        if group is None:
            groups[mark] = _Group(line, "alert", moment)
        else:
            group.count += 1
            group.last = max(group.last, moment)
    return groups


def _time(entry: Mapping[str, Any]) -> str:
    return str(entry.get("timestamp", ""))


def _steady_clock() -> Callable[[], float]:
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
