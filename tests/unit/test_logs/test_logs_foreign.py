"""Other loggers' files: recognised by their shape, read as entries, merged with ours; and what is no log."""

import gzip
import json
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from metaexpert.logs import Entry, Logs, Unparsed, open_logs
from metaexpert.logs.foreign.dialect import Dialect, recognise
from metaexpert.logs.foreign.explain import explain
from metaexpert.logs.foreign.files import ForeignFile, log_file
from metaexpert.logs.orders import order_life
from metaexpert.logs.reading.files import Counts, find_logs
from metaexpert.logs.runs.reading import read_runs
from metaexpert.logs.stats import collect_stats
from metaexpert.logs.trades import Ledger
from metaexpert.logs.verify import verify

Line = Callable[..., bytes]
Show = Callable[[Logs], list[tuple[str, str, str]]]
RECORDED = Path(__file__).parent / "foreign"
DAY = "2026-11-28"


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's local zone is that in which the files were recorded."""
    if not hasattr(time, "tzset"):
        pytest.skip("the zone of a process cannot be set here")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def entries(logs: Logs) -> list[Entry]:
    found = list(logs)
    assert all(isinstance(record, Entry) for record in found), found
    return [record for record in found if isinstance(record, Entry)]


def only(path: Path, *lines: str | bytes) -> Entry:
    """Return the entry that a file with these lines holds."""
    path.write_bytes(b"".join((one if isinstance(one, bytes) else one.encode()) + b"\n" for one in lines))
    (entry,) = entries(open_logs(path))
    return entry


LEVELS = {
    "bunyan.log": "debug info warning error",
    "freqtrade.log": "info info debug info warning warning error debug debug debug",
    "hummingbot.log": "debug info warning error critical",
    "logging.log": "debug info warning error critical",
    "loguru-serialize.log": "debug info warning error",
    "loguru.log": "debug info warning error",
    "nautilus-backtest.jsonl": "debug info debug debug info debug info warning info info info info info",
    "nautilus-backtest.log": "debug info debug debug info debug info warning info info info info",
    "nautilus.jsonl": "info debug warning error",
    "nautilus.log": "info debug warning error",
    "pino.log": "info warning error critical info",
    "python-json-logger.log": "debug info warning error critical info",
    "structlog-console.log": "info warning error",
    "structlog-json.log": "info warning error",
    "winston.log": "info error debug",
}


@pytest.mark.parametrize("name", LEVELS)
def test_recorded_files_are_read_as_entries(name: str, tmp_path: Path) -> None:
    """Each line of the real loggers is an entry of its level, forwards, backwards, compressed and with CRLF."""
    path = RECORDED / name
    found = entries(open_logs(path))
    assert [entry.level for entry in found] == LEVELS[name].split()
    assert all(entry.foreign and f"{entry.time:%Y-%m-%d %H}" == "2026-11-29 02" for entry in found)
    assert [entry.line for entry in open_logs(path).last(100)] == [entry.line for entry in found]
    data = path.read_bytes()
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"))
    for other in (tmp_path / name, tmp_path / f"{name}.gz"):
        assert [entry.line for entry in entries(open_logs(other))] == [entry.line for entry in found]


def test_the_same_directory_holds_ours_and_theirs(tmp_path: Path, line: Line) -> None:
    """Files of several loggers are merged by time with ours, filtered, and each says whose it is."""
    for path in RECORDED.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "expert.log").write_bytes(line(1, "ours", level="error"))
    logs = open_logs(tmp_path)
    found = entries(logs)
    assert len(found) == sum(len(levels.split()) for levels in LEVELS.values()) + 1
    assert [entry.time for entry in found] == sorted(entry.time for entry in found)
    errors = entries(open_logs(tmp_path, level="error"))
    assert {entry.level for entry in errors} == {"error", "critical"}
    assert len(errors) == sum(levels.count("error") + levels.count("critical") for levels in LEVELS.values()) + 1
    assert {entry.expert for entry in entries(logs.filter(expert="freqtrade"))} == {"freqtrade"}
    assert {entry.expert for entry in entries(logs.filter(order="ord-1"))} >= {"pino", "bunyan", "structlog-json"}
    about = {entry.expert for entry in entries(logs.filter(symbol="BTC/USDT"))}
    assert about == {"freqtrade", "hummingbot", "logging", "python-json-logger"}
    assert collect_stats(logs).entries == len(found)
    assert collect_stats(logs).unparsed == 0


def test_a_traceback_belongs_to_its_entry() -> None:
    """The lines below an entry are its exception, or more of its message."""
    for name in ("freqtrade.log", "loguru.log", "structlog-console.log", "loguru-serialize.log"):
        (entry,) = entries(open_logs(RECORDED / name, grep="no price for"))
        exception = entry.data["exception"]
        assert (exception["type"], exception["value"]) == ("ValueError", "no price for 'BTCUSDT'")
        assert exception["text"].startswith("Traceback (most recent call last):\n")
    assert entries(open_logs(RECORDED / "hummingbot.log"))[-1].text == "two\nlines"


@pytest.mark.parametrize("name", ["nautilus-backtest.log", "nautilus-backtest.jsonl"])
def test_a_backtest_of_nautilus_is_of_its_trader(name: str) -> None:
    """A file of each run has the run's id in its name; the trader is the expert. Colours are no part of a message."""
    found = entries(open_logs(RECORDED / name))
    assert {entry.expert for entry in found} == {"TRADER-001"}
    assert {str(entry.get("logger")) for entry in found} >= {"OrderMatchingEngine(BINANCE)", "Buy", "Portfolio"}
    assert not any("\x1b" in entry.text or "TRADER-001" in entry.text for entry in found)


JSON_LINES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"@timestamp": f"{DAY}T10:00:00.5Z", "log.level": "WARN", "message": "m"}, "10:00:00.500000", "warning", "m"),
    ({"@timestamp": f"{DAY}T10:00:00Z", "log": {"level": "error"}, "message": "m"}, "10:00:00.000000", "error", "m"),
    ({"ts": 1795860000.25, "level": "fatal", "msg": "m"}, "10:00:00.250000", "critical", "m"),
    ({"ts": "1795860000.123456", "lvl": "panic", "msg": "m"}, "10:00:00.123456", "critical", "m"),
    ({"time": 1795860000, "level": "trace", "message": "m"}, "10:00:00.000000", "debug", "m"),
    ({"time": 1795860000123456, "level": "warn", "message": "m"}, "10:00:00.123456", "warning", "m"),
    ({"time": 1795860000123456789, "level": "warn", "message": "m"}, "10:00:00.123457", "warning", "m"),
    ({"time": f"{DAY}T12:00:00+02:00", "level": "INFO+2", "msg": "m"}, "10:00:00.000000", "info", "m"),
    ({"time": f"{DAY}T12:00:00.000+0200", "level": 50, "msg": "m", "pid": 1, "hostname": "h"}, "10:00:00.000000",
     "error", "m"),
    ({"asctime": f"{DAY} 11:00:00,007", "levelname": "WARNING", "message": "m"}, "10:00:00.007000", "warning", "m"),
    ({"asctime": f"{DAY} 11:00:00", "levelno": 50, "message": "m"}, "10:00:00.000000", "critical", "m"),
    ({"timestamp": f"{DAY} 11:00:00.1", "level": "warning", "event": "m"}, "10:00:00.100000", "warning", "m"),
    ({"timestamp": f"{DAY}T10:00:00Z", "severity": "NOTICE", "textPayload": "m"}, "10:00:00.000000", "info", "m"),
    ({"timestamp": {"seconds": 1795860000, "nanos": 5000000}, "severity": 500, "message": "m"}, "10:00:00.005000",
     "error", "m"),
    ({"timestamp": 1795860000.5, "level": 3, "short_message": "m", "version": "1.1", "host": "h"}, "10:00:00.500000",
     "error", "m"),
    ({"Timestamp": f"{DAY}T10:00:00Z", "Level": "Information", "Message": "m"}, "10:00:00.000000", "info", "m"),
    ({"@t": f"{DAY}T10:00:00.1234567Z", "@l": "Error", "@mt": "m"}, "10:00:00.123456", "error", "m"),
    ({"date": f"{DAY}T10:00:00 UTC", "severity": "4", "text": "m"}, "10:00:00.000000", "warning", "m"),
    ({"time": f"{DAY}T10:00:00Z", "level": "info", "msg": {"a": 1}}, "10:00:00.000000", "info", '{"a": 1}'),
]  # fmt: skip


@pytest.mark.parametrize(("data", "clock", "level", "text"), JSON_LINES)
def test_keys_times_and_levels_of_all_kinds(
    data: dict[str, Any], clock: str, level: str, text: str, tmp_path: Path
) -> None:
    """Time, level and message are found under each usual name, whatever their form."""
    entry = only(tmp_path / "bot.log", json.dumps({**data, "order_id": 12345678901234567890123}))
    assert (f"{entry.time:%H:%M:%S.%f}", entry.level, entry.text) == (clock, level, text)
    assert entry.get("order_id") in (12345678901234567890123, 1.2345678901234568e22)
    assert entry.expert == "bot"


TEXT_LINES = [
    (f"{DAY} 11:00:00,123 - a.b - WARNING - m", "warning", "a.b", "m"),
    (f"{DAY} 11:00:00,123 - ERROR - m", "error", None, "m"),
    (f"{DAY} 11:00:00,123 ERROR m", "error", None, "m"),
    (f"{DAY} 11:00:00,123 ERROR    a.b: m", "error", "a.b", "m"),
    (f"{DAY} 11:00:00,123 a.b ERROR m", "error", "a.b", "m"),
    (f"{DAY} 11:00:00,123 [ERROR] m", "error", None, "m"),
    (f"{DAY} 11:00:00,123 [a.b] ERROR: m", "error", "a.b", "m"),
    (f"[{DAY} 11:00:00,123] ERROR in a.b: m", "error", "a.b", "m"),
    (f"[{DAY} 11:00:00 +0100] [12] [ERROR] m", "error", None, "m"),
    (f"[{DAY} 11:00:00,123: ERROR/MainProcess] m", "error", None, "m"),
    (f"{DAY} 11:00:00,123:ERROR:a.b:m", "error", "a.b", "m"),
    (f"{DAY} 11:00:00,123 | ERROR | a.b | m", "error", "a.b", "m"),
    (f"{DAY} 11:00:00.123 | CRITICAL | a.b:f:12 - m", "critical", "a.b", "m"),
    (f"{DAY}T10:00:00.123456Z  WARN a::b: m", "warning", "a::b", "m"),
    (f"[{DAY}T10:00:00Z ERROR a] m", "error", "a", "m"),
    (f"{DAY} 11:00:00.123  ERROR 12 --- [main] c.e.App  : m", "error", "c.e.App", "m"),
    (f"{DAY} 11:00:00,123 [main] FATAL c.e.App - m", "critical", "c.e.App", "m"),
    (f'{DAY}T11:00:00.000+0100\terror\tbot/a.go:12\tm\t{{"a": 1}}'.replace("error", "ERROR"), "error", None, "m"),
    (f"ERROR {DAY} 11:00:00,123 views 12 140 m", "error", "views", "m"),
    (f"[ERROR] {DAY} 11:00:00,123 m", "error", None, "m"),
    (f"{DAY.replace('-', '/')} 11:00:00 ERROR: m", "error", None, "m"),
    (f"{DAY} 11:00:00 [error    ] m                              symbol=BTCUSDT", "error", None, "m"),
    (f"\x1b[2m{DAY} 11:00:00\x1b[0m [\x1b[31merror    \x1b[0m] m", "error", None, "m"),
    (f'time="{DAY}T11:00:00+01:00" level=error msg=m symbol=BTCUSDT', "error", None, "m"),
    (f'time={DAY}T10:00:00.000Z level=ERROR msg="m" a="b c"', "error", None, "m"),
]


@pytest.mark.parametrize(("text", "level", "logger", "message"), TEXT_LINES)
def test_usual_layouts_of_text(text: str, level: str, logger: str | None, message: str, tmp_path: Path) -> None:
    """A line of text in a usual layout has its time, level, logger and message; the local zone where it names none."""
    entry = only(tmp_path / "bot.log", text)
    assert (f"{entry.time:%Y-%m-%d %H:%M:%S}", entry.level) == (f"{DAY} 10:00:00", level)
    assert (entry.get("logger"), entry.text) == (logger, message)
    assert "symbol" not in text or entry.get("symbol") == "BTCUSDT"


NO_LOGS = {
    "package.json": '{\n  "name": "bot",\n  "version": "1.0.0",\n  "message": "m"\n}\n',
    "data.jsonl": "".join(f'{{"time": {1795860000 + n}, "open": 1.5, "level": 2, "event": "bar"}}\n' for n in range(5)),
    "prices.json": f'[{{"timestamp": "{DAY}T10:00:00Z", "close": 1.5}}]\n',
    "book.jsonl": f'{{"timestamp": "{DAY}T10:00:00Z", "level": 10, "text": "bid"}}\n',
    "news.jsonl": f'{{"date": "{DAY}T10:00:00Z", "severity": "high", "event": "FOMC"}}\n',
    "half.jsonl": f'{{"time": "{DAY}T10:00:00Z", "level": "info", "msg": "m"}}\n{{"price": 1}}\n',
    "notes.txt": f"{DAY} 10:00:00,123 - a - INFO - m\n",
}


def test_what_is_no_log_for_certain_is_left_alone(tmp_path: Path, line: Line) -> None:
    """A directory's other JSON is not read, and a log of an unknown form is told as it always was."""
    for name, text in NO_LOGS.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "expert.log").write_bytes(line(1))
    (tmp_path / "other.log").write_text(f"{DAY} 10:00:00 Connection error while reading\nINFO:root:no time\n")
    logs = open_logs(tmp_path)
    found = list(logs)
    assert [record.text for record in found if isinstance(record, Unparsed)] == [
        f"{DAY} 10:00:00 Connection error while reading",
        "INFO:root:no time",
    ]
    assert [record.text for record in found if isinstance(record, Entry)] == ["m"]
    explained = {one.file.name: (one.format, one.lines) for one in explain([tmp_path])}
    assert explained == {
        "book.jsonl": ("not recognised", "not read"),
        "data.jsonl": ("not recognised", "not read"),
        "expert.log": ("metaexpert", "entries"),
        "half.jsonl": ("JSON", "not read"),
        "news.jsonl": ("not recognised", "not read"),
        "other.log": ("not recognised", "shown as found"),
        "package.json": ("not recognised", "not read"),
        "prices.json": ("not recognised", "not read"),
    } | {"half.jsonl": ("logrus or slog JSON", "not read")}


def test_json_behind_a_banner(tmp_path: Path) -> None:
    """A banner is told as it is; the lines of JSON behind it are entries."""
    (tmp_path / "bot.jsonl").write_text(
        f'*** bot 1.2 ***\n\n{{"time":"{DAY}T10:00:00Z","level":"warn","msg":"m"}}\n{{"time":"{DAY}T10:00:01Z"\n'
    )
    kinds = [(type(record).__name__, record.text) for record in open_logs(tmp_path / "bot.jsonl")]
    assert kinds == [("Unparsed", "*** bot 1.2 ***"), ("Entry", "m"), ("Unparsed", f'{{"time":"{DAY}T10:00:01Z"')]


def test_orders_and_trades_take_nothing_that_is_not_sure(tmp_path: Path, line: Line) -> None:
    """Another logger's entry about an order is shown with it and counts as nothing; trades and runs leave it out."""
    ours = line(1, "Order filled", order_id="ord-1", side="BUY", size=0.5, price=10.0, category="trade", symbol="X")
    (tmp_path / "expert.log").write_bytes(ours)
    (tmp_path / "bot.log").write_text(
        json.dumps({"time": f"{DAY}T10:00:00Z", "level": "info", "msg": "Order filled", "order_id": "ord-1",
                    "side": "BUY", "size": 7, "price": 9, "category": "trade", "client_order_id": "client-7"})
        + "\n" + json.dumps({"time": f"{DAY}T10:00:01Z", "level": "info", "msg": "x", "client_order_id": "client-7"})
        + "\n"
    )  # fmt: skip
    life = order_life(open_logs(tmp_path), "ord-1")
    assert [(step.step, step.entry.expert) for step in life.steps] == [("filled", "EmaBot"), ("note", "bot")]
    assert (str(life.filled), life.ids) == ("0.5", {"ord-1"})
    assert [str(one.size) for one in Ledger().read(open_logs(tmp_path))] == ["0.5"]
    (directory,) = read_runs(open_logs(tmp_path))
    assert [set(run.experts) for run in directory.runs] == [{"EmaBot"}]
    assert verify(open_logs(tmp_path)).counts == {}


def test_a_clock_set_back_takes_the_first_of_the_two_hours(tmp_path: Path) -> None:
    """On 25 October 2026, 02:30 comes twice in Berlin; the first is 00:30 UTC. An hour that never comes is read too."""
    assert only(tmp_path / "a.log", "2026-10-25 02:30:00,000 - a - INFO - m").timestamp == "2026-10-25T00:30:00.000000Z"
    assert only(tmp_path / "a.log", "2026-03-29 02:30:00,000 - a - INFO - m").timestamp == "2026-03-29T01:30:00.000000Z"


def test_own_levels_and_names_are_kept(tmp_path: Path) -> None:
    """A level of the user's own is info with its name; a field with a name of our header is kept beside it."""
    path = tmp_path / "bot.log"
    path.write_text(f"{DAY} 10:00:00,123 - a - INFO - m\n{DAY} 10:00:00,124 - a - AUDIT - paid\n")
    audit = entries(open_logs(path))[1]
    assert (audit.level, audit.get("level_name"), audit.text) == ("info", "AUDIT", "paid")
    entry = only(path, json.dumps({"time": f"{DAY}T10:00:00Z", "level": "info", "msg": "m", "severity": 3, "msgid": 1}))
    assert (entry.get("field_severity"), entry.get("field_msgid")) == (3, 1)


def test_new_lines_are_followed(tmp_path: Path, line: Line) -> None:
    """A file that is recognised, begun or new while it is followed gives entries, tracebacks included."""
    (tmp_path / "expert.log").write_bytes(line(1))
    (tmp_path / "bot.log").touch()
    batches = open_logs(tmp_path).batches(last=1, sleep=lambda _: None)
    assert [record.text for record in next(batches)] == ["m"]
    with (tmp_path / "bot.log").open("a") as file:
        file.write(f"{DAY} 11:00:00,1 - a - ERROR - bad\nTraceback (most recent call last):\nValueError: x\n")
    (record,) = next(batches)
    assert isinstance(record, Entry)
    assert record.data["exception"]["value"] == "x"
    (tmp_path / "data.jsonl").write_text(NO_LOGS["data.jsonl"])
    (tmp_path / "web.jsonl").write_text(f'{{"time":"{DAY}T10:00:00Z","level":"warn","msg":"new"}}\n')
    assert [(type(one), one.text) for one in next(batches)] == [(Entry, "new")]
    assert isinstance(batches, Generator)
    batches.close()


def test_a_file_alone(tmp_path: Path, line: Line) -> None:
    """A file stands for itself, whatever it is called; ours as well, with its backups left out."""
    (tmp_path / "expert.log").write_bytes(line(2))
    (tmp_path / "expert.log.1").write_bytes(line(1))
    (tmp_path / "out.txt").write_text(f"{DAY} 11:00:00,1 - a - ERROR - bad\n")
    assert [record.key[1] for record in open_logs(tmp_path / "expert.log")] == [2]
    assert [record.key[1] for record in open_logs(tmp_path / "expert.log.1")] == [1]
    assert [entry.text for entry in entries(open_logs(tmp_path / "out.txt"))] == ["bad"]
    assert len(list(open_logs(tmp_path / "out.txt", tmp_path, tmp_path / "expert.log"))) == 3


_PARTS = st.sampled_from(
    [f"{DAY} 11:00:00,1 - a - INFO - one", f"{DAY} 11:00:02,1 - b - ERROR - two", "Traceback (most recent call last):",
     "  File x", "", "ValueError: é", '{"a": 1}', "x" * 200]
)  # fmt: skip


@settings(max_examples=examples(100), deadline=None)
@given(parts=st.lists(_PARTS, min_size=1, max_size=60), block=st.integers(20, 400))
def test_pieces_do_not_show(parts: list[str], block: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """However a file is cut into pieces, forwards or backwards, its entries are those of the whole."""
    parts = [f"{DAY} 11:00:00,0 - a - INFO - first", *parts]
    path = tmp_path_factory.mktemp("pieces") / "bot.log"
    data = "".join(f"{part}\n" for part in parts).encode()
    path.write_bytes(data)
    file = log_file(find_logs(path, diagnostics=False)["bot.log"][0])
    assert isinstance(file, ForeignFile)
    whole = file.dialect.translate(data, "bot")
    assert b"".join(piece.data for piece in file.pieces(Counts(), block)) == whole
    for piece in list(file.pieces(Counts(), block)):
        assert file.piece(piece.offset, piece.length, Counts()) == piece.data
    assert b"".join(list(file.backward(Counts()))[::-1]) == whole
    file.close()


@settings(max_examples=examples(300), deadline=None)
@given(head=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_can_be_looked_at(head: bytes) -> None:
    """Nothing in a file makes the look at it fail."""
    start = f'{{"time": "{DAY}T10:00:00Z", "level": "info", "msg": "m"}}\n{DAY} 11:00:00,1 - a - INFO - m\n'.encode()
    dialect = recognise(start + head)
    assert isinstance(dialect, Dialect)
    assert dialect.translate(start + head, "bot").count(b'"sequence_id":0,') >= 2
    recognise(head)
