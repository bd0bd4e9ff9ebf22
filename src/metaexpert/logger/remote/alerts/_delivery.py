"""The delivery of alerts: outbox, collapse of repeats, rate limit, retries, and the alerts that cannot be delivered.

At least once: an alert is in the outbox before it is sent, and leaves it when the service has confirmed it. After an
attempt with an unknown outcome it is sent again, marked as a possible repeat. An alert that the service refuses, or
does not take for a day, goes to the dead letters and is reported.

Repeats are collapsed (see `_dedup`). While a channel must wait, because of the rate limit or because the service is
down, everything that waits is collapsed further, and goes out as one list.

Threads: any thread calls `notify` and reads `idle` and `stuck`; one thread at a time calls everything else (see
`metaexpert.logger.remote.worker`).
"""

from __future__ import annotations

import random
import sqlite3
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from metaexpert.logger.entry.line import decode_line
from metaexpert.logger.remote.alerts import _dead_letters
from metaexpert.logger.remote.alerts._alert import Alert, Kind
from metaexpert.logger.remote.alerts._channel import Channel, Message, Outcome
from metaexpert.logger.remote.alerts._dedup import Group, Windows, grouped
from metaexpert.logger.remote.alerts._outbox import Outbox
from metaexpert.logger.remote.alerts._rate_limit import RateLimit
from metaexpert.logger.remote.sender import ADOPTION_INTERVAL, Backoff, Counts, Report, Sender
from metaexpert.logger.system.calls import monotonic

#: Up to so many alerts that are due are sent one by one; more become a list.
MOST_SINGLE: Final = 3
#: Most alerts in one list.
_MOST_LISTED: Final = 200
#: Seconds after which an alert that the service did not take is given up.
LONGEST_LIFE: Final = 24 * 3600.0
#: Longest pause between two attempts, in seconds.
LONGEST_BACKOFF: Final = 300.0


@dataclass
class _Sending:
    """A message that is being sent, and the number of the next part."""

    alerts: list[Alert]
    message: Message
    repeat: bool
    part: int = 0


@dataclass
class DeliveryCounts(Counts):
    """Counts of the delivery to one channel.

    Attributes:
        delivered: Entries that the service has confirmed.
        messages: Messages that it took.
        repeated: Messages sent again after an unknown outcome.
        undelivered: Entries that were given up.
    """

    delivered: int = 0
    messages: int = 0
    repeated: int = 0
    undelivered: int = 0


class Delivery(Sender):
    """Delivers alerts to one channel.

    Args:
        channel: Sends the messages.
        outbox: Keeps the alerts until they are sent.
        rate_limit: Says when the next message may be sent.
        directory: Where the alerts that cannot be delivered are kept; None keeps none.
        report: Called with each trouble.
        clock: Seconds since the epoch that never step back.
        jitter: Returns numbers between 0 and 1.
    """

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        rate_limit: RateLimit,
        directory: Path | None,
        report: Report,
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        backoff = Backoff(LONGEST_BACKOFF, jitter)
        super().__init__(channel, outbox, report, clock or _steady_clock(), backoff)
        self.counts: DeliveryCounts = DeliveryCounts()
        self._channel = channel
        self._outbox = outbox
        self._rate_limit = rate_limit
        self._directory = directory
        self._jitter = jitter
        self._windows = Windows()
        self._sending: _Sending | None = None
        self._notices: deque[tuple[Kind, bytes]] = deque()
        self._ending = False
        #: Why the last alert was given up.
        self.last_refusal = ""
        #: Called with each alert that has arrived or was given up.
        self.on_settled: Callable[[Alert], None] = lambda _: None
        self._most_single = MOST_SINGLE

    def hasten(self) -> None:
        """Be ready to send, and send what comes together as one list, which the rate limit delays less."""
        self._most_single = 1
        self._channel.prepare()

    # -- in ---------------------------------------------------------------------------------------------------

    def take(self, lines: list[bytes]) -> None:
        """Put entries into the outbox, repeats together."""
        self.idle = False
        self._store(grouped(lines))

    def notify(self, kind: Kind, line: bytes) -> None:
        """Send a heartbeat or a test without collapsing it. Any thread may call this."""
        self._notices.append((kind, line))
        self.idle = False

    def _take_notices(self) -> None:
        groups = {}
        while self._notices:
            kind, line = self._notices.popleft()
            moment = str(decode_line(line).get("timestamp", ""))
            groups[uuid.uuid4().hex] = Group(kind, line, moment, moment)
        if groups:
            self._store(groups)

    def _store(self, groups: Mapping[str, Group]) -> None:
        now, rows = self._clock(), []
        for mark, group in groups.items():
            at_once = group.kind != "alert" or group.seals or self._ending
            due = now if at_once else self._windows.due(mark, now)
            rows.append((mark, group, due))
        try:
            dropped = self._outbox.add(rows, now)
        except (sqlite3.Error, OSError) as error:
            self._lose_disk(error)
            dropped = self._outbox.add(rows, now)
        if dropped:
            self.counts.dropped += dropped
            self._report("alerts full", f"too many alerts wait for {self.name}; {dropped} were dropped")

    def _lose_disk(self, error: Exception) -> None:
        what = "alerts are kept in memory only, and would be lost with the process"
        self._report("alerts outbox", f"{what}: {type(error).__name__}")
        self._sending = None
        self._outbox.forget_disk()

    # -- out --------------------------------------------------------------------------------------------------

    def step(self) -> float:
        """Send one message, if one is due. Returns for how long there is nothing more to do, in seconds."""
        try:
            return self._step()
        except (sqlite3.Error, OSError) as error:
            self._lose_disk(error)
            return 1.0

    def _step(self) -> float:
        now = self._clock()
        self._outbox.open()
        if self._outbox.set_aside:
            self._report("alerts outbox", f"the outbox of alerts was unreadable and is now {self._outbox.set_aside}")
            self._outbox.set_aside = ""
        self._take_notices()
        if self._adopt(now) and (old := self._outbox.older_than(now - LONGEST_LIFE)):
            self._give_up(old, f"not taken for a day; last: {self.trouble or 'never tried'}")
        # The message is composed last: everything that waits for the rate limit goes on collapsing.
        wait = self._paused_until - now
        if wait <= 0 and self._sending is None:
            wait = self._until_due(now)
        if wait <= 0:
            wait = self._rate_limit.take()
        if wait > 0:
            return wait
        self._send(self._sending or self._compose(now))
        return 0.0

    def _until_due(self, now: float) -> float:
        """Return how many seconds nothing is due; not positive when something is."""
        next_due = self._outbox.next_due()
        self.idle = next_due is None and not self._notices
        if next_due is None:
            return ADOPTION_INTERVAL
        return 0.0 if next_due <= now else max(next_due - now, 0.01)

    def _compose(self, now: float) -> _Sending:
        """Make a message of what is due, and note that it is being sent."""
        due = self._outbox.due(now, _MOST_LISTED)
        # A list shows no fields: the checkpoint of a seal would be lost in it.
        listed = [alert for alert in due if not alert.is_seal]
        alerts = due[:1] if due[0].is_seal or len(listed) <= self._most_single else listed
        message = self._channel.render(alerts)
        alerts = alerts[: message.alerts]
        self._outbox.begin(alerts)
        self._sending = _Sending(alerts, message, repeat=any(alert.repeat for alert in alerts))
        return self._sending

    def _send(self, sending: _Sending) -> None:
        if sending.repeat:
            self.counts.repeated += 1
        parts = sending.message.parts
        key = sending.alerts[0].key + (f"-{sending.part + 1}" if len(parts) > 1 else "")
        # A list marks the lines that may be repeats; its own mark is for the whole.
        mark = sending.repeat and (len(sending.alerts) == 1 or sending.part > 0)
        outcome = self._channel.send(parts[sending.part], key, repeat=mark)
        if outcome.kind == "delivered":
            self._arrived(sending, outcome)
        elif outcome.kind == "refused":
            self._sending = None
            self._give_up(sending.alerts, outcome.reason)
        else:
            self._postpone(sending, outcome)

    def _arrived(self, sending: _Sending, outcome: Outcome) -> None:
        self.trouble = ""
        self._backoff.reset()
        self.counts.messages += 1
        if outcome.wait:
            self._rate_limit.block(outcome.wait)
        sending.part += 1
        sending.repeat = False
        if sending.part < len(sending.message.parts):
            return
        self._sending = None
        now = self._clock()
        for alert in sending.alerts:
            self.counts.delivered += alert.count
            if alert.kind == "alert":
                self._windows.sent(alert.fingerprint, now)
        self._settle(sending.alerts)

    def _postpone(self, sending: _Sending, outcome: Outcome) -> None:
        self.trouble = outcome.reason
        pause = self._backoff.next()
        if outcome.kind == "later":
            wait = pause if outcome.wait is None else outcome.wait
            pause = wait * (1.0 + 0.1 * self._jitter())
            self._rate_limit.block(wait)
        self._paused_until = self._clock() + pause
        unknown = outcome.kind == "unknown"
        what = "it is unknown whether an alert arrived at" if unknown else "no alert could be sent to"
        self._report(f"alerts {self.name}", f"{what} {self.name}: {outcome.reason}; tried again")
        if sending.part:  # the first parts have arrived: go on with this one
            sending.repeat = sending.repeat or unknown
        else:
            self._outbox.release(sending.alerts, unknown=unknown)
            self._sending = None

    def _give_up(self, alerts: Sequence[Alert], reason: str) -> None:
        count = sum(alert.count for alert in alerts)
        self.counts.undelivered += count
        self.last_refusal = reason
        try:
            where = _dead_letters.keep(self._directory, self.name, reason, alerts)
        except OSError as error:
            where = f"they could not be kept ({error.strerror})"
        text = f"{count} alerts were not delivered to {self.name}: {reason}; {where}"
        self._report(f"alerts undelivered {self.name}", text)
        self._settle(alerts)

    def _settle(self, alerts: Sequence[Alert]) -> None:
        self._outbox.remove(alerts)
        for alert in alerts:
            self.on_settled(alert)

    # -- the end ----------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Send at once what would have been collapsed for longer."""
        self._ending = True
        self.idle = False
        self._outbox.open()
        self._outbox.hurry()

    def failed(self, error: Exception) -> None:
        """Report an unexpected error, by its type alone."""
        self.trouble = type(error).__name__
        self._report(f"alerts {self.name}", f"sending alerts to {self.name} failed: {self.trouble}")

    def close(self) -> None:
        """Leave what was not sent to the next process, and release everything."""
        self._outbox.open()
        self._take_notices()
        if self._sending is not None:
            self._outbox.release(self._sending.alerts, unknown=self._sending.part > 0)
        self._outbox.leave()
        self._rate_limit.close()
        self._channel.close()

    def after_fork(self) -> None:
        """Start anew in a child: everything that waits belongs to the parent."""
        super().after_fork()
        self._rate_limit.after_fork()
        self._notices.clear()
        self._sending = None


def _steady_clock() -> Callable[[], float]:
    offset = time.time() - monotonic()
    return lambda: offset + monotonic()
