"""Any filter on any entries gives what a plain loop over `json.loads` gives, in order of time."""

import gzip
import json
import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples

from metaexpert.logger import MetaLogger, schema
from metaexpert.logger.entry.rfc5424 import from_layout
from metaexpert.logger.files import _indexer, archive
from metaexpert.logger.files._rotating_file import RotatingFile
from metaexpert.logger.files.archive import Archivist
from metaexpert.logger.files.rotation import RotationPolicy
from metaexpert.logger.system.locks import DirectoryLock
from metaexpert.logger.testing import reset
from metaexpert.logs import Entry, Record, Unparsed, open_logs
from metaexpert.logs.reading import _survey, merge, search
from metaexpert.logs.runs.names import orders_in

Line = Callable[..., bytes]

TEXTS = st.sampled_from(
    ["ord-1", "ord-12", "BTC/USDT", 'say "hi"', "a\\b", "tab\there", "é\u2028\x85", "1", "true", ""]
) | st.text(max_size=12)
CALLS = st.fixed_dictionaries(
    {"level": st.sampled_from(["debug", "info", "warning", "error", "critical"]), "message": TEXTS},
    optional={
        "order_id": TEXTS | st.integers(0, 3) | st.none(),
        "trade_id": TEXTS,
        "symbol": TEXTS,
        "category": st.just("trade"),
        "note": st.dictionaries(TEXTS, TEXTS, max_size=2),
        "nested": st.fixed_dictionaries({"order_id": TEXTS, "timestamp": st.just("2026-01-01T00:00:00.000000Z")}),
    },
)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "level": st.sampled_from(["debug", "info", "warning", "error", "critical"]),
        "order": TEXTS,
        "trade_id": TEXTS,
        "symbol": st.lists(TEXTS, min_size=1, max_size=5),
        "expert": st.sampled_from(["ema", "rsi", "π"]),
        "grep": TEXTS.filter(bool) | st.sampled_from(["ord-1+", r"\d", "^say", "(?i)SAY"]).map(re.compile),
        "since": st.integers(0, 40),
        "until": st.integers(0, 40),
    },
)
#: Seconds from one call to the next; large ones back are those of a recovery, or of a clock that was put right.
STEPS = st.integers(-5, 9) | st.sampled_from([-35, 35])
START = datetime(2026, 11, 22, 10, 31, tzinfo=UTC)


def naive(files: Iterable[Path], wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """The plain loop: decode everything, judge it, leave out copies, sort by time and number."""
    found: dict[Any, dict[str, Any]] = {}
    for path in files:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in data.split(b"\n")[:-1]:
            entry = from_layout(json.loads(line))
            key = (entry["timestamp"], entry["sequence_id"], entry["procid"])
            if passes(line.decode(), entry, wanted):
                found[key] = entry
    return [found[key] for key in sorted(found)]


def passes(line: str, entry: dict[str, Any], wanted: dict[str, Any]) -> bool:
    for name, value in wanted.items():
        if name == "level":
            ok = schema.LEVEL_NUMBERS[entry["level"]] >= schema.LEVEL_NUMBERS[value]
        elif name in ("since", "until"):
            time = datetime.fromisoformat(entry["timestamp"])
            ok = time >= value if name == "since" else time <= value
        elif name == "grep":
            search = value.search if isinstance(value, re.Pattern) else lambda text, value=value: value in text
            ok = any(map(search, [line, *strings(json.loads(line))]))
        elif name == "expert":
            ok = (entry.get("expert_name") or entry["appname"]) == value
        else:
            field = entry.get({"order": "order_id"}.get(name, name))
            values = {value} if isinstance(value, str) else set(value)
            ok = field is not None and str(field) in values
            ok = ok or (name == "order" and any(values & order.texts for order in orders_in(entry)))
        if not ok:
            return False
    return True


def strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    for item in [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from strings(item)


def flat(records: Iterable[Record]) -> list[dict[str, Any]]:
    return [record.flat for record in records if isinstance(record, Entry)]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(CALLS, st.sampled_from(["ema", "rsi", "π"]), STEPS), max_size=25),
    st.sampled_from(["flat", "rfc5424"]),
    st.lists(FILTERS, min_size=1, max_size=4),
    st.integers(0, 12),
    st.sampled_from(["plain", "compressed", "rotated", "rotated and compressed"]),
)
def test_any_filter_equals_the_plain_loop(
    tmp_path_factory: pytest.TempPathFactory,
    calls: list[tuple[dict[str, Any], str, int]],
    layout: Any,
    filters: list[dict[str, Any]],
    limit: int,
    kept: str,
) -> None:
    """Whatever was logged, by several experts, with a clock that jumps, in either layout, any filter finds it.

    Also where the files were rotated, compressed and indexed as the logger does it.
    """
    directory = tmp_path_factory.mktemp("logs")
    write(directory, calls, layout, compress=kept == "compressed")
    if kept.startswith("rotated"):
        rotate(directory, compress=kept.endswith("compressed"))
    # Where the clock stepped back over the end of a file, last is what stands at the ends.
    in_order = not kept.startswith("rotated") or all(step >= 0 for _, _, step in calls)
    files = [*directory.glob("*.log*")]
    for chosen in filters:
        wanted: dict[str, Any] = {
            name: START + timedelta(seconds=value) if name in ("since", "until") else value
            for name, value in chosen.items()
        }
        expected = naive(files, wanted)
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            assert flat(open_logs(directory, **wanted)) == expected
            assert flat(open_logs(directory, reverse=True, **wanted)) == expected[::-1]
            last = flat(open_logs(directory, limit=limit, **wanted))
            assert last == (expected[-limit:] if limit else []) if in_order else len(last) == min(limit, len(expected))
            assert all(entry in expected for entry in last)
            patch.setattr(merge, "KEPT_LIMIT", 3000)
            patch.setattr(merge, "MEMORY_LIMIT", 2000)  # what is found does not fit into the memory: the other way
            patch.setattr(_survey, "_SMALLEST", 700)
            patch.setattr(_survey, "_OPEN", 700)
            logs = open_logs(directory, **wanted)
            got = flat(logs)
            assert logs.counts.unordered or got == expected
            assert sorted(got, key=str) == sorted(expected, key=str)


def write(directory: Path, calls: list[tuple[dict[str, Any], str, int]], layout: Any, *, compress: bool) -> None:
    """Log the calls, then give the lines other times, so that the clock goes as the test wants it."""
    loggers = {
        name: MetaLogger(
            expert_name=name, log_dir=directory, layout=layout, log_level="INFO", log_to_console=False,
            async_logging=False, log_file=f"{number}.log", capture_stdlib=False, capture_warnings=False, install=False,
        )
        for number, name in enumerate(["ema", "rsi", "π"])
    }  # fmt: skip
    for call, name, _ in calls:
        fields = dict(call)
        logger, level = loggers[name], fields.pop("level")
        if fields.pop("category", None):
            logger = logger.trade
        getattr(logger, level)(fields.pop("message"), **fields)
    reset()
    seconds = 0
    times = {}
    for number, (_, _, step) in enumerate(calls, 1):
        seconds = max(0, seconds + step)
        times[number] = START + timedelta(seconds=seconds)
    for path in directory.glob("*.log"):
        lines = path.read_bytes().splitlines(keepends=True) if path.name != "logging_errors.log" else []
        path.write_bytes(b"".join(moved(line, times) for line in lines))
        if compress and path.name == "0.log":
            path.with_name("0.log.1.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.write_bytes(b"")


def rotate(directory: Path, *, compress: bool) -> None:
    """Write all files anew, as the logger does: rotated after some lines, their backups compressed and indexed."""
    troubles: list[object] = []
    private = directory / schema.PRIVATE_DIRECTORY
    lock = DirectoryLock(private / "lock")
    archivist = Archivist(directory, private, lock, lambda *what: troubles.append(what))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_indexer, "STRETCH", 900)
        patch.setattr(_indexer, "PIECE", 300)
        patch.setattr(archive, "_PIECE", 300)
        for path in directory.glob("*.log"):
            lines = path.read_bytes().splitlines(keepends=True)
            path.unlink()
            archivist.bases |= {path.name}
            archivist.compressed |= {path.name} if compress else set()
            sink = RotatingFile(path, RotationPolicy(2000, 99), lock)
            for line in lines:
                sink.write(memoryview(line))
            sink.close()
        archivist.work()
    lock.close()
    assert troubles == []
    with open_logs(directory).opened() as logs:
        assert all(bool(file.spans) == bool(file.name.number) for log in logs for file in log.files)


def moved(line: bytes, times: dict[int, datetime]) -> bytes:
    number = json.loads(line)["sequence_id"]
    return b'{"timestamp":"' + times[number].strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode() + line[41:]


def test_a_recovered_stretch_is_found_by_time(tmp_path: Path, line: Line) -> None:
    """Entries that recovery appended hours late, amid later ones, are found by their time and stand in their place."""
    late = [line(n, "late", at=n / 10) for n in range(100, 200)]
    lines = [line(n, "x" * 200, at=3600 + n) for n in range(1, 9000)]
    (tmp_path / "expert.log").write_bytes(b"".join([*lines[:4500], *late, *lines[4500:]]))
    (tmp_path / "expert.log.1").write_bytes(b"".join(line(n, "early", at=n / 10) for n in range(1, 100)))
    start = datetime(2026, 11, 22, 10, 31, tzinfo=UTC)
    found = open_logs(tmp_path, since=start + timedelta(seconds=9.5), until=start + timedelta(seconds=30))
    assert [record.key[1] for record in found] == list(range(95, 200))
    assert [record.text for record in open_logs(tmp_path)][:199] == ["early"] * 99 + ["late"] * 100


def test_stretches_outside_the_time_are_not_decoded(
    tmp_path: Path, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range of time decodes the lines of the stretches that touch it, not the whole file."""
    (tmp_path / "expert.log").write_bytes(b"".join(line(n, "x" * 300) for n in range(1, 20_000)))
    decoded: list[Entry] = []

    def noted(entry: Entry) -> Entry:
        decoded.append(entry)
        return entry

    monkeypatch.setattr(search, "checked", noted)
    start = datetime(2026, 11, 22, 10, 31, tzinfo=UTC) + timedelta(seconds=15_000)
    logs = open_logs(tmp_path, since=start, until=start + timedelta(seconds=9), level="warning")
    assert list(logs) == []
    logs = open_logs(tmp_path, since=start, until=start + timedelta(seconds=9), grep=re.compile("x"))
    assert len(list(logs)) == 10
    assert len(decoded) < 5000


def test_torn_lines_pass_where_they_hold_what_is_asked_for(tmp_path: Path, line: Line) -> None:
    """A torn line has no level and passes that filter; another it passes when its text has the value."""
    torn = line(2, "gone", order_id="ord-7")[:-2] + b"\n"
    (tmp_path / "expert.log").write_bytes(line(1, order_id="ord-7") + torn + line(3, order_id="ord-8"))
    cases: tuple[dict[str, Any], ...] = (
        {"order": "ord-7"},
        {"grep": "gone"},
        {"level": "error"},
        {"grep": re.compile("gon.")},
    )
    for wanted in cases:
        found = [record for record in open_logs(tmp_path, **wanted) if isinstance(record, Unparsed)]
        assert [record.line for record in found] == [torn.rstrip()], wanted
    assert not [record for record in open_logs(tmp_path, order="ord-8") if isinstance(record, Unparsed)]


def test_filters_narrow_one_after_another(tmp_path: Path, line: Line) -> None:
    """A second filter keeps only what the first one kept."""
    lines = [line(n, symbol="BTC" if n % 2 else "ETH", order_id=n % 3) for n in range(1, 13)]
    (tmp_path / "expert.log").write_bytes(b"".join(lines))
    logs = open_logs(tmp_path, symbol=["BTC", "XRP"]).filter(order="0").filter(symbol="BTC")
    assert [record.key[1] for record in logs] == [3, 9]
    assert list(logs.filter(symbol="ETH")) == []
    assert open_logs(tmp_path).filter() == open_logs(tmp_path)


def test_values_written_with_escapes_are_found(tmp_path: Path) -> None:
    """A foreign writer may escape what it likes: the value decides, not its spelling."""
    text = r'{"timestamp":"2026-11-22T10:31:00Z","level":"info","message":"m","order_id":"ord\u002d1\/a"}'
    (tmp_path / "other.log").write_text(text + "\n")
    assert len(list(open_logs(tmp_path, order="ord-1/a"))) == 1
    assert len(list(open_logs(tmp_path, grep="d-1/"))) == 1


@pytest.mark.parametrize("text", [r"m\d+$", "^m4", r"\Am42\Z", "^price$", r"m42(?!.)", r"(?<!.)m4"])
def test_an_expression_may_ask_where_a_text_ends(tmp_path: Path, line: Line, text: str) -> None:
    """The ends of a message, key or value count, not only those of the line."""
    (tmp_path / "expert.log").write_bytes(line(1, "m42", price="7") + line(2, "m42 x", cost="7"))
    found = [record.key[1] for record in open_logs(tmp_path, grep=re.compile(text))]
    assert found == ([1, 2] if text in ("^m4", "(?<!.)m4") else [1])


def test_several_directories_are_one_story(tmp_path: Path, line: Line) -> None:
    """Directories given together are merged by time, and each record tells where it stands."""
    for name, number in (("a", 1), ("b", 2), ("a", 3)):
        (tmp_path / name).mkdir(exist_ok=True)
        with (tmp_path / name / "expert.log").open("ab") as file:
            file.write(line(number))
    got = list(open_logs(tmp_path / "a", tmp_path / "b"))
    assert [record.key[1] for record in got] == [1, 2, 3]
    assert [record.file for record in got] == [str(tmp_path / name / "expert.log") for name in "aba"]


@pytest.mark.parametrize("depth", [500, 1500])
def test_deep_lines_are_searched(tmp_path: Path, depth: int) -> None:
    """A line nested deeper than Python's recursion goes is searched, or shown as it is."""
    nest = "[" * depth + r'"a\"b"' + "]" * depth
    text = '{"timestamp":"2026-11-22T10:31:00.000000Z","level":"info","message":"m","x":' + nest + "}\n"
    (tmp_path / "deep.log").write_text(text)
    assert len(list(open_logs(tmp_path, grep=re.compile("m")))) == 1
