"""A store answers as the files do: the same entries, whatever the way in, the filter and the size of a page."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import victorialogs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples
from victorialogs import VictoriaLogs

from metaexpert.logger import schema
from metaexpert.logger.entry.rfc5424 import render_message
from metaexpert.logs import Entry, Record, open_logs
from metaexpert.logs.orders import order_life
from metaexpert.logs.report.figures import collect_report
from metaexpert.logs.runs.reading import read_runs
from metaexpert.logs.runs.why import verdict
from metaexpert.logs.stats import collect_stats
from metaexpert.logs.store import store
from metaexpert.logs.store._entries import entry_of, value_of
from metaexpert.logs.store._logsql import quoted
from metaexpert.logs.trades import Ledger

START = datetime(2026, 11, 22, 10, 31, tzinfo=UTC)
WAYS: dict[str, Callable[[dict[str, Any]], victorialogs.Row]] = {
    "otlp": victorialogs.otlp,
    "syslog": lambda entry: victorialogs.syslog(render_message(entry)),
    "syslog with another number": lambda entry: victorialogs.syslog(render_message(entry, enterprise_id=4711)),
    "json lines": victorialogs.json_lines,
}
HOSTILE = [
    '"',
    "\\",
    'a"b\\c',
    "{x}",
    "or",
    "a|b",
    "(",
    ")",
    '") or ("',
    "line\nbreak",
    "*",
    "_time:1h",
    "é \u2028",
    "'`",
]


def entry(
    number: int, message: str = "m", level: str = "info", at: float | None = None, **fields: Any
) -> dict[str, Any]:
    """Return a flat entry as the logger writes it."""
    moment = START + timedelta(seconds=number if at is None else at)
    host, process = fields.pop("hostname", "box"), fields.pop("procid", "42")
    header = {
        "timestamp": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"), "level": level,
        "severity": schema.SEVERITIES[level], "facility": 16, "version": 1, "hostname": host, "appname": "EmaBot",
        "procid": process, "msgid": "trade" if fields.get("category") == "trade" else "log", "sequence_id": number,
        "message": message, "expert_name": fields.pop("expert_name", "EmaBot"),
    }  # fmt: skip
    return header | fields


def is_plain(text: str) -> bool:
    """Return whether *text* looks like nothing but text, and is kept: the store has no types and no empty values."""
    try:
        json.loads(text)
    except ValueError:
        return text not in ("", "NaN")
    return False


TEXTS = (
    st.sampled_from([*HOSTILE, "ord-1", "ord-12", "BTC/USDT", "tab\there", "007", "0.10"]) | st.text(max_size=8)
).filter(is_plain)
VALUES = TEXTS | st.booleans() | st.integers(-(2**70), 2**70) | st.sampled_from([0.1, 70003.5, -2.5, 1e-7])
NAMES = st.sampled_from(["note", "size", "my key", "größe", "x" * 40, "a]b", 'q"'])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "order_id": TEXTS, "trade_id": TEXTS, "symbol": TEXTS, "category": st.just("trade"),
        "nested": st.fixed_dictionaries(
            {"order_id": TEXTS, "deep": st.dictionaries(NAMES, VALUES, min_size=1, max_size=2)}
        ),
        "several": st.lists(st.integers(0, 9) | st.booleans(), max_size=3),
        "exception": st.fixed_dictionaries(
            {"type": st.just("ValueError"), "value": st.sampled_from(["9600", "true", "bad"]),
             "frames": st.just([{"file": "a.py", "line": 8, "function": "<module>", "code": "1/0"}])},
            optional={"text": st.just("Traceback …\nValueError\n")},
        ),
    },
)  # fmt: skip
CALLS = st.tuples(
    st.sampled_from([*schema.LEVEL_NUMBERS]), TEXTS | st.just(""), FIELDS, st.dictionaries(NAMES, VALUES, max_size=2),
    st.sampled_from(["ema", "rsi", "π"]), st.sampled_from([0, 0, 1e-6, 0.5, 3600.0]),
)  # fmt: skip
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "level": st.sampled_from([*schema.LEVEL_NUMBERS]),
        "order": TEXTS, "trade_id": TEXTS, "symbol": st.lists(TEXTS, min_size=1, max_size=3),
        "expert": st.sampled_from(["ema", "rsi", "π"]),
        "grep": TEXTS | st.sampled_from(["ord-1+", r"\d", "^say", "(?i)ORD", "ord-1|rsi", "timestamp"]).map(re.compile),
        "since": st.integers(0, 7200), "until": st.integers(0, 7200),
    },
)  # fmt: skip


def written(directory: Path, entries: list[dict[str, Any]]) -> Path:
    """Write *entries* as the lines of a log."""
    lines = (json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in entries)
    (directory / "expert.log").write_bytes(b"".join(line.encode() + b"\n" for line in lines))
    return directory


def flat(records: Any) -> list[dict[str, Any]]:
    return [record.flat for record in records if isinstance(record, Entry)]


@pytest.fixture(scope="module")
def served() -> Iterator[VictoriaLogs]:
    """One server for all examples."""
    with VictoriaLogs() as server:
        yield server


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(
    st.lists(CALLS, max_size=9), st.sampled_from([*WAYS]), st.lists(FILTERS, min_size=1, max_size=2),
    st.integers(1, 5), st.sampled_from([3, 7, 10_000]),
)  # fmt: skip
def test_any_filter_on_a_store_equals_that_on_the_files(
    tmp_path_factory: pytest.TempPathFactory, served: VictoriaLogs, calls: list[Any], way: str,
    filters: list[dict[str, Any]], limit: int, page: int,
) -> None:  # fmt: skip
    """Whatever was logged, whichever way it came into the store, and however small the pages are."""
    entries, seconds = [], 0.0
    for number, (level, message, fields, more, expert, step) in enumerate(calls, 1):
        seconds += step
        entries.append(entry(number, message, level, seconds, expert_name=expert, **fields, **more))
    directory = written(tmp_path_factory.mktemp("logs"), entries)
    served.rows = [WAYS[way](one) for one in entries] * 2  # senders repeat
    for chosen in filters:
        wanted: dict[str, Any] = {
            name: START + timedelta(seconds=value) if name in ("since", "until") else value
            for name, value in chosen.items()
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "PAGE", page)
            expected = flat(open_logs(directory, **wanted))
            assert flat(open_logs(served.address, **wanted)) == expected
            assert flat(open_logs(served.address, reverse=True, **wanted)) == expected[::-1]
            assert flat(open_logs(served.address, limit=limit, **wanted)) == expected[-limit:]


def told() -> list[dict[str, Any]]:
    """Return entries of two hosts: orders, trades, errors, a death."""
    made = []
    for host, shift in (("box", 0.0), ("other", 0.5)):
        for number in range(1, 60):
            order = f"{host}-{number // 4}"
            at = shift + number
            more: dict[str, Any] = {"hostname": host, "procid": str(41 + (number > 30))}
            fields: dict[str, Any] = {"symbol": "BTCUSDT", "order_id": order, **more}
            trade = {"category": "trade", "side": "BUY" if number % 8 < 4 else "SELL", **fields}
            match number % 4:
                case 0:
                    made.append(
                        entry(number, "Order placed", at=at, status="new", order_size=0.25, price=7e4 + 0.5, **trade)
                    )
                case 1:
                    made.append(entry(number, "Order acknowledged", at=at, status="acknowledged", **fields))
                case 2:
                    fill: dict[str, Any] = {"size": 0.25, "price": 70000.5 + number, "fee": 0.01}
                    fill |= {"trade_id": f"{host}-t{number}", "status": "filled"}
                    made.append(entry(number, "Order filled", at=at, **fill, **trade))
                case _:
                    error: dict[str, Any] = {"type": "ValueError", "value": str(number), "frames": []}
                    made.append(entry(number, f"Check {number}", "error", at, exception=error, **more))
    return made


@pytest.mark.parametrize("way", WAYS)
def test_every_command_on_a_store_tells_what_it_tells_of_the_files(tmp_path: Path, way: str) -> None:
    """Orders, trades, statistics, runs, the verdict and the report are equal."""
    entries = told()
    directory = written(tmp_path, entries)
    with VictoriaLogs(map(WAYS[way], entries)) as server:
        logs, stored = open_logs(directory), open_logs(server.address)
        lives = [order_life(read, "other-3").as_dict() for read in (logs, stored)]
        assert lives[0]["steps"] != []
        assert json.loads(json.dumps(lives[1]).replace(server.address, "expert.log")) == lives[0]
        ledgers = Ledger(), Ledger()
        trades = [
            [one.as_dict() for one in ledger.read(read)] for ledger, read in zip(ledgers, (logs, stored), strict=True)
        ]
        assert trades[0] == trades[1] != []
        assert ledgers[0].totals.keys() == ledgers[1].totals.keys()
        assert collect_stats(stored, ["fee"]).as_dict(9) == collect_stats(logs, ["fee"]).as_dict(9)
        runs = [[run.as_dict() for one in read_runs(read) for run in one.runs] for read in (logs, stored)]
        assert runs[0] == runs[1] != []
        verdicts = [verdict(read).as_dict() | {"directory": None} for read in (logs, stored)]
        assert verdicts[0] == verdicts[1]
        reports = [collect_report(read) | {"made": 0, "directories": 0} for read in (logs, stored)]
        assert json.loads(json.dumps(reports[1]).replace(server.address, "expert.log")) == reports[0]


OTLP = {
    "_time": "2026-11-28T01:57:14.45372Z", "_stream_id": "0", "_stream": "{host.name=\"vm\"}", "_msg": "Order filled",
    "appname": "EmaBot", "expert_name": "EmaBot", "facility": "16", "host.name": "vm", "process.pid": "1474",
    "service.name": "EmaBot", "symbol": "BTCUSDT", "version": "1", "category": "trade", "fee": "0.01", "msgid": "trade",
    "order_id": "ord-3", "price": "70053.5", "sequence_id": "54", "severity": "info", "venue.id": "53",
    "venue.name": "binance", "exception.message": "division by zero", "exception.stacktrace": "Traceback\n",
    "exception.type": "ZeroDivisionError", "exception.frames": '[{"file":"t.py","line":8,"function":"<module>"}]',
}  # fmt: skip
SYSLOG = {
    "_time": "2026-11-28T03:02:30.704973Z", "_stream_id": "0", "_stream": "{}", "_msg": "\ufeffOrder filled",
    "app_name": "SysBot", "context@32473.expert_name": "SysBot", "context@32473.order_id": "ord-0", "facility": "16",
    "facility_keyword": "local0", "format": "rfc5424", "hostname": "vm", "origin.software": "metaexpert",
    "origin.swVersion": "0.1.0", "proc_id": "1645", "fields@32473.category": "trade", "fields@32473.price": "70000.5",
    "fields@32473.note": "12", "level": "info", "meta.sequenceId": "1", "msg_id": "trade", "priority": "134",
    "severity": "6", "types@32473.json": "price",
}  # fmt: skip
LINES = {
    "_time": "2026-11-28T01:09:17Z", "_stream_id": "0", "_stream": "{}", "_msg": "Position closed",
    "appname": "ema-cross", "expert_name": "ema-cross", "facility": "16", "hostname": "vm", "procid": "3056",
    "strategy_id": "1001", "version": "1", "level": "error", "msgid": "trade", "order_id": "12345", "pnl": "9.62805678",
    "position_size": "0.0", "sequence_id": "31", "severity": "3", "masked": "1", "count": "8389765929445198309123",
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (OTLP, {
            "timestamp": "2026-11-28T01:57:14.453720Z", "level": "info", "severity": 6, "facility": 16, "version": 1,
            "hostname": "vm", "appname": "EmaBot", "procid": "1474", "msgid": "trade", "sequence_id": 54,
            "message": "Order filled", "expert_name": "EmaBot", "symbol": "BTCUSDT", "order_id": "ord-3",
            "category": "trade", "fee": 0.01, "price": 70053.5, "venue": {"id": 53, "name": "binance"},
            "exception": {"type": "ZeroDivisionError", "value": "division by zero", "text": "Traceback\n",
                          "frames": [{"file": "t.py", "line": 8, "function": "<module>"}]},
        }),
        (SYSLOG, {
            "timestamp": "2026-11-28T03:02:30.704973Z", "level": "info", "severity": 6, "facility": 16, "version": 1,
            "hostname": "vm", "appname": "SysBot", "procid": "1645", "msgid": "trade", "sequence_id": 1,
            "message": "Order filled", "expert_name": "SysBot", "order_id": "ord-0", "category": "trade",
            "price": 70000.5, "note": "12",
        }),
        (LINES, {
            "timestamp": "2026-11-28T01:09:17.000000Z", "level": "error", "severity": 3, "facility": 16, "version": 1,
            "hostname": "vm", "appname": "ema-cross", "procid": "3056", "msgid": "trade", "sequence_id": 31,
            "message": "Position closed", "expert_name": "ema-cross", "strategy_id": 1001, "order_id": "12345",
            "pnl": 9.62805678, "position_size": 0.0, "masked": 1, "count": 8389765929445198309123,
        }),
    ],
    ids=["otlp", "syslog", "json lines"],
)  # fmt: skip
def test_an_answer_of_a_real_store_is_the_entry_again(row: dict[str, str], expected: dict[str, Any]) -> None:
    """Types, objects, the level and the time are those that were logged, and the line is one of our writer."""
    found = entry_of(json.dumps(row).encode(), "store")
    assert found is not None
    assert found.data == expected
    assert json.loads(found.line) == expected
    assert found.line.startswith(
        b'{"timestamp":"%b","level":"%b",' % (expected["timestamp"].encode(), expected["level"].encode())
    )


@pytest.mark.parametrize(
    "line",
    [b"[]", b"nonsense", b'{"_time":"2026-11-28T01:09:17Z","_msg":1}', b'{"_msg":"no time"}',
     b'{"_time":"2026-11-28T01:09:17Z","_msg":"of nginx"}',
     b'{"_time":"t","sequence_id":"1","level":"info"}',
     b'{"_time":"2026-11-28T01:09:17Z","sequence_id":"1","level":"odd"}',
     b'{"_time":"2026-11-28T01:09:17Z","meta.sequenceId":"1","priority":"x"}', b"[" * 2000],
)  # fmt: skip
def test_what_is_no_entry_is_none(line: bytes) -> None:
    """Another program's lines, and lies, raise nothing."""
    assert entry_of(line, "store") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1), ("-7", -7), ("0.1", 0.1), ("1e-07", 1e-7), ("1e-7", 1e-7), ("1e+22", 1e22),
     ("true", True), ("[1,2]", [1, 2]),
     ("007", "007"), ("0.10", "0.10"), ("1e400", "1e400"), ("-0", -0.0), ("+1", "+1"), ("NaN", "NaN"), ("null", "null"),
     ("[x]", "[x]"), ('{"a":1}', '{"a":1}'), ("0.1000000000000000055", "0.1000000000000000055"), ("٣", "٣")],
)  # fmt: skip
def test_a_value_is_a_number_only_if_it_is_exactly_that(text: str, value: Any) -> None:
    """Whatever else a text looks like, it stays one; nothing is rounded."""
    found = value_of(text)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_selects_its_entries_alone(served: VictoriaLogs, text: str) -> None:
    """Quotes, braces, operators and newlines are part of the text that is searched for."""
    others = [one for one in HOSTILE if one != text]
    served.rows = [
        WAYS[way](entry(n, symbol=one, order_id=one)) for way in WAYS for n, one in enumerate([text, *others], 1)
    ]
    for found in map(flat, (open_logs(served.address, symbol=text), open_logs(served.address, order=text))):
        assert [one["symbol"] for one in found] == [text]
    assert victorialogs.Query(f"a:={quoted(text)}").answer([{"a": text}, {"a": "b"}]) == [{"a": text}]


def test_an_answer_is_taken_page_by_page(served: VictoriaLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where many entries have one time, and over years without any; each page is bounded."""
    monkeypatch.setattr(store, "PAGE", 10)
    years = 3 * 365 * 86400.0
    times = [*[0.0] * 25, *(i / 1e6 for i in range(40)), years, *[2 * years] * 12]
    entries = [entry(number, at=at) for number, at in enumerate(times, 1)]
    served.rows, served.queries = [victorialogs.otlp(one) for one in entries], []
    order = sorted(entries, key=lambda one: (one["timestamp"], one["sequence_id"]))
    assert flat(open_logs(served.address)) == order
    assert len(served.queries) < 60
    assert flat(open_logs(served.address, reverse=True)) == order[::-1]
    served.queries = []
    assert flat(open_logs(served.address, limit=3)) == order[-3:]
    assert all("limit" in query for query in served.queries[:1])


def test_files_and_stores_are_read_together(tmp_path: Path) -> None:
    """An entry that is in both is shown once, and all are in order of time."""
    entries = [entry(number) for number in range(1, 9)]
    directory = written(tmp_path, entries[::2])
    with (
        VictoriaLogs(map(victorialogs.json_lines, entries)) as one,
        VictoriaLogs(map(victorialogs.otlp, entries)) as two,
    ):
        logs = open_logs(directory, one.address, two.address)
        assert flat(logs) == entries
        assert logs.counts.entries == len(entries)
        assert flat(logs.last(3)) == entries[-3:]
        assert logs.size > 8 * 3
        assert collect_stats(open_logs(one.address)).entries == 8
        assert open_logs(one.address).present().experts["EmaBot"] > 0
        counted: list[int] = []
        assert len(list(open_logs(one.address).stored())) == 8
        replaced = open_logs(one.address)
        object.__setattr__(replaced, "progress", counted.append)
        assert len(list(replaced)) == 8
        assert counted[-1] == replaced.size


class Clock:
    """A clock of a follower that moves on by its own sleep."""

    def __init__(self) -> None:
        self.now = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_following_shows_each_entry_once_as_it_comes(served: VictoriaLogs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that came late, one that senders repeat, and after the store was away for a while."""
    clock = Clock()
    monkeypatch.setattr(store, "monotonic", lambda: clock.now)
    served.rows, served.deed = [victorialogs.otlp(entry(n)) for n in (1, 2, 20)], "answer"
    batches: Iterator[list[Record]] = open_logs(served.address).batches(last=1, sleep=clock.sleep)
    assert [one["sequence_id"] for one in flat(next(batches))] == [20]
    served.rows += [victorialogs.otlp(entry(n)) for n in (18, 20, 21)]
    assert [one["sequence_id"] for one in flat(next(batches))] == [18, 21]
    served.rows += [victorialogs.syslog(render_message(entry(n))) for n in (21, 22)]
    served.deed = 503
    back = 0.0

    def sleep(seconds: float) -> None:
        nonlocal back
        clock.now += seconds
        back += seconds
        if back > 5:
            served.deed = "answer"

    monkeypatch.setattr(clock, "sleep", sleep)
    following = open_logs(served.address).batches(last=0, sleep=sleep)
    with pytest.raises(ConnectionError, match="503"):  # at the beginning there is nothing to wait for
        next(following)
    served.deed = "answer"
    assert [one["sequence_id"] for one in flat(next(batches))] == [22]
    served.deed = 503
    with pytest.raises(ConnectionError, match="503"):  # away for longer than half a minute
        next(batches)


@pytest.mark.parametrize(
    ("deed", "words"),
    [("cut", "broke off in the middle"), ("break", "memory limit exceeded"), ("hang", "no whole answer within 0.3 s"),
     ("drip", "a line does not end"), ("page", "a page of HTML"), (400, "refuses the query (status 400): told to"),
     (500, "status 500"), (401, "wants a token, in the variable METAEXPERT_VLOGS_TOKEN"), (404, "is no VictoriaLogs"),
     (302, "is no VictoriaLogs")],
)  # fmt: skip
def test_a_failure_is_one_clear_line(
    deed: Any, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the store, and the exit code is 1; nothing of half an answer is taken for all."""
    from metaexpert.cli.app import execute

    monkeypatch.setenv("METAEXPERT_VLOGS_TIMEOUT", "0.3" if deed == "hang" else "20")
    with VictoriaLogs(victorialogs.otlp(entry(n)) for n in range(1, 4)) as server:
        server.deed = deed
        assert execute(["logs", server.address, "-n", "5"]) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert words in printed.err
        assert printed.err.startswith(f"error: {server.address} ")


def test_the_command_line_asks_a_store(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the token and the tenant of the environment; a wrong address is wrong input, as is a command on files."""
    from metaexpert.cli.app import execute

    with VictoriaLogs(map(victorialogs.otlp, told())) as server:
        server.token = "s3cret"
        monkeypatch.setenv("METAEXPERT_VLOGS_TOKEN", "s3cret")
        monkeypatch.setenv("METAEXPERT_VLOGS_TENANT", "12:34")
        assert execute(["logs", server.address, "-n", "2", "--json"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 2
        assert (server.headers["accountid"], server.headers["projectid"]) == ("12", "34")
        assert execute(["logs", "order", "box-3", server.address]) == 0
        assert "Order filled" in capsys.readouterr().out
        assert execute(["logs", server.address, "--symbol", "NONE"]) == 0
        assert "symbols BTCUSDT" in capsys.readouterr().err
        monkeypatch.setenv("METAEXPERT_VLOGS_TOKEN", "wr0ng")
        assert execute(["logs", "stats", server.address]) == 1
        assert "does not accept the token" in (err := capsys.readouterr().err)
        assert "wr0ng" not in err
        monkeypatch.setenv("METAEXPERT_VLOGS_TENANT", "x")
        assert execute(["logs", server.address]) == 1
        assert "METAEXPERT_VLOGS_TENANT" in capsys.readouterr().err
        for words in (["verify", server.address], ["vlogs://"], ["vlogs://u:p@h"], ["vlogs://h:x"], ["vlogs://h?a=b"]):
            assert execute(["logs", *words]) == 2
            assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "words"),
    [("vlogs://127.0.0.1:1", "Connection refused"), ("vlogs://no-such-host.invalid", "cannot be resolved"),
     ("vlogs+https://127.0.0.1:{port}", "SSL")],
)  # fmt: skip
def test_a_store_that_cannot_be_reached_is_said_so(served: VictoriaLogs, address: str, words: str) -> None:
    """Nobody listens, no such host, no TLS there."""
    port = served.address.rpartition(":")[2]
    with pytest.raises(ConnectionError, match=words):
        list(open_logs(address.format(port=port)))
