"""The delivery of alerts: spool, collapse of repeats, rate limit, retries, and the alerts that cannot be delivered.

One `Courier` serves one channel. At least once: an alert is in the outbox before it is sent, and leaves it when the
service has confirmed it. After an outcome that nobody knows it is sent again, marked as a possible repeat; what the
service refuses, or does not take for a day, goes to the dead letters and is reported.

Repeats are collapsed (see `_dedup`). While a channel has to wait (its rate_limit is used up, it
is down), everything that waits is collapsed too, and goes out as one list.

Threads: all methods but `notify`, `idle` and `stuck` are called by one thread at a time (see
`metaexpert.logger.remote.worker`).
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from metaexpert.logger.remote.alerts._alert import Alert, Kind, fingerprint
from metaexpert.logger.remote.alerts._channel import Channel, Message, Outcome
from metaexpert.logger.remote.alerts._dead_letters import DeadLetters
from metaexpert.logger.remote.alerts._dedup import Group, Windows, alone, grouped
from metaexpert.logger.remote.alerts._outbox import Outbox
from metaexpert.logger.remote.rate_limit import RateLimit
from metaexpert.logger.remote.sender import ADOPTION_INTERVAL, Backoff, Counts, Report, Sender

#: So many alerts that wait are sent one by one; more become a list.
MOST_SINGLE: Final = 3
#: Alerts looked at for one message.
_MOST_LISTED: Final = 200
#: Seconds after which an alert that nobody took is given up.
LONGEST_LIFE: Final = 24 * 3600.0
#: Longest pause between two tries, in seconds.
LONGEST_BACKOFF: Final = 300.0


@dataclass
class _Sending:
    """A message under way."""

    alerts: list[Alert]
    message: Message
    part: int = 0
    begun: bool = False
    repeat: bool = False


@dataclass
class Deliveries(Counts):
    """What a courier has done.

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


class Courier(Sender):
    """Delivers alerts to one channel.

    Args:
        channel: Where to.
        outbox: What is to be sent.
        rate_limit: How many messages may be sent.
        letters: Where goes what cannot be delivered.
        report: Told of troubles: what repeats of it are recognised by, and a sentence.
        clock: Seconds that never step back, counted from the epoch.
        jitter: Returns numbers between 0 and 1.
    """

    counts: Deliveries

    def __init__(
        self,
        channel: Channel,
        outbox: Outbox,
        rate_limit: RateLimit,
        letters: DeadLetters,
        report: Report,
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        backoff = Backoff(LONGEST_BACKOFF, jitter)
        super().__init__(channel, outbox, report, clock or _steady_clock(), backoff, Deliveries())
        self._channel = channel
        self._outbox = outbox
        self._rate_limit = rate_limit
        self._letters = letters
        self._jitter = jitter
        self._windows = Windows()
        self._sending: _Sending | None = None
        self._notices: list[tuple[Kind, bytes]] = []
        self._noticing = threading.Lock()
        self._ending = False
        #: Why an alert was given up last.
        self.last_refusal = ""

    # -- in ---------------------------------------------------------------------------------------------------

    def take(self, lines: list[bytes]) -> None:
        """Put entries into the outbox, repeats together."""
        self._idle = False
        self._store(grouped(lines))

    def notify(self, kind: Kind, line: bytes) -> None:
        """Have a sign of life or a test told, never collapsed. By any thread."""
        with self._noticing:
            self._notices.append((kind, line))
            self._idle = False

    def _take_notices(self) -> None:
        with self._noticing:
            notices, self._notices = self._notices, []
        groups = {uuid.uuid4().hex: alone(line, kind) for kind, line in notices}
        if groups:
            self._store(groups)

    def _store(self, groups: Mapping[str, Group]) -> None:
        try:
            self._try_store(groups)
        except (sqlite3.Error, OSError) as error:
            self._lose_disk(error)
            self._try_store(groups)

    def _try_store(self, groups: Mapping[str, Group]) -> None:
        now, dropped = self._clock(), 0
        for mark, group in groups.items():
            due = now if group.kind != "alert" or self._ending else self._windows.due(mark, now)
            stored = self._outbox.add(mark, group.kind, group.line, group.count, group.first, group.last, due, now)
            dropped += 0 if stored else group.count
        self._outbox.commit()
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
        if self._adopt(now):
            self._give_up_old(now)
        if now < self._paused_until:
            return self._paused_until - now
        if self._sending is None and (wait := self._compose(now)) is not None:
            return wait
        wait = self._rate_limit.take()
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
        message = self._channel.render(alerts)
        alerts = alerts[: message.alerts]
        self._sending = _Sending(alerts, message, repeat=any(alert.repeat for alert in alerts))
        return None

    def _drop_unbegun(self) -> None:
        # What waits for the rate_limit goes on collapsing.
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
        outcome = self._channel.send(part, key, repeat=mark)
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
            where = self._letters.keep(self.name, reason, alerts)
        except OSError as error:
            where = f"they could not be kept ({error.strerror})"
        self._report(
            f"alerts undelivered {self.name}",
            f"{count} alerts were not delivered to {self.name}: {reason}; {where}",
        )
        self._outbox.remove(alerts)

    def _tell_set_aside(self) -> None:
        if self._outbox.set_aside:
            self._report("alerts outbox", f"the outbox of alerts was unreadable and is now {self._outbox.set_aside}")
            self._outbox.set_aside = ""

    # -- the end ----------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Tell at once what would have been counted for longer."""
        self._ending = True
        self._idle = False
        self._outbox.open()
        self._outbox.hurry()

    def failed(self, error: Exception) -> None:
        """Report an error that nobody expected, by its kind alone."""
        self.trouble = type(error).__name__
        self._report(f"alerts {self.name}", f"sending alerts to {self.name} failed: {self.trouble}")

    def close(self) -> None:
        """Leave what was not sent to the next process, and release everything."""
        self._outbox.open()
        self._take_notices()
        if self._sending is not None and self._sending.begun:
            self._outbox.release(self._sending.alerts, unknown=self._sending.part > 0)
        self._outbox.leave()
        self._rate_limit.close()
        self._channel.close()

    def after_fork(self) -> None:
        """Start anew in a child: what waits is the parent's."""
        super().after_fork()
        self._rate_limit.after_fork()
        self._noticing = threading.Lock()
        self._notices = []
        self._sending = None


def _steady_clock() -> Callable[[], float]:
    offset = time.time() - time.monotonic()
    return lambda: offset + time.monotonic()
