"""A VictoriaLogs on loopback: keeps entries as the real one does, and answers the queries that the reader sends.

Built on what a real 1.26 answered, not on our code: it takes lines of our files in by three ways (OTLP, syslog, JSON
lines), keeps flat rows of texts, and evaluates LogsQL with a parser of its own. What it does not know it refuses, as
the real one does, with status 400.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler
from itertools import batched
from typing import Any
from urllib.parse import parse_qs

from loopback import LoopbackServer

Row = dict[str, str]
Test = Callable[[Row], bool]
NO_MESSAGE = "missing _msg field; see https://docs.victoriametrics.com/victorialogs/keyconcepts/#message-field"


# -- the ways in -----------------------------------------------------------------------------------------------------


def text_of(value: Any) -> str:
    """Return a JSON value as the store keeps it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of *value* by dotted names; empty values do not exist in the store."""
    for name, item in value.items():
        if isinstance(item, dict):
            yield from flat(item, f"{prefix}{name}.")
        elif item is not None and item != "":
            yield f"{prefix}{name}", item


def _row(time_text: str, message: str, fields: Iterable[tuple[str, str]]) -> Row:
    whole, _, fraction = time_text.removesuffix("Z").partition(".")
    fraction = fraction.rstrip("0")
    row = {"_time": f"{whole}{'.' * bool(fraction)}{fraction}Z", "_stream": "{}", "_msg": message or NO_MESSAGE}
    return row | {name: text for name, text in fields if text != ""}


def json_lines(entry: dict[str, Any]) -> Row:
    """Take in a line of a file, with ``_msg_field=message`` and ``_time_field=timestamp``."""
    rest = {name: value for name, value in entry.items() if name not in ("timestamp", "message")}
    return _row(entry["timestamp"], entry["message"], ((name, text_of(value)) for name, value in flat(rest)))


def otlp(entry: dict[str, Any]) -> Row:
    """Take in what the exporter makes of an entry: attributes, a resource, the level as severity text."""
    rest = dict(entry)
    for name in ("timestamp", "level", "severity", "message", "hostname", "procid", "logger"):
        rest.pop(name, None)
    error = rest.pop("exception", {})
    names = {"type": "exception.type", "value": "exception.message", "text": "exception.stacktrace"}
    fields = [(name, _number(value)) for name, value in flat(rest)]
    fields += [(names.get(name, f"exception.{name}"), text_of(value)) for name, value in flat(error)]
    fields += [("host.name", entry["hostname"]), ("process.pid", entry["procid"]), ("severity", entry["level"])]
    fields += [("service.name", str(entry.get("expert_name") or entry["appname"]))]
    return _row(entry["timestamp"], entry["message"], fields)


def _number(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else text_of(value)


_PRIORITY = {"debug": 135, "info": 134, "warning": 132, "error": 131, "critical": 130}
_MESSAGE = re.compile(r"<(\d+)>1 (\S+) (\S+) (\S+) (\S+) (\S+) ((?:\[(?:[^\]\\]|\\.)*\])+) (.*)", re.DOTALL)
_ELEMENT = re.compile(r"\[(\S+?)((?: [^ =]+=\"(?:[^\"\\]|\\.)*\")*)\]", re.DOTALL)
_PARAMETER = re.compile(r" ([^ =]+)=\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)


def syslog(message: bytes) -> Row:
    """Take in a message of RFC 5424."""
    found = _MESSAGE.fullmatch(message.decode())
    assert found is not None, message
    priority, when, host, app, process, msgid, elements, text = found.groups()
    level = next(word for word, number in _PRIORITY.items() if number % 8 == int(priority) % 8)
    fields = [("hostname", host), ("app_name", app), ("proc_id", process), ("msg_id", msgid), ("level", level)]
    fields += [("priority", priority), ("severity", str(int(priority) % 8)), ("facility", str(int(priority) // 8))]
    fields += [("facility_keyword", "local0"), ("format", "rfc5424")]
    for sd_id, parameters in _ELEMENT.findall(elements):
        for name, value in _PARAMETER.findall(parameters):
            fields.append((f"{sd_id}.{name}", re.sub(r'\\(["\\\]])', r"\1", value)))
    return _row(when, text, fields)


# -- LogsQL ---------------------------------------------------------------------------------------------------

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|_time:(?:>=|<)[^\s|]+|:=|:~|[():,|]|[^\s():,|"]+)', re.DOTALL)


class QueryError(Exception):
    """The query is none, or has what the double does not know."""


class Query:
    """A parsed query: which rows, and what is done with them."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise QueryError(f"cannot parse query [{text}]")
            self._tokens.append(match[1])
            at = match.end()
        self._text, self._next = text, 0
        self._test = self._all()
        self._pipes: list[Callable[[list[Row]], list[Row]]] = []
        while self._take("|"):
            self._pipes.append(self._pipe())
        if self._peek():
            raise self._wrong()

    def answer(self, rows: Iterable[Row]) -> list[Row]:
        """Return what is left of *rows*."""
        found = [row for row in rows if self._test(row)]
        for pipe in self._pipes:
            found = pipe(found)
        return found

    def _wrong(self) -> QueryError:
        return QueryError(f"cannot parse query [{self._text}]: unexpected token {self._peek()!r}")

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _pop(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    def _take(self, *tokens: str) -> bool:
        end = self._next + len(tokens)
        if [*tokens] == self._tokens[self._next : end]:
            self._next = end
            return True
        return False

    def _word(self) -> str:
        token = self._pop()
        if not token or token in "():,|":
            self._next -= 1
            raise self._wrong()
        return json.loads(token) if token.startswith('"') else token

    def _all(self) -> Test:
        tests = [self._one()]
        while self._peek() not in ("", "|", ")", "or"):
            tests.append(self._one())
        return lambda row: all(test(row) for test in tests)

    def _any(self) -> Test:
        tests = [self._all()]
        while self._take("or"):
            tests.append(self._all())
        return lambda row: any(test(row) for test in tests)

    def _one(self) -> Test:
        if self._take("("):
            test = self._any()
            if not self._take(")"):
                raise self._wrong()
            return test
        if self._peek().startswith("_time:"):
            return self._time(self._pop().removeprefix("_time:"))
        if self._take("*"):
            return lambda _: True
        name = self._word()
        if self._take(":="):
            wanted = self._word()
            return lambda row: row.get(name, "") == wanted
        if not self._take(":"):
            raise self._wrong()
        if self._take("*"):
            return lambda row: name in row
        if self._take("in", "("):
            values = {self._word()}
            while self._take(","):
                values.add(self._word())
            if not self._take(")"):
                raise self._wrong()
            return lambda row: row.get(name, "") in values
        if self._take('""'):
            return lambda row: name not in row
        raise self._wrong()

    def _time(self, text: str) -> Test:
        if text.startswith(">="):
            low = _sortable(text[2:])
            return lambda row: _sortable(row["_time"]) >= low
        high = _sortable(text[1:])
        return lambda row: _sortable(row["_time"]) < high

    def _pipe(self) -> Callable[[list[Row]], list[Row]]:
        if self._take("pack_json", "as"):
            packed = self._word()
            return lambda rows: [row | {packed: text_of(row)} for row in rows]
        if self._take("filter"):
            name = self._word()
            if not self._take(":~"):
                raise self._wrong()
            expression = re.compile(self._word())
            return lambda rows: [row for row in rows if expression.search(row.get(name, ""))]
        if self._take("delete"):
            gone = self._word()
            return lambda rows: [{name: text for name, text in row.items() if name != gone} for row in rows]
        if self._take("stats", "count", "(", ")", "as"):
            counted = self._word()
            return lambda rows: [{counted: str(len(rows))}]
        if self._take("stats", "min", "(", "_time", ")", "as"):
            least = self._word()
            return lambda rows: [{least: min((row["_time"] for row in rows), key=_sortable, default="")}]
        if self._take("sort", "by", "(", "_time", ")"):
            backward = self._take("desc")
            limit = int(self._word()) if self._take("limit") else None
            return lambda rows: sorted(rows, key=lambda row: _sortable(row["_time"]), reverse=backward)[:limit]
        raise self._wrong()


def _sortable(text: str) -> str:
    whole, _, fraction = text.removesuffix("Z").partition(".")
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", whole):
        raise QueryError(f"cannot parse time {text}")
    return f"{whole}.{fraction:0<9}"


# -- the server -----------------------------------------------------------------------------------------------


class VictoriaLogs(LoopbackServer):
    """The store. A context manager.

    Attributes:
        rows: What it holds; tests add to it.
        queries: What it was asked.
        deed: ``answer``; ``cut`` an answer in the middle of its second line; ``break`` it off with words of an error
            (one of a single line is whole);
            ``hang``; ``drip`` a line that does not end; ``page`` of HTML; or a number: that status.
        token: What a client must show, if anything.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.rows = list(rows)
        self.queries: list[str] = []
        self.headers: dict[str, str] = {}
        self.deed: str | int = "answer"
        self.token = ""
        super().__init__(self._handler())

    @property
    def address(self) -> str:
        """Its address for the reader."""
        return f"vlogs://{self.place}"

    def lines(self, query: str) -> Iterable[bytes]:
        """Return the lines of the answer to a query; a subclass may make them one after the other."""
        rows = Query(query).answer(list(self.rows))
        return [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for row in rows]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode(), keep_blank_values=True)
                store.headers = {name.lower(): value for name, value in self.headers.items()}
                if self.path != "/select/logsql/query":
                    self._send(400, f"unsupported path requested: {self.path!r}\n".encode())
                elif store.token and self.headers["Authorization"] != f"Bearer {store.token}":
                    self._send(401, b"missing or wrong token\n")
                elif isinstance(store.deed, int):
                    self._send(store.deed, b"told to\n")
                else:
                    self._query(form["query"][0], store.deed)

            def _query(self, query: str, deed: str) -> None:
                store.queries.append(query)
                try:
                    lines = store.lines(query)
                except QueryError as error:
                    self._send(400, f"{error}\n".encode())
                    return
                getattr(self, f"_{deed}")(lines)

            def _answer(self, lines: Iterable[bytes]) -> None:
                self._start()
                for some in batched(lines, 50):
                    self._chunk(b"".join(some))
                self._chunk(b"")

            def _cut(self, lines: list[bytes]) -> None:
                if len(lines) < 2:
                    self._answer(lines)
                    return
                self._start()
                self._chunk(lines[0] + lines[1][:20])
                self.close_connection = True

            def _break(self, lines: list[bytes]) -> None:
                if len(lines) < 2:
                    self._answer(lines)
                    return
                self._start()
                self._chunk(lines[0] + b"\ncannot execute query [...]: memory limit exceeded\n")
                self.close_connection = True

            def _hang(self, _: list[bytes]) -> None:
                store._over.wait(30)
                self.close_connection = True

            def _drip(self, _: list[bytes]) -> None:
                self._start()
                try:
                    while not store._over.is_set():
                        self._chunk(b"{" + b" " * (1 << 20))
                        time.sleep(0.001)
                except OSError:
                    self.close_connection = True

            def _page(self, _: list[bytes]) -> None:
                self._send(200, b"<html>\n<title>Welcome</title>\n</html>\n")

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _start(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/stream+json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()

            def _chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                self.wfile.flush()

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:  # the client has gone
                    self.close_connection = True

        return Handler
