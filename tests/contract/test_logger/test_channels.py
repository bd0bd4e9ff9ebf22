"""What every channel of alerts promises (see `metaexpert.logger.remote.alerts._channel`), held against each of them."""

from __future__ import annotations

import html
import json
import logging
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from scripted_server import TOKEN, Answer, ScriptedServer, discord, telegram, webhook

from metaexpert.logger.remote.alerts._alert import Alert
from metaexpert.logger.remote.alerts._channel import Channel
from metaexpert.logger.remote.alerts._discord import Discord
from metaexpert.logger.remote.alerts._telegram import Telegram
from metaexpert.logger.remote.alerts._text import REPEAT_MARK, units
from metaexpert.logger.remote.alerts._webhook import Webhook
from metaexpert.logger.remote.http import Poster

SECRET = "aVeryPrivatePartOfAnAddress"


class Subject:
    """A channel, the server that it speaks to, and how to read what arrived there."""

    def __init__(
        self,
        usual: Callable[[Any], Answer],
        make: Callable[[str, Poster], Channel],
        read: Callable[[Any], str],
        limit: int | None,
        script: list[Answer],
    ) -> None:
        self.server = ScriptedServer(usual, script)
        # Only what never answers is waited for in vain; an answer may take long on a busy machine.
        silent = any(answer.deed in ("hang", "drip") for answer in script)
        self.channel = make(self.server.url, Poster(timeout=0.3, deadline=0.6) if silent else Poster())
        self.read = read
        self.limit = limit

    def send(self, alert: Alert, *, repeat: bool = False) -> list[Any]:
        """Send all parts of one alert and return the outcomes."""
        parts = self.channel.render([alert]).parts
        return [self.channel.send(part, f"{alert.key}-{n}", repeat=repeat) for n, part in enumerate(parts)]


def telegram_text(payload: Any) -> str:
    """Return a message as Telegram shows it; markup that it does not allow is an error."""
    assert units(payload["text"]) <= 4096
    assert payload["link_preview_options"] == {"is_disabled": True}
    if "parse_mode" not in payload:
        return str(payload["text"])
    stack: list[str] = []
    for close, name in re.findall(r"<(/?)(\w+)>", payload["text"]):
        assert name in ("b", "i", "code", "pre")
        if close:
            assert stack.pop() == name
        else:
            stack.append(name)
    assert stack == []
    bare = re.sub(r"</?(b|i|code|pre)>", "", payload["text"])
    assert "<" not in bare
    assert ">" not in bare
    return html.unescape(bare).replace("\u2060", "")


def discord_text(payload: Any) -> str:
    """Return a message as Discord shows it."""
    content = payload["content"]
    assert units(content) <= 2000
    assert payload["allowed_mentions"] == {"parse": []}
    assert content.count("```") % 2 == 0
    shown = []
    for number, part in enumerate(content.split("```")):
        if number % 2:
            shown.append(part.replace("`\u200b`", "``").replace("`\u200b", "`"))
        else:
            unescaped = re.sub(r"\\([\\`*_~|>#\[\]()<:@+-])", r"\1", part)
            shown.append(re.sub(r"\*\*|^-# ", "", unescaped, flags=re.MULTILINE))
    return "".join(shown)


def webhook_text(payload: Any) -> str:
    """Return all that a request says."""
    mark = REPEAT_MARK if payload["possible_repeat"] else ""
    entries = [alert["entry"] for alert in payload["alerts"]]
    texts = [*(str(value) for entry in entries for value in entry.values())]
    return "\n".join(
        [mark, payload["text"], *texts, *(str(e["exception"]["text"]) for e in entries if "exception" in e)]
    )


SUBJECTS: dict[str, Callable[[list[Answer]], Subject]] = {
    "telegram": lambda script: Subject(
        telegram, lambda url, poster: Telegram(TOKEN, "-100200300", url, poster), telegram_text, 4096, script
    ),
    "discord": lambda script: Subject(
        discord, lambda url, poster: Discord(f"{url}/api/webhooks/1/{SECRET}", poster), discord_text, 2000, script
    ),
    "webhook": lambda script: Subject(
        webhook,
        lambda url, poster: Webhook(f"{url}/hook/{SECRET}", {"Authorization": f"Bearer {SECRET}"}, poster),
        webhook_text,
        None,
        script,
    ),
}


@pytest.fixture(params=sorted(SUBJECTS))
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Subject]]:
    """Return a function that makes the subject with a script; its server runs until the test's end."""
    made: list[Subject] = []

    def build(*script: Answer) -> Subject:
        subject = SUBJECTS[request.param](list(script))
        subject.server.__enter__()
        made.append(subject)
        return subject

    yield build
    for subject in made:
        subject.channel.close()
        subject.server.__exit__()


def alert(message: str = "Order failed", count: int = 1, **fields: Any) -> Alert:
    """Return an alert of an entry."""
    entry = {
        "timestamp": "2026-11-24T12:00:03.000000Z",
        "level": "critical",
        "severity": 2,
        "hostname": "host-1",
        "appname": "EmaBot",
        "procid": "77",
        "msgid": "log",
        "sequence_id": 5,
        "message": message,
        "expert_name": "EmaBot",
        **fields,
    }
    last = "2026-11-24T12:02:03.000000Z" if count > 1 else str(entry["timestamp"])
    line = json.dumps(entry).encode()
    return Alert(1, "key-1", "mark-1", "alert", line, count, str(entry["timestamp"]), last, False)


def squeezed(text: str) -> str:
    """Return *text* without white space: where lines are cut does not matter."""
    return re.sub(r"\s+", "", text)


def test_an_alert_arrives_with_its_fields(make: Callable[..., Subject]) -> None:
    """A confirmed message is delivered and says level, expert, message, fields, time, machine and process."""
    subject = make()
    (outcome,) = subject.send(alert(symbol="BTCUSDT", order_id="ord-2", price=70000.5))
    assert outcome.kind == "delivered"
    (payload,) = subject.server.accepted
    text = subject.read(payload)
    for piece in ("EmaBot", "BTCUSDT", "Order failed", "ord-2", "70000.5", "12:00:03", "host-1", "77"):
        assert piece in text


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(429, {"parameters": {"retry_after": 7}, "retry_after": 7.0}, {"Retry-After": "7"}), "later"),
        (Answer(400, {"ok": False, "description": "Bad Request: chat not found", "message": "bad"}), "refused"),
        (Answer(404, {"ok": False, "description": "Not Found"}), "refused"),
        (Answer(302, {}, {"Location": "https://elsewhere.example"}), "refused"),
        (Answer(500, b"oops"), "unknown"),
        (Answer(502, b"<html>bad gateway</html>"), "unknown"),
        (Answer(deed="reset", accepts=True), "unknown"),
        (Answer(deed="hang", accepts=True), "unknown"),
        (Answer(deed="drip", accepts=True), "unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status}-{value.deed}",
)
def test_what_is_known_after_a_try(make: Callable[..., Subject], answer: Answer, kind: str) -> None:
    """Each thing that can happen to a request is told apart: refused for good, later, or nobody knows."""
    subject = make(answer)
    (outcome,) = subject.send(alert())
    assert outcome.kind == kind
    if kind == "later":
        assert outcome.wait == 7.0


def test_a_closed_port_means_unsent(make: Callable[..., Subject]) -> None:
    """Where nobody listens nothing has arrived, and that is said."""
    subject = make()
    subject.server.__exit__()
    subject.server.__exit__ = lambda *_: None  # type: ignore[method-assign]
    (outcome,) = subject.send(alert())
    assert outcome.kind == "unsent"
    assert "refused" in outcome.reason


def test_a_repeat_says_so_and_has_the_same_key(make: Callable[..., Subject]) -> None:
    """A message that may have arrived before is marked as a possible repeat, within the limits of its service."""
    subject = make()
    body = {"type": "E", "value": "v", "text": "x" * 9000}
    assert {outcome.kind for outcome in subject.send(alert(exception=body), repeat=True)} == {"delivered"}
    assert all(subject.read(payload).startswith(REPEAT_MARK) for payload in subject.server.accepted)


MARKUP = "*_~`|>#-+=[](){}.!\\<b>&amp;</pre>```js @everyone <@1> <t:1:R> /start #tag http://a.b :smile: ||x||"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


def test_every_character_of_markup_arrives_readable(make: Callable[..., Subject]) -> None:
    """Whatever a service takes for markup arrives as the characters that it is, in message, field and traceback."""
    subject = make()
    trace = {"type": "E", "value": MARKUP, "text": f"Traceback\n  {MARKUP}\n{FAMILY} \U0001f680"}
    outcomes = subject.send(alert(MARKUP, note=f"{MARKUP} {FAMILY}", exception=trace))
    assert {outcome.kind for outcome in outcomes} == {"delivered"}
    text = squeezed("".join(map(subject.read, subject.server.accepted)))
    assert text.count(squeezed(MARKUP)) >= 3
    assert FAMILY in text


def test_a_long_traceback_arrives_whole(make: Callable[..., Subject]) -> None:
    """A traceback of 20,000 characters arrives in pieces that the service takes, in order, none missing."""
    subject = make()
    lines = [f'  File "<b>&{n}.py", line {n}, in f{FAMILY} ```' for n in range(450)]
    text = "\n".join(lines)[:20_000]
    outcomes = subject.send(alert(exception={"type": "E", "value": "boom", "text": text}))
    assert {outcome.kind for outcome in outcomes} == {"delivered"}
    arrived = "".join(squeezed(re.sub(r"^\(\d+/\d+\)\n", "", subject.read(p))) for p in subject.server.accepted)
    assert squeezed(text) in arrived


def test_a_line_without_end_is_cut_between_characters(make: Callable[..., Subject]) -> None:
    """Text without any line end is cut all the same, never through an emoji of several characters."""
    subject = make()
    text = FAMILY * 1500
    outcomes = subject.send(alert(exception={"type": "E", "value": "boom", "text": text}))
    assert {outcome.kind for outcome in outcomes} == {"delivered"}
    arrived = [re.sub(r"^\(\d+/\d+\)\n", "", subject.read(payload)) for payload in subject.server.accepted]
    assert sum(piece.count(FAMILY) for piece in arrived) == 1500


def test_controls_cannot_hide_text(make: Callable[..., Subject]) -> None:
    """Escape codes, NUL and marks that turn text around arrive as visible escapes."""
    subject = make()
    subject.send(alert("a\x1b[2Jb\x00c\u202etxet"))
    text = subject.server.accepted[0]
    shown = text["text"] if "text" in text else text["content"]
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\x1b" in shown.replace("\\\\", "\\").replace("\\[", "[")


def test_several_alerts_become_one_list(make: Callable[..., Subject]) -> None:
    """Many alerts become messages that list them; each of them is in exactly one."""
    subject = make()
    waiting = [alert(f"Trouble {chr(65 + n % 26)}{n} <&>_*", count=n + 1) for n in range(120)]
    while waiting:
        message = subject.channel.render(waiting)
        assert message.alerts >= 1
        for part in message.parts:
            assert subject.channel.send(part, "k", repeat=False).kind == "delivered"
        waiting = waiting[message.alerts :]
    text = "\n".join(subject.read(payload) for payload in subject.server.accepted)
    for n in range(120):
        assert f"Trouble {chr(65 + n % 26)}{n} <&>_*" in text
    assert "×57 in 2 min, first 12:00:03, last 12:02:03" in text
    assert len(subject.server.accepted) < 15


def test_nothing_tells_the_token(
    make: Callable[..., Subject], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither outcomes, nor representations, nor what httpx logs at DEBUG, tell a token or an address."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    told = []
    script = [Answer(404, b"no"), Answer(500), Answer(deed="reset"), Answer(body=b"lies"), Answer(deed="hang")]
    subject = make(*script)
    for _ in range(len(script) + 1):
        told += [repr(outcome) for outcome in subject.send(alert())]
    subject.channel.close()
    told += [repr(subject.channel), str(subject.channel.limits), subject.channel.token, subject.channel.endpoint]
    everything = "\n".join([*told, caplog.text, *capfd.readouterr()])
    for secret in (TOKEN, TOKEN.split(":")[1], SECRET):
        assert secret not in everything


def test_a_name_that_does_not_resolve_means_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address nothing was sent."""

    def nowhere(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    channel = Telegram(TOKEN, "1", "https://nowhere.invalid", Poster())
    part = channel.render([alert()]).parts[0]
    outcome = channel.send(part, "k", repeat=False)
    channel.close()
    assert outcome.kind == "unsent"
    assert TOKEN not in outcome.reason


def test_telegram_gets_plain_text_when_it_rejects_the_markup() -> None:
    """When Telegram cannot parse the entities, the same message is sent at once as plain text."""
    answer = Answer(400, {"ok": False, "error_code": 400, "description": "Bad Request: can't parse entities: …"})
    subject = SUBJECTS["telegram"]([answer])
    with subject.server:
        (outcome,) = subject.send(alert("a < b & c"))
        subject.channel.close()
        assert outcome.kind == "delivered"
        first, second = subject.server.requests
        assert first.payload["parse_mode"] == "HTML"
        assert "parse_mode" not in second.payload
        assert "a < b & c" in second.payload["text"]


@pytest.mark.parametrize("body", [{"ok": False}, {"ok": True}, b"", b"<html>", {"ok": True, "result": True}])
def test_a_lie_about_success_is_not_believed(body: Any) -> None:
    """Telegram has the message when it returns it; a 200 without it means that nobody knows."""
    subject = SUBJECTS["telegram"]([Answer(200, body)])
    with subject.server:
        (outcome,) = subject.send(alert())
        subject.channel.close()
    assert outcome.kind == "unknown"


def test_a_group_that_became_a_supergroup_is_followed() -> None:
    """Telegram tells the new id of a group once; later messages go there."""
    answer = Answer(400, {"ok": False, "error_code": 400, "parameters": {"migrate_to_chat_id": -100777}})
    subject = SUBJECTS["telegram"]([answer])
    with subject.server:
        assert subject.send(alert())[0].kind == "unsent"
        assert subject.send(alert())[0].kind == "delivered"
        subject.channel.close()
        assert subject.server.accepted[0]["chat_id"] == "-100777"


def test_discord_says_when_its_rate_limit_is_used_up() -> None:
    """The pause that Discord announces with its last free message is passed on."""
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "1.5"}
    subject = SUBJECTS["discord"]([Answer(200, {"id": "1"}, headers)])
    with subject.server:
        (outcome,) = subject.send(alert())
        subject.channel.close()
    assert outcome == ("delivered", "", 1.5)


def test_webhook_requests_can_be_recognised() -> None:
    """A request has a key of its own, the same in a repeat, in body and header, and the bearer token."""
    subject = SUBJECTS["webhook"]([])
    with subject.server:
        part = subject.channel.render([alert()]).parts[0]
        subject.channel.send(part, "key-9", repeat=False)
        subject.channel.send(part, "key-9", repeat=True)
        subject.channel.close()
        first, second = subject.server.requests
    assert (first.payload["id"], first.headers["idempotency-key"]) == ("key-9", "key-9")
    assert first.headers["authorization"] == f"Bearer {SECRET}"
    assert (first.payload["possible_repeat"], second.payload["possible_repeat"]) == (False, True)
    assert first.payload["alerts"][0]["entry"]["message"] == "Order failed"


def test_many_and_long_fields_are_all_told(make: Callable[..., Subject]) -> None:
    """Fields beyond what the head of a message holds, and long values, stand below it; nothing is left out."""
    subject = make()
    fields: dict[str, Any] = {f"field_{n:02d}": f"value {n} _<>&|" + "|" * 100 for n in range(40)}
    outcomes = subject.send(alert("first line\nsecond line", long="word " * 400, nested={"a": [1, None]}, **fields))
    assert {outcome.kind for outcome in outcomes} == {"delivered"}
    text = squeezed("".join(re.sub(r"^\(\d+/\d+\)\n", "", subject.read(p)) for p in subject.server.accepted))
    assert "secondline" in text
    assert "word" * 400 in text
    assert all(squeezed(value) in text for value in fields.values())


def test_fields_that_grow_by_their_markup_are_all_told(make: Callable[..., Subject]) -> None:
    """Fields that fit the head of a message only before they are escaped stand below it."""
    subject = make()
    fields: dict[str, Any] = {f"field_{n:02d}": f"{n}" + "<" * 140 for n in range(10, 20)}
    assert {outcome.kind for outcome in subject.send(alert(**fields))} == {"delivered"}
    text = squeezed("".join(re.sub(r"^\(\d+/\d+\)\n", "", subject.read(p)) for p in subject.server.accepted))
    assert all(value in text for value in fields.values())


def test_a_monstrous_text_is_bounded(make: Callable[..., Subject]) -> None:
    """At most 16 messages are made of one alert; what is left out is counted in it."""
    subject = make()
    parts = subject.channel.render([alert(exception={"type": "E", "value": "v", "text": "line\n" * 40_000})]).parts
    assert len(parts) <= 17
    if subject.limit:
        assert any("characters left out" in part for part in parts)


def test_a_topic_of_telegram() -> None:
    """Each message, also one sent again as plain text, names its topic; another topic is another endpoint."""
    rejected = Answer(400, {"ok": False, "error_code": 400, "description": "Bad Request: can't parse entities"})
    with ScriptedServer(telegram, [rejected]) as server:
        channel = Telegram(TOKEN, "-100200300", server.url, thread=77)
        outcome = channel.send(channel.render([alert()]).parts[0], "k", repeat=False)
        channel.close()
    assert outcome.kind == "delivered"
    assert [request.payload["message_thread_id"] for request in server.requests] == [77, 77]
    without, other = Telegram(TOKEN, "-100200300"), Telegram(TOKEN, "-100200300", thread=78)
    assert len({channel.endpoint, without.endpoint, other.endpoint}) == 3
    assert channel.limits == other.limits


@pytest.mark.parametrize("query", ["", "?with_components=true"])
def test_a_thread_of_discord(query: str) -> None:
    """The address names the thread, whatever stands in it; another thread is another endpoint of one budget."""
    with ScriptedServer(discord) as server:
        channel = Discord(f"{server.url}/api/webhooks/1/{SECRET}{query}", thread=1234567890123456789)
        outcome = channel.send(channel.render([alert()]).parts[0], "k", repeat=False)
        channel.close()
    assert outcome.kind == "delivered"
    assert parse_qs(urlsplit(server.requests[0].path).query)["thread_id"] == ["1234567890123456789"]
    assert parse_qs(urlsplit(server.requests[0].path).query)["wait"] == ["true"]
    without = Discord(f"{server.url}/api/webhooks/1/{SECRET}{query}")
    assert without.endpoint != channel.endpoint
    assert without.token == channel.token
