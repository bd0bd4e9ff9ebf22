"""OTLP over HTTP against a receiver made of the official protobuf definitions, and trace ids on entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from collector import Collector
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from waiting import eventually

from metaexpert.logger import ConfigurationError, MetaLogger
from metaexpert.logger.config import _remote

SEVERITIES = {5: "debug", 9: "info", 13: "warning", 17: "error", 21: "critical"}


class Receiver(Collector):
    """A collector that keeps what it takes as entries."""

    def __init__(self) -> None:
        super().__init__(self.take)
        self.entries: list[dict[str, Any]] = []

    def take(self, request: ExportLogsServiceRequest) -> None:
        """Turn records back into entries, by the specification alone."""
        for group in request.resource_logs:
            resource = {item.key: plain(item.value) for item in group.resource.attributes}
            for scope in group.scope_logs:
                self.entries += [entry_of(record, resource, scope.scope.name) for record in scope.log_records]


def plain(value: Any) -> Any:
    """Return an AnyValue as Python's."""
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return {item.key: plain(item.value) for item in value.kvlist_value.values}
    if kind == "array_value":
        return [plain(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def entry_of(record: Any, resource: dict[str, Any], scope: str) -> dict[str, Any]:
    """Return the entry that a record tells of."""
    attributes = {item.key: plain(item.value) for item in record.attributes}
    names = {"exception.type": "type", "exception.message": "value", "exception.stacktrace": "text"}
    error = {short: attributes.pop(name) for name, short in names.items() if name in attributes}
    if error:
        attributes["exception"] = {**error, **attributes.get("exception", {})}
    moment = datetime(1970, 1, 1) + timedelta(microseconds=record.time_unix_nano // 1000)
    entry = {
        "timestamp": moment.isoformat(timespec="microseconds") + "Z",
        "level": SEVERITIES[record.severity_number],
        "message": plain(record.body),
        "hostname": resource["host.name"],
        "procid": str(resource["process.pid"]),
        **attributes,
    }
    assert record.severity_text == entry["level"]
    assert resource["service.name"] == entry["expert_name"]
    if record.trace_id:
        entry |= {"trace_id": record.trace_id.hex(), "span_id": record.span_id.hex()}
    return entry if scope == "metaexpert.logger" else {**entry, "logger": scope}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Return a running collector."""
    with Receiver() as running:
        yield running


def make(receiver: Receiver, **more: Any) -> Any:
    """Return a logger that exports to *receiver*."""
    return MetaLogger(expert_name="EmaBot", otlp_endpoint=f"http://{receiver.place}", log_to_console=False, **more)


def compare(received: list[dict[str, Any]], sources: list[dict[str, Any]]) -> None:
    """Hold decoded records against the entries in the file."""
    by_number = {entry["sequence_id"]: entry for entry in received}
    assert len(by_number) == len(received) == len(sources)
    for source in sources:
        assert by_number[source["sequence_id"]] == {k: v for k, v in source.items() if k != "severity"}


def test_records_equal_the_entries(receiver: Receiver, read_log: Callable[..., Any]) -> None:
    """Every level, type, nesting and exception arrives as the record that the specification wants, nothing left out."""
    logger = make(receiver, log_level="DEBUG", symbol="BTCUSDT")
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, level)("Ü message", n=1, f=1.5, b=True, none=None, nested={"a": [1, {"b": None}]}, text="🚀")
    logger.trade.info("Opened", side="BUY", huge=2**70)
    try:
        raise ValueError("boom")
    except ValueError:
        logger.exception("Order failed")
    eventually(lambda: len(receiver.entries) == 7)
    assert logger.close()
    sources = read_log("logs/expert.log")
    sources[5]["huge"] = str(2**70)  # OTLP has no larger integers than 64 bits
    compare(receiver.entries, sources)
    assert set(receiver.paths) == {"/v1/logs"}


def test_a_collector_that_is_down_gets_everything_later(receiver: Receiver, read_log: Callable[..., Any]) -> None:
    """While the collector refuses for the moment entries are kept; nothing of its trouble is logged as an entry."""
    receiver.script = [503] * 30
    logger = make(receiver)
    for n in range(50):
        logger.info("Tick", n=n)
    eventually(lambda: logger.stats()["exports"]["otlp"]["trouble"])
    receiver.script.clear()
    eventually(lambda: len(receiver.entries) >= 50, 50)
    assert logger.close()
    compare(receiver.entries, read_log("logs/expert.log"))


def test_what_the_collector_will_never_take_holds_up_nothing(receiver: Receiver) -> None:
    """A batch that is refused for good is counted and left out; what follows arrives."""
    receiver.script = [400]
    logger = make(receiver)
    logger.info("refused")
    eventually(lambda: logger.stats()["exports"]["otlp"].get("refused"))
    logger.info("taken")
    eventually(lambda: receiver.entries)
    assert logger.close()
    assert [entry["message"] for entry in receiver.entries] == ["taken"]


def test_entries_inside_a_span_have_its_ids(receiver: Receiver, read_log: Callable[..., Any]) -> None:
    """While a span is active entries bear its ids, in the file and as those of the record; others have none."""
    tracer = TracerProvider().get_tracer("test")
    logger = make(receiver)
    logger.info("outside")
    with tracer.start_as_current_span("order") as span:
        logger.info("inside", n=1)
        logger.info("own", trace_id="mine")
        context = span.get_span_context()
    logger.info("after")
    eventually(lambda: len(receiver.entries) == 4)
    logger.close()
    outside, inside, own, after = read_log("logs/expert.log")
    assert (inside["trace_id"], inside["span_id"]) == (f"{context.trace_id:032x}", f"{context.span_id:016x}")
    assert own["trace_id"] == "mine"
    assert "trace_id" not in outside
    assert "trace_id" not in after
    compare(receiver.entries, [outside, inside, own, after])


def test_trace_ids_can_be_switched_off(read_log: Callable[..., Any]) -> None:
    """``trace_ids=False`` leaves entries without them, although OpenTelemetry is in use; None finds that out."""
    tracer = TracerProvider().get_tracer("test")
    for wanted in (False, None):
        with (
            tracer.start_as_current_span("order"),
            MetaLogger(log_dir=str(wanted), trace_ids=wanted, log_to_console=False) as logger,
        ):
            logger.info("inside")
        (entry,) = read_log(f"{wanted}/expert.log")
        assert ("trace_id" in entry) is (wanted is None)


@pytest.mark.parametrize(("field", "value"), [("otlp_endpoint", "http://localhost:4318"), ("metrics", True)])
def test_a_missing_extra_is_named(field: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the libraries the error says which extra to install, before anything is made."""
    monkeypatch.setattr(_remote, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'metaexpert\[(otel|metrics)\]'"):
        MetaLogger(**{field: value})
