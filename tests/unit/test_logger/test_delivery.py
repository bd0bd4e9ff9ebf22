"""Delivery of alerts: at least once, collapsed, within the rate limit; by a clock that moves when told."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sinks import FakeClock

from metaexpert.logger.entry.line import decode_line
from metaexpert.logger.remote.alerts import _dedup, _delivery, _outbox
from metaexpert.logger.remote.alerts._alert import Alert
from metaexpert.logger.remote.alerts._channel import Channel, Message, Outcome
from metaexpert.logger.remote.alerts._dedup import Windows, fingerprint
from metaexpert.logger.remote.alerts._delivery import Delivery
from metaexpert.logger.remote.alerts._outbox import Outbox
from metaexpert.logger.remote.alerts._rate_limit import Limit, RateLimit
from metaexpert.logger.remote.alerts._text import summary
from metaexpert.logger.remote.http import Reply
from metaexpert.logger.remote.sender import Backoff

START = 1_800_000_000.0


class Scripted(Channel):
    """A channel that answers by a script, then delivers; it remembers what it sent, and what arrived."""

    name = "scripted"
    token = "token-hash"
    limits = (Limit("chat", 1, 1.0), Limit("chat", 20, 60.0))

    def __init__(self, *script: Outcome, per_list: int = 40, parts: int = 1) -> None:
        self.endpoint = "endpoint-hash"
        self.script = list(script)
        self.sent: list[tuple[str, str, bool]] = []
        self.arrived: list[str] = []
        self._per_list = per_list
        self._parts = parts

    def render(self, alerts: Sequence[Alert]) -> Message:
        if len(alerts) == 1:
            return Message(tuple(f"{summary(alerts[0], 300)}#{n}" for n in range(self._parts)), 1)
        taken = alerts[: self._per_list]
        return Message(("\n".join(summary(alert, 300) for alert in taken),), len(taken))

    def send(self, part: str, key: str, *, repeat: bool) -> Outcome:
        outcome = self.script.pop(0) if self.script else Outcome("delivered")
        self.sent.append((part, key, repeat))
        if outcome.kind in ("delivered", "unknown"):
            self.arrived.append(part)
        return outcome

    def _request(self, part: str, key: str, *, repeat: bool) -> Reply:
        raise NotImplementedError

    def _outcome(self, reply: Reply) -> Outcome:
        raise NotImplementedError

    def close(self) -> None:
        pass

    def after_fork(self) -> None:
        pass


class Bench:
    """A delivery on a fake clock."""

    def __init__(
        self, channel: Scripted, directory: Path | None, clock: FakeClock | None = None, *, memory: bool = False
    ) -> None:
        self.clock = clock or FakeClock(START)
        self.channel = channel
        self.reports: list[str] = []
        self.rate_limit = RateLimit(channel.token, channel.limits, self.clock, directory)
        self.delivery = Delivery(
            channel,
            Outbox(None if memory else directory, channel.endpoint),
            self.rate_limit,
            directory,
            lambda kind, text: self.reports.append(text),
            self.clock,
            jitter=lambda: 1.0,
        )

    def log(self, message: str = "Order failed", **fields: Any) -> None:
        self.delivery.take([line(message, self.clock(), **fields)])

    def run(self, seconds: float) -> None:
        """Let the delivery work for *seconds* of its clock."""
        end = self.clock() + seconds
        while True:
            wait = self.delivery.step()
            if self.clock() + wait > end:
                break
            self.clock.advance(wait)
        self.clock.advance(max(end - self.clock(), 0.0))


def line(message: str, now: float = START, level: str = "error", **fields: Any) -> bytes:
    """Return an entry as it stands in a file."""
    moment = f"2027-01-15T08:{int(now - START) // 60 % 60:02d}:{int(now - START) % 60:02d}.000000Z"
    entry = {"timestamp": moment, "level": level, "appname": "EmaBot", "procid": "7", "message": message, **fields}
    return json.dumps(entry).encode() + b"\n"


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    """Return a function that makes a bench with a script."""
    # In memory, because a device is slow; what outlives a process has tests of its own.
    return lambda *script, **options: Bench(Scripted(*script, **options), tmp_path, memory=True)


def test_the_first_alert_goes_out_at_once(bench: Callable[..., Bench]) -> None:
    """An alert is sent by the first step after it came, and leaves the outbox when it is confirmed."""
    it = bench()
    it.log()
    it.run(0.5)
    assert len(it.channel.arrived) == 1
    assert it.delivery.idle
    assert it.delivery.counts.delivered == 1


def test_repeats_become_one_digest_after_a_growing_time(bench: Callable[..., Bench]) -> None:
    """57 repeats in a minute become one message that tells count, span, first and last; the next ones wait longer."""
    it = bench()
    it.log()
    it.run(2)
    for _ in range(57):
        it.log()
        it.run(1)
    it.run(10)
    assert len(it.channel.arrived) == 2
    assert "×57 in 56 s, first 08:00:02, last 08:00:58" in it.channel.arrived[1]
    for _ in range(600):
        it.log()
        it.run(1)
    assert len(it.channel.arrived) == 4, "after 60 s come 120 s and 240 s"


def test_silence_begins_anew(bench: Callable[..., Bench]) -> None:
    """A trouble that comes back after a long silence is told at once again."""
    it = bench()
    it.log()
    it.run(600)
    it.log()
    it.run(0.5)
    assert len(it.channel.arrived) == 2


def test_numbers_in_a_message_do_not_make_another_trouble() -> None:
    """Entries that differ in numbers and identifiers have one fingerprint; other experts, symbols, errors do not."""
    same = [
        fingerprint(decode_line(line(text)))
        for text in ("Order 17 failed", "Order 18 failed", "Order 9b2c4d5e-11aa-4bcd failed")
    ]
    assert len(set(same)) == 1
    others = [
        line("Order 17 failed", level="critical"),
        line("Order 17 failed", symbol="ETHUSDT"),
        line("Order 17 filled"),
        line("Order 17 failed", exception={"type": "OSError"}),
        line("Order 17 failed", logger="broker"),
    ]
    assert len({same[0], *(fingerprint(decode_line(other)) for other in others)}) == 6


@pytest.mark.parametrize("trouble", [Outcome("unsent", "connection refused"), Outcome("later", "429", 7.0)])
def test_what_did_not_arrive_is_sent_again_without_a_mark(bench: Callable[..., Bench], trouble: Outcome) -> None:
    """After a try that certainly failed the alert is sent again, and not called a repeat."""
    it = bench(trouble, trouble)
    it.log()
    it.run(60)
    assert [repeat for _, _, repeat in it.channel.sent] == [False, False, False]
    assert len(it.channel.arrived) == 1


def test_an_unknown_outcome_is_repeated_and_marked(bench: Callable[..., Bench]) -> None:
    """After a try of which nobody knows the outcome the alert is sent again under the same key, marked."""
    it = bench(Outcome("unknown", "no answer"))
    it.log()
    it.run(60)
    assert [repeat for _, _, repeat in it.channel.sent] == [False, True]
    assert it.channel.sent[0][1] == it.channel.sent[1][1]
    assert it.delivery.counts.repeated == 1
    assert any("unknown whether" in text for text in it.reports)


def test_a_server_that_asks_for_a_pause_gets_it(bench: Callable[..., Bench]) -> None:
    """After a 429 nothing is sent before the time that the server has named."""
    it = bench(Outcome("later", "429", 30.0))
    it.log()
    it.run(29)
    assert len(it.channel.sent) == 1
    it.run(5)
    assert len(it.channel.sent) == 2


def test_a_refused_alert_is_kept_and_reported(bench: Callable[..., Bench], tmp_path: Path) -> None:
    """What the service will never take goes to the dead letters, is reported, and does not hold up the next one."""
    it = bench(Outcome("refused", "400 chat not found"))
    it.log("first")
    it.log("second")
    it.run(5)
    assert [text for text in it.channel.arrived if "second" in text]
    (letter,) = [json.loads(text) for text in (tmp_path / "undelivered.jsonl").read_text("utf-8").splitlines()]
    assert (letter["reason"], letter["entry"]["message"], letter["count"]) == ("400 chat not found", "first", 1)
    assert any("1 alerts were not delivered" in text and "undelivered.jsonl" in text for text in it.reports)
    assert it.delivery.counts.undelivered == 1


def test_an_alert_that_nobody_takes_for_a_day_is_given_up(bench: Callable[..., Bench], tmp_path: Path) -> None:
    """After a day of failures an alert is reported undelivered, with the last reason."""
    it = bench(*[Outcome("unsent", "connection refused")] * 2000)
    it.log()
    it.run(_delivery.LONGEST_LIFE + 2 * _delivery.LONGEST_BACKOFF)
    assert it.channel.arrived == []
    letter = json.loads((tmp_path / "undelivered.jsonl").read_text("utf-8"))
    assert "connection refused" in letter["reason"]
    assert len(it.channel.sent) < 400, "the pauses have grown"


def test_a_storm_stays_within_the_rate_limit_and_loses_no_fingerprint(bench: Callable[..., Bench]) -> None:
    """10,000 errors of 400 kinds in a minute make at most the messages that it allows, and each kind is told."""
    it = bench()
    kinds = [f"{chr(65 + n // 20)}{chr(65 + n % 20)} went wrong" for n in range(400)]
    for second in range(60):
        it.delivery.take([line(kinds[(second * 167 + n) % 400], it.clock()) for n in range(167)])
        it.run(1)
    assert len(it.channel.sent) <= 20
    it.run(600)
    text = "\n".join(it.channel.arrived)
    assert all(kind in text for kind in kinds)
    assert it.delivery.counts.delivered == 60 * 167
    assert it.delivery.counts.dropped == 0


def test_a_message_of_several_parts_goes_on_where_it_broke_off(bench: Callable[..., Bench]) -> None:
    """When the second of three parts fails, the first one is not sent again."""
    it = bench(Outcome("delivered"), Outcome("unknown", "reset"), parts=3)
    it.log()
    it.run(60)
    assert [text[-2:] for text, _, _ in it.channel.sent] == ["#0", "#1", "#1", "#2"]
    assert [repeat for _, _, repeat in it.channel.sent] == [False, False, True, False]
    assert len({key for _, key, _ in it.channel.sent}) == 3


def test_what_waits_outlives_the_process(tmp_path: Path) -> None:
    """Alerts of a process that has ended are sent by the next one, collapsed ones with their count."""
    dying = Bench(Scripted(Outcome("unsent", "down")), tmp_path)
    dying.log("alpha")
    dying.delivery.step()
    for _ in range(5):
        dying.log("beta")
    dying.delivery.close()
    born = Bench(Scripted(), tmp_path, dying.clock)
    born.run(60)
    assert [("alpha" in text, "×5" in text) for text in born.channel.arrived] == [(True, False), (False, True)]
    assert [repeat for _, _, repeat in born.channel.sent] == [False, False]


def test_what_was_being_sent_when_the_process_died_is_a_possible_repeat(tmp_path: Path) -> None:
    """A process killed between sending and confirmation leaves an alert that the next one marks."""

    class Killed(BaseException):
        pass

    class Dying(Scripted):
        def send(self, part: str, key: str, *, repeat: bool) -> Outcome:
            super().send(part, key, repeat=repeat)
            raise Killed

    dying = Bench(Dying(), tmp_path)
    dying.log()
    with pytest.raises(Killed):
        dying.delivery.step()
    assert len(dying.channel.arrived) == 1
    lock = dying.delivery._outbox._lock
    assert lock is not None
    lock.abandon()  # as the system does when a process dies
    born = Bench(Scripted(), tmp_path, dying.clock)
    born.run(1)
    assert [repeat for _, _, repeat in born.channel.sent] == [True]


def test_a_living_process_keeps_its_alerts(tmp_path: Path) -> None:
    """Two processes of one directory do not send each other's alerts."""
    one, other = Bench(Scripted(Outcome("unsent", "down")), tmp_path), Bench(Scripted(), tmp_path)
    one.log()
    one.delivery.step()
    other.run(60)
    assert other.channel.sent == []


def test_alerts_of_another_chat_are_left_alone(tmp_path: Path) -> None:
    """What a dead process had for one chat is never sent to another."""
    dead = Bench(Scripted(Outcome("unsent", "down")), tmp_path)
    dead.log()
    dead.delivery.step()
    dead.delivery.close()
    other = Scripted()
    other.endpoint = "somebody else"
    born = Bench(other, tmp_path, dead.clock)
    born.run(60)
    assert other.sent == []


def test_a_full_outbox_counts_what_it_drops(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bound the outbox refuses new troubles, counted and reported; known ones are still collapsed."""
    monkeypatch.setattr(_outbox, "MOST_ROWS", 3)
    it = bench(*[Outcome("unsent", "down")] * 50)
    for name in "abcde":
        it.log(f"trouble {name}")
    it.log("trouble a")
    assert it.delivery.counts.dropped == 2
    assert any("2 were dropped" in text or "1 were dropped" in text for text in it.reports)
    it.run(120)
    it.channel.script.clear()
    it.run(600)
    assert it.delivery.counts.delivered == 4


def test_a_call_can_ask_for_no_alert(bench: Callable[..., Bench]) -> None:
    """An entry with ``alert=False`` is none, whatever its level."""
    it = bench()
    it.log(alert=False)
    it.run(60)
    assert it.channel.sent == []


def test_heartbeats_are_never_collapsed(bench: Callable[..., Bench]) -> None:
    """Each heartbeat is told, also when it says the same."""
    it = bench()
    for _ in range(2):
        it.delivery.notify("heartbeat", line("EmaBot started"))
    it.run(10)
    assert len(it.channel.arrived) == 2


def seal(bench: Bench, number: int) -> None:
    """Log what a logger logs when it has sealed its trades."""
    bench.log("log.sealed", level="info", alert=True, seal=number, checkpoint=f"bot/1\n{number}\n")


class InFull(Scripted):
    """Sends the checkpoint of a seal that it is given alone, and shows of a list the messages, as channels do."""

    def render(self, alerts: Sequence[Alert]) -> Message:
        if len(alerts) == 1 and "checkpoint" in alerts[0].entry:
            return Message((str(alerts[0].entry["checkpoint"]),), 1)
        return super().render(alerts)

    def prepare(self) -> None:
        pass


def test_a_checkpoint_is_never_one_of_a_list() -> None:
    """A list shows no fields, so a seal goes out alone: beside a storm of alerts, and when the process ends."""
    for ending in (False, True):
        it = Bench(InFull(), None, memory=True)
        it.log("first")
        seal(it, 7)
        for trouble in ("one", "two", "three", "four", "five"):
            it.log(f"trouble {trouble}")
        if ending:
            it.delivery.hasten()
            it.delivery.hurry()
        it.run(30)
        arrived = [text.split(": ", 1)[-1].split(" [")[0] for text in it.channel.arrived]
        assert sorted(arrived)[:1] == ["bot/1\n7\n"]
        assert len(arrived) == 2  # the others are one list
        assert it.delivery.idle


def test_each_seal_is_sent_and_after_a_wait_the_newest() -> None:
    """A witness is to see each checkpoint; one that covers all before it says more than the first with a count."""
    it = Bench(InFull(), None, memory=True)
    for number in range(3):
        seal(it, number)
        it.run(10)
    assert it.channel.arrived == ["bot/1\n0\n", "bot/1\n1\n", "bot/1\n2\n"]
    it.channel.script = [Outcome("unsent", "down")] * 3
    for number in range(3, 9):
        seal(it, number)
        it.run(1)
    it.run(60)
    assert it.channel.arrived[3:] == ["bot/1\n8\n"]


def test_an_unreadable_outbox_is_set_aside(tmp_path: Path) -> None:
    """A damaged file does not stop the alerts: it is kept under another name, and told."""
    (tmp_path / Outbox.FILE_NAME).write_bytes(b"no database" * 1000)
    it = Bench(Scripted(), tmp_path)
    it.log()
    it.run(5)
    assert len(it.channel.arrived) == 1
    assert (tmp_path / "outbox.sqlite3.unreadable").exists()
    assert any("unreadable" in text for text in it.reports)


def test_without_a_disk_alerts_go_out_all_the_same(tmp_path: Path) -> None:
    """Where the outbox cannot be made alerts are kept in memory, and that is told."""
    (tmp_path / "taken").write_text("a file")
    it = Bench(Scripted(), tmp_path / "taken")
    it.log()
    it.run(5)
    assert len(it.channel.arrived) == 1
    assert any("memory only" in text for text in it.reports)


def test_the_rate_limit_is_shared(tmp_path: Path) -> None:
    """Two processes with one token take from one rate limit; a pause that one was told holds for both."""
    clock = FakeClock(START)
    limits = (Limit("chat", 1, 1.0), Limit("chat", 3, 60.0))
    one, other = (RateLimit("t", limits, clock, tmp_path) for _ in range(2))
    assert one.take() == 0.0
    assert other.take() == pytest.approx(1.0)
    clock.advance(1)
    assert other.take() == 0.0
    clock.advance(1)
    assert one.take() == 0.0
    clock.advance(1)
    assert other.take() == pytest.approx(57.0)
    clock.advance(57)
    one.block(30)
    assert other.take() == pytest.approx(30.0)
    clock.advance(30)
    assert other.take() == 0.0


def test_a_rate_limit_survives_a_clock_that_steps_back(tmp_path: Path) -> None:
    """Moments in the future are no reason to wait for ever."""
    clock = FakeClock(START)
    rate_limit = RateLimit("t", (Limit("chat", 1, 60.0),), clock, tmp_path)
    assert rate_limit.take() == 0.0
    rate_limit.block(60)
    clock.advance(-10 * 24 * 3600)
    assert rate_limit.take() == 0.0


def test_a_damaged_rate_limit_file_is_begun_anew(tmp_path: Path) -> None:
    """A file that makes no sense costs nothing but its memory."""
    rate_limit = RateLimit("t", (Limit("chat", 1, 60.0),), FakeClock(START), tmp_path)
    for content in (b"", b"{", b"{}", b"[1]", b'{"sent": 5, "blocked": {}}', b'{"sent": {"a": ["x"]}, "blocked": {}}'):
        (tmp_path / "budget-t.json").write_bytes(content)
        assert rate_limit.take() == 0.0


def test_a_rate_limit_that_cannot_be_kept_is_counted_in_memory(tmp_path: Path) -> None:
    """Where the file cannot be kept the process keeps to its rate limit by itself."""
    (tmp_path / "taken").write_text("a file")
    clock = FakeClock(START)
    rate_limit = RateLimit("t", (Limit("chat", 1, 1.0),), clock, tmp_path / "taken")
    assert rate_limit.take() == 0.0
    assert rate_limit.take() == pytest.approx(1.0)
    assert isinstance(rate_limit.error, OSError)


def test_pauses_double_with_jitter_up_to_a_limit() -> None:
    """The pause grows from a second to the limit, never less than half of it."""
    low, high = Backoff(60, lambda: 0.0), Backoff(60, lambda: 1.0)
    assert [high.next() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [low.next() for _ in range(3)] == [0.5, 1.0, 2.0]


def test_windows_forget_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of fingerprints is bounded."""
    monkeypatch.setattr(_dedup, "_MOST_WINDOWS", 2)
    windows = Windows()
    for mark in "abc":
        windows.sent(mark, 0.0)
    assert (windows.due("a", 1.0), windows.due("c", 1.0)) == (1.0, _dedup.FIRST_WINDOW)
