"""The schema of a line: keys, levels, severities, limits and JSON Schemas.

The writer (`metaexpert.logger`) and the reader (`metaexpert.logs`) are both built on it. It imports nothing of the
project and opens nothing.

Sources of the constants: RFC 5424 sections 6.2.1 (PRI, facility, severity), 6.2.3 (TIMESTAMP) and 6.2.4 to
6.2.7 (length limits of HOSTNAME, APP-NAME, PROCID, MSGID); RFC 5612 (enterprise number 32473, reserved for
documentation); RFC 5424 section 7.3.1 (sequenceId wraps at 2147483647).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal

Layout = Literal["flat", "rfc5424"]
LevelName = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40
CRITICAL: Final = 50

#: The levels as they are written in a line, by their numbers in `logging`.
LEVEL_WORDS: Final[Mapping[int, str]] = MappingProxyType(
    {DEBUG: "debug", INFO: "info", WARNING: "warning", ERROR: "error", CRITICAL: "critical"}
)
LEVEL_NUMBERS: Final[Mapping[str, int]] = MappingProxyType({word: n for n, word in LEVEL_WORDS.items()})
#: Methods of a bound logger by the level word under which their entries are written, and the other way round.
METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "debug": ("debug",),
    "info": ("info", "msg"),
    "warning": ("warning", "warn"),
    "error": ("error", "exception", "err"),
    "critical": ("critical", "fatal"),
}
WORDS: Final[Mapping[str, str]] = MappingProxyType({name: word for word, names in METHODS.items() for name in names})
#: Other names: those of `logging`, and of levels between ours that other loggers have.
_LEVEL_ALIASES: Final = {
    "warn": "warning",
    "fatal": "critical",
    "notice": "info",
    "verbose": "debug",
    "trace": "debug",
}
#: RFC 5424 table 2. notice (5), alert (1) and emergency (0) have no counterpart in Python.
SEVERITIES: Final[Mapping[str, int]] = MappingProxyType(
    {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
)
LEVEL_OF_SEVERITY: Final[Mapping[int, str]] = MappingProxyType({n: word for word, n in SEVERITIES.items()})

RFC5424_VERSION: Final = 1
FACILITY_LOCAL0: Final = 16
DOCUMENTATION_ENTERPRISE: Final = 32473
MAX_SEQUENCE_ID: Final = 2_147_483_647
MAX_HOSTNAME: Final = 255
MAX_APPNAME: Final = 48
MAX_PROCID: Final = 128
MAX_MSGID: Final = 32
#: The header fields that hold a name, in the order of a message, and their longest.
NAME_LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {"hostname": MAX_HOSTNAME, "appname": MAX_APPNAME, "procid": MAX_PROCID, "msgid": MAX_MSGID}
)
#: RFC 5424's header field without a value.
NILVALUE: Final = "-"

MSGID_TRADE: Final = "trade"
MSGID_LOG: Final = "log"
CATEGORY: Final = "category"
#: The field by which a call asks for an alert (True) or for none (False) at any level.
ALERT: Final = "alert"
#: The message and the field of a seal, see docs/seal.md.
SEALED: Final = "log.sealed"
CHECKPOINT: Final = "checkpoint"
TRADE: Final = "trade"
#: The fields of a decision; orders that are logged inside it bear its id.
DECISION: Final = "decision"
DECISION_ID: Final = "decision_id"

#: Names under which strategies log size, price and fee of a trade, the preferred one first.
SIZE_NAMES: Final = ("size", "quantity", "qty", "amount", "volume")
PRICE_NAMES: Final = ("price", "fill_price", "avg_price", "average_price", "average", "last_price")
FEE_NAMES: Final = ("fee", "commission", "fees")

#: Header keys, in the order of a line.
HEADER_KEYS: Final = (
    "timestamp",
    "level",
    "severity",
    "facility",
    "version",
    "hostname",
    "appname",
    "procid",
    "msgid",
    "sequence_id",
    "message",
)
LOGGER_KEY: Final = "logger"
#: The name under which the logger logs what it has to say itself.
OWN_NAME: Final = "metaexpert.logger"
EXCEPTION_KEY: Final = "exception"
STACK_KEY: Final = "stack"
STRUCTURED_DATA_KEY: Final = "structured_data"
#: What stands for a secret.
MASK: Final = "***"
#: How many secrets were masked in an entry. Left out when there were none.
MASKED_KEY: Final = "masked"
#: Keys of our own. A caller's field of such a name is kept as ``field_<key>``.
RESERVED_KEYS: Final = frozenset(HEADER_KEYS) | {LOGGER_KEY, EXCEPTION_KEY, STACK_KEY, STRUCTURED_DATA_KEY}
RESERVED_PREFIX: Final = "field_"

#: The six domain fields. In RFC 5424 they are ``context@<enterprise>``.
DOMAIN_FIELDS: Final = ("expert_name", "symbol", "trade_id", "order_id", "strategy_id", "account_id")

#: The file and the directory in a log directory that are not application logs.
DIAGNOSTICS_FILE: Final = "logging_errors.log"
PRIVATE_DIRECTORY: Final = ".metaexpert"
#: What the flight recorder has dumped; between them stands the time of the last entry, without ``-`` and ``:``.
RECORDER_PREFIX: Final = "recorder-"
RECORDER_SUFFIX: Final = "Z.log"
_RECORDER_TIME: Final = len("20261122T103100.000000")
#: Digits of a backup's number.
_MOST_DIGITS: Final = 6


def is_recorder_file(name: str) -> bool:
    """Return whether a file of that *name* holds what the flight recorder has dumped."""
    time = name[len(RECORDER_PREFIX) : -len(RECORDER_SUFFIX)]
    return (
        name == f"{RECORDER_PREFIX}{time}{RECORDER_SUFFIX}"
        and len(time) == _RECORDER_TIME
        and (time[8], time[15]) == ("T", ".")
        and f"{time[:8]}{time[9:15]}{time[16:]}".isdecimal()
    )


def backup_number(name: str, base: str) -> int | None:
    """Return N for ``base.N`` and ``base.N.gz``, None for any other name."""
    if not name.startswith(f"{base}."):
        return None
    digits = name[len(base) + 1 :].removesuffix(".gz")
    valid = digits.isascii() and digits.isdigit() and digits[0] != "0" and len(digits) <= _MOST_DIGITS
    return int(digits) if valid else None


def level_named(name: str) -> int | None:
    """Return the number of a level by its *name*, in any case, or None. Knows ``warn``, ``trace`` and others too."""
    word = name.strip().lower()
    return LEVEL_NUMBERS.get(_LEVEL_ALIASES.get(word, word))


def level_word(number: int) -> str:
    """Return the word of the standard level at or below *number*: 25 is ``"info"``. Below 10 it is ``"debug"``."""
    if number >= CRITICAL:
        return "critical"
    if number >= ERROR:
        return "error"
    if number >= WARNING:
        return "warning"
    return "info" if number >= INFO else "debug"


def timestamp(moment: datetime) -> str:
    """Return an aware *moment* as an entry's ``timestamp``: RFC 3339, UTC, microseconds. Raises OverflowError."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def printable_ascii(text: str, limit: int) -> str:
    """Return *text* as an RFC 5424 header field: printable ASCII without spaces, at most *limit* characters.

    Each character that the RFC does not allow becomes ``_``. An empty text becomes the NILVALUE ``-``.
    """
    cleaned = "".join(c if "!" <= c <= "~" else "_" for c in text[:limit])
    return cleaned or NILVALUE


_HEADER_PROPERTIES: Final[dict[str, Any]] = {
    "timestamp": {
        "type": "string",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
        "description": "When the call was made, UTC.",
    },
    "level": {"enum": list(SEVERITIES)},
    "severity": {"enum": sorted(SEVERITIES.values())},
    "facility": {"type": "integer", "minimum": 0, "maximum": 23},
    "version": {"const": RFC5424_VERSION},
    **{name: {"type": "string", "pattern": f"^[!-~]{{1,{limit}}}$"} for name, limit in NAME_LIMITS.items()},
    "sequence_id": {"type": "integer", "minimum": 1},
    "message": {"type": "string"},
    "logger": {"type": "string"},
    "exception": {"$ref": "#/$defs/exception"},
    "stack": {"type": "string"},
}

_EXCEPTION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "value"],
    "properties": {
        "type": {"type": "string", "description": "Qualified name of the exception's class."},
        "value": {"type": "string", "description": "str() of the exception."},
        "text": {"type": "string", "description": "The traceback as Python prints it."},
        "frames": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["file", "line", "function"],
                "properties": {
                    "file": {"type": "string"},
                    "line": {"type": ["integer", "null"]},
                    "function": {"type": "string"},
                    "code": {"type": "string"},
                },
                "additionalProperties": False,
            },
        },
        "causes": {"type": "array", "items": {"$ref": "#/$defs/exception"}},
        "groups": {"type": "array", "items": {"$ref": "#/$defs/exception"}},
        "notes": {"type": "array", "items": {"type": "string"}},
        "truncated": {"type": "boolean"},
    },
    "additionalProperties": False,
}

_SEVERITY_PAIRS: Final = [
    {"properties": {"level": {"const": word}, "severity": {"const": number}}} for word, number in SEVERITIES.items()
]


def _schema(title: str, description: str, properties: dict[str, Any], *, open_ended: bool) -> dict[str, Any]:
    required = [*HEADER_KEYS] + ([] if open_ended else [STRUCTURED_DATA_KEY])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": description,
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": open_ended,
        "anyOf": _SEVERITY_PAIRS,
        "$defs": {"exception": _EXCEPTION},
    }


FLAT_SCHEMA: Final[dict[str, Any]] = _schema(
    "MetaExpert log entry, flat layout",
    "One line of expert.log, trades.log, errors.log or logging_errors.log: RFC 5424 header fields as JSON, "
    "then the context and the fields of the call at the top level.",
    {**_HEADER_PROPERTIES, STRUCTURED_DATA_KEY: False},
    open_ended=True,
)

RFC5424_SCHEMA: Final[dict[str, Any]] = _schema(
    "MetaExpert log entry, rfc5424 layout",
    "The same entry with its parameters grouped under structured_data by RFC 5424 SD-ID.",
    {
        **_HEADER_PROPERTIES,
        STRUCTURED_DATA_KEY: {
            "type": "object",
            "required": ["meta", "origin"],
            "properties": {
                "meta": {
                    "type": "object",
                    "required": ["sequenceId"],
                    "properties": {"sequenceId": {"type": "integer", "minimum": 1, "maximum": MAX_SEQUENCE_ID}},
                },
                "origin": {
                    "type": "object",
                    "required": ["software"],
                    "properties": {"software": {"type": "string"}, "swVersion": {"type": "string"}},
                },
            },
            "patternProperties": {
                r"^(context|fields)@[0-9]+$": {"type": "object"},
            },
            "additionalProperties": False,
        },
    },
    open_ended=False,
)


def json_schema(layout: Layout | None = None) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a line.

    Args:
        layout: ``"flat"`` or ``"rfc5424"``, or None for a schema that accepts both.
    """
    if layout is not None:
        return FLAT_SCHEMA if layout == "flat" else RFC5424_SCHEMA
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "MetaExpert log entry, either layout",
        "oneOf": [
            {key: value for key, value in schema.items() if key not in ("$schema", "$defs")}
            for schema in (FLAT_SCHEMA, RFC5424_SCHEMA)
        ],
        "$defs": {"exception": _EXCEPTION},
    }
