"""OpenTelemetry: entries as log records, which the exporter of the official SDK sends over HTTP.

Sources: OpenTelemetry's logs data model (severity numbers: appendix B, example mappings), its semantic conventions
(``service.name``, ``host.name``, ``process.pid``, ``exception.type``, ``exception.message``, ``exception.stacktrace``).
"""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import requests
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import TraceFlags

from metaexpert import _version
from metaexpert.logger import schema
from metaexpert.logger.remote.exports._forwarder import TransportError, decode_politely
from metaexpert.logger.remote.reasons import REQUESTS_CA, reason
from metaexpert.logger.remote.sender import digest, silenced

#: Our levels as severity numbers of the data model: DEBUG, INFO, WARN, ERROR, FATAL.
SEVERITY_NUMBERS: Final = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}
#: Longest time for one batch with the exporter's own retries, in seconds.
TIMEOUT: Final = 10.0
_PATH: Final = "/v1/logs"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")
_INT64: Final = range(-(2**63), 2**63)
#: Keys that a record, or its resource, has fields of its own for.
_OWN_FIELDS: Final = frozenset({"timestamp", "level", "severity", "message", "hostname", "procid", schema.LOGGER_KEY})
#: VictoriaLogs' own names: a field called so hides the time or the message of all entries that it keeps beside it.
_STORES: Final = frozenset({"_time", "_msg", "_stream", "_stream_id"})
_ERROR_NAMES: Final = {"type": "exception.type", "value": "exception.message", "text": "exception.stacktrace"}
#: Status codes after which a batch is sent again (specification of OTLP/HTTP, "Retryable Response Codes").
_RETRYABLE: Final = frozenset({429, 502, 503, 504})


class _Session(requests.Session):
    """A session that keeps the last error, which the exporter only logs."""

    error: Exception | None = None

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """Send a request. Raises what it always raises."""
        try:
            return super().request(*args, **options)
        except Exception as error:
            self.error = error
            raise


class Otlp:
    """Sends entries to a collector that speaks OTLP over HTTP. Used by one thread at a time.

    The exporter takes headers and other options from the standard variables (``OTEL_EXPORTER_OTLP_HEADERS`` …).

    Args:
        endpoint: Address of the collector; ``/v1/logs`` is added if it has no path.
    """

    name = "otlp"
    acknowledged = True

    def __init__(self, endpoint: str) -> None:
        bare = endpoint.rstrip("/")
        self._address = bare if re.search(r"://[^/]+/", bare) else bare + _PATH
        self._exporter: Any = None
        self._session = _Session()
        self._status: int | None = None
        self.endpoint = digest("otlp", self._address)
        #: How many entries the collector has refused permanently.
        self.refused = 0

    @property
    def connected(self) -> bool:
        """Whether there is an exporter, which connects by itself."""
        return self._exporter is not None

    def connect(self) -> None:
        """Make the exporter."""
        session = self._session = _Session()
        session.hooks["response"].append(self._note)
        self._exporter = OTLPLogExporter(endpoint=self._address, timeout=TIMEOUT, session=session)

    def _note(self, response: requests.Response, *_: Any, **__: Any) -> None:
        self._status = response.status_code

    def send(self, lines: Sequence[bytes]) -> None:
        """Send entries, and wait until the collector has confirmed them. Raises TransportError."""
        records = list(map(record, decode_politely(lines)))
        self._status = self._session.error = None
        with silenced(_talkative()):
            result = self._exporter.export(records)
        if result.name == "SUCCESS":
            return
        status = self._status
        if status is not None and 400 <= status < 500 and status not in _RETRYABLE:
            # It will never take them. Offering them again would hold up all later entries.
            self.refused += len(lines)
            return
        error = self._session.error
        if status is None and error is not None:
            raise TransportError(reason(error, self._address, "otlp_endpoint", REQUESTS_CA))
        raise TransportError("no answer" if status is None else f"status {status}")

    def finish(self) -> bool:
        """Close. Returns True: everything that was sent is confirmed."""
        self.abort()
        return True

    def abort(self) -> None:
        """Close. Idempotent."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            with silenced(_talkative()):
                exporter.shutdown()

    def after_fork(self) -> None:
        """Start anew in a child."""
        self._exporter = None


def _talkative() -> list[str]:
    names = list(logging.Logger.manager.loggerDict)
    return [name for name in names if name.startswith(("opentelemetry.", "urllib3", "requests"))]


def record(entry: Mapping[str, Any]) -> ReadableLogRecord:
    """Return the log record of a flat *entry*, with all its fields."""
    level = str(entry.get("level", "info"))
    trace, span = str(entry.get("trace_id", "")), str(entry.get("span_id", ""))
    traced = bool(_TRACE_ID.fullmatch(trace) and _SPAN_ID.fullmatch(span))
    made = LogRecord(
        timestamp=_nanoseconds(str(entry.get("timestamp", ""))),
        observed_timestamp=time.time_ns(),
        trace_id=int(trace, 16) if traced else 0,
        span_id=int(span, 16) if traced else 0,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if traced else TraceFlags.DEFAULT),
        severity_text=level,
        severity_number=SeverityNumber(SEVERITY_NUMBERS.get(level, SEVERITY_NUMBERS["info"])),
        body=str(entry.get("message", "")),
        attributes=_attributes(entry, traced),
    )
    service = str(entry.get("expert_name") or entry.get("appname") or "metaexpert")
    resource = _resource(service, str(entry.get("hostname", "")), str(entry.get("procid", "")))
    return ReadableLogRecord(made, resource, _scope(str(entry.get(schema.LOGGER_KEY, "metaexpert.logger"))))


def _attributes(entry: Mapping[str, Any], traced: bool) -> dict[str, Any]:
    left_out = _OWN_FIELDS | ({"trace_id", "span_id"} if traced else set()) | {schema.EXCEPTION_KEY}
    attributes = {
        schema.RESERVED_PREFIX + name if name in _STORES else name: _attribute(value)
        for name, value in entry.items()
        if name not in left_out
    }
    error = entry.get(schema.EXCEPTION_KEY)
    if isinstance(error, Mapping):
        rest = {name: value for name, value in error.items() if name not in _ERROR_NAMES}
        attributes |= {_ERROR_NAMES[name]: str(value) for name, value in error.items() if name in _ERROR_NAMES}
        if rest:
            attributes[schema.EXCEPTION_KEY] = _attribute(rest)
    elif error is not None:
        attributes[schema.EXCEPTION_KEY] = _attribute(error)
    return attributes


def _attribute(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _attribute(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_attribute(item) for item in value]
    if type(value) is int and value not in _INT64:
        return str(value)  # OTLP has no larger integers
    return value


def _nanoseconds(timestamp: str) -> int:
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return 0
    # Divided as integers: a float cannot hold microseconds since the epoch.
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


@functools.lru_cache(64)
def _resource(service: str, host: str, process: str) -> Resource:
    pid: dict[str, Any] = {"process.pid": int(process)} if process.isdigit() else {}
    return Resource({"service.name": service, "host.name": host, **pid})


@functools.lru_cache(256)
def _scope(name: str) -> InstrumentationScope:
    return InstrumentationScope(name, _version.__version__)
