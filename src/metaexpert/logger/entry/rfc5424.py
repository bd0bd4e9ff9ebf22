r"""Maps entries to RFC 5424 and back without loss: structured data, the JSON layout, and messages.

An entry is a dict in the flat layout, as ``json.loads`` returns it for a line. All functions are pure, leave their
arguments as they are, and may be called by any thread.

A message has this form, on one line and with ``N`` for the enterprise number::

    <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID
    [meta …][origin …][context@N …][fields@N …][types@N …][names@N …] MSG

- ``context@N`` holds the six domain fields, ``fields@N`` all others and ``logger``, ``exception`` and ``stack``. An
  element without parameters is left out.
- Text stays text, and any other value becomes JSON. ``types@N json="size price"`` names the parameters in JSON.
- A name that RFC 5424 does not allow is percent-encoded. If it is then longer than 32 characters, the parameter is
  called ``%L1``, ``%L2`` …, and ``names@N %L1="…"`` holds its full name.
- ``meta sequenceId`` wraps at 2147483647. From then on ``fields@N`` has the full number as ``sequence_id``, a name
  that no field of a caller can have.
- Control characters in MSG and in values become ``\u000a`` (`_rfc5424_codec`), so that a transport may end messages
  with a newline.
- MSG is ASCII as it stands, which collectors search as it stands (MSG-ANY), or UTF-8 after a byte order mark, without
  which a receiver need not take it for UTF-8 (RFC 5424 section 6.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from metaexpert import _version
from metaexpert.logger import schema
from metaexpert.logger.entry._rfc5424_codec import (
    LONG_NAME_PREFIX,
    MAX_NAME,
    encode_name,
    escape_text,
    escape_value,
    json_text,
    utc_timestamp,
    wrap_sequence_id,
)
from metaexpert.logger.entry._rfc5424_parser import (
    JSON_TYPE,
    META,
    ORIGIN,
    OWN_PARAMETERS,
    SOFTWARE,
    MessageError,
    adopt,
    parse_message,
)
from metaexpert.logger.entry.patterns import lazy_pattern

__all__ = [
    "MessageError",
    "escape_text",
    "escape_value",
    "from_layout",
    "parse_message",
    "render_message",
    "structured_data",
    "to_layout",
]

_BOM: Final = "\ufeff"
#: Private enterprise numbers have 32 bits.
_MAX_ENTERPRISE: Final = 0xFFFF_FFFF
#: RFC 5424 section 7.2.4 allows swVersion 32 characters.
_ORIGIN_VALUES: Final[Mapping[str, str]] = {"software": SOFTWARE, "swVersion": _version.__version__[:32]}

_DOMAIN: Final = frozenset(schema.DOMAIN_FIELDS)
_FIRST_KEYS: Final = (*schema.HEADER_KEYS, schema.LOGGER_KEY)
_LAST_KEYS: Final = (schema.EXCEPTION_KEY, schema.STACK_KEY)
_TOP_LEVEL: Final = frozenset({*_FIRST_KEYS, *_LAST_KEYS})
_OWN_GROUP: Final = lazy_pattern(r"(?:context|fields)@[0-9]+")


def structured_data(
    entry: Mapping[str, Any], *, enterprise_id: int = schema.DOCUMENTATION_ENTERPRISE
) -> dict[str, dict[str, Any]]:
    """Return the parameters of a flat *entry* by SD-ID, with their native values.

    Args:
        entry: Flat entry. Its ``logger``, ``exception`` and ``stack`` are left out.
        enterprise_id: Private enterprise number (IANA) after the ``@``.

    Returns:
        ``meta`` and ``origin``, and ``context@N`` and ``fields@N`` if they have parameters.

    Raises:
        ValueError: If *enterprise_id* is negative or has more than 32 bits.
    """
    if not 0 <= enterprise_id <= _MAX_ENTERPRISE:
        raise ValueError(f"enterprise_id must be between 0 and {_MAX_ENTERPRISE}, not {enterprise_id}")
    elements: dict[str, dict[str, Any]] = {
        META: {"sequenceId": wrap_sequence_id(_sequence_id(entry))},
        ORIGIN: dict(_ORIGIN_VALUES),
    }
    context = {key: value for key, value in entry.items() if key in _DOMAIN}
    fields = {key: value for key, value in entry.items() if key not in _DOMAIN and key not in _TOP_LEVEL}
    if context:
        elements[f"context@{enterprise_id}"] = context
    if fields:
        elements[f"fields@{enterprise_id}"] = fields
    return elements


def to_layout(entry: Mapping[str, Any], *, enterprise_id: int = schema.DOCUMENTATION_ENTERPRISE) -> dict[str, Any]:
    """Return a flat *entry* in the ``rfc5424`` JSON layout. `from_layout` is the inverse.

    Raises:
        ValueError: As `structured_data`.
    """
    layout = {key: entry[key] for key in _FIRST_KEYS if key in entry}
    layout[schema.STRUCTURED_DATA_KEY] = structured_data(entry, enterprise_id=enterprise_id)
    layout.update((key, entry[key]) for key in _LAST_KEYS if key in entry)
    return layout


def from_layout(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object in the ``rfc5424`` JSON layout as a flat entry.

    Accepts any decoded JSON object, and returns one without ``structured_data`` as it is. Foreign elements and keys
    become fields, as ``field_<name>`` if the name exists already.
    """
    elements = obj.get(schema.STRUCTURED_DATA_KEY)
    if not isinstance(elements, Mapping):
        return dict(obj)
    entry = {key: obj[key] for key in _FIRST_KEYS if key in obj}
    foreign: dict[str, Any] = {}
    for sd_id in sorted(elements, key=lambda sd_id: not sd_id.startswith("context@")):
        values = elements[sd_id]
        if isinstance(values, Mapping) and _OWN_GROUP.fullmatch(sd_id):
            _add_fields(entry, values)
        else:
            foreign |= _foreign_part(sd_id, values)
    foreign |= {key: obj[key] for key in obj if key not in _TOP_LEVEL and key != schema.STRUCTURED_DATA_KEY}
    for key, value in foreign.items():
        adopt(entry, key, value)
    return entry | {key: obj[key] for key in _LAST_KEYS if key in obj}


def _add_fields(entry: dict[str, Any], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name in entry or name in _TOP_LEVEL:
            adopt(entry, name, value)
        else:
            entry[name] = value


def _foreign_part(sd_id: str, values: Any) -> dict[str, Any]:
    """Return the part of an element that the rest of the entry does not imply."""
    if sd_id in OWN_PARAMETERS and isinstance(values, Mapping):
        rest = {key: value for key, value in values.items() if key not in OWN_PARAMETERS[sd_id]}
        return {sd_id: rest} if rest else {}
    return {sd_id: values}


def render_message(entry: Mapping[str, Any], *, enterprise_id: int = schema.DOCUMENTATION_ENTERPRISE) -> bytes:
    """Return a flat *entry* as one RFC 5424 message, without the framing of a transport.

    For an *entry* that is valid by `metaexpert.logger.schema`, `parse_message` returns an equal one. Invalid header
    values are replaced, so that the message is always valid: a time by ``-``, text by `printable_ascii`, a facility
    by 16, a severity by that of the level or 6, a sequence number by 1. Integers of any size are exact
    (`parse_message` reads up to 65,536 digits). A lone surrogate is escaped like a control character.

    Raises:
        ValueError: If a field holds NaN or an infinity, or is nested too deeply for JSON, and as `structured_data`.
        TypeError: If the value of a field is not made of JSON types.
    """
    start = f"<{_priority(entry)}>{schema.RFC5424_VERSION} {_timestamp(entry.get('timestamp'))}"
    names = (schema.printable_ascii(_text(entry.get(key, "")), limit) for key, limit in schema.NAME_LIMITS.items())
    message = escape_text(_text(entry.get("message", "")))
    mark = "" if message.isascii() else _BOM
    return f"{start} {' '.join(names)} {_structured_data_text(entry, enterprise_id)} {mark}{message}".encode()


def _priority(entry: Mapping[str, Any]) -> int:
    facility, severity = entry.get("facility"), entry.get("severity")
    if type(facility) is not int or not 0 <= facility <= 23:
        facility = schema.FACILITY_LOCAL0
    if type(severity) is not int or not 0 <= severity <= 7:
        severity = schema.SEVERITIES.get(str(entry.get("level")), schema.SEVERITIES["info"])
    return facility * 8 + severity


def _timestamp(value: object) -> str:
    try:
        return utc_timestamp(value if isinstance(value, str) else "") or schema.NILVALUE
    except ValueError:
        return schema.NILVALUE


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _sequence_id(entry: Mapping[str, Any]) -> int:
    number = entry.get("sequence_id")
    return number if type(number) is int and number > 0 else 1


def _structured_data_text(entry: Mapping[str, Any], enterprise_id: int) -> str:
    elements = structured_data(entry, enterprise_id=enterprise_id)
    context = elements.get(f"context@{enterprise_id}", {})
    fields = elements.get(f"fields@{enterprise_id}", {}) | _message_fields(entry)
    typed: list[str] = []
    long_names: dict[str, str] = {}
    groups = {
        META: {"sequenceId": str(elements[META]["sequenceId"])},
        ORIGIN: elements[ORIGIN],
        f"context@{enterprise_id}": _encoded(context, typed, long_names),
        f"fields@{enterprise_id}": _encoded(fields, typed, long_names),
        f"types@{enterprise_id}": {JSON_TYPE: " ".join(typed)} if typed else {},
        f"names@{enterprise_id}": {short: escape_text(name) for short, name in long_names.items()},
    }
    return "".join(_element(sd_id, parameters) for sd_id, parameters in groups.items() if parameters)


def _message_fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values at the top level of both JSON layouts that have no header field in a message."""
    fields = {key: entry[key] for key in (schema.LOGGER_KEY, *_LAST_KEYS) if key in entry}
    number = _sequence_id(entry)
    if number > schema.MAX_SEQUENCE_ID:
        fields["sequence_id"] = number
    return fields


def _encoded(values: Mapping[str, Any], typed: list[str], long_names: dict[str, str]) -> dict[str, str]:
    """Return parameters as text. Adds the names of those in JSON to *typed*, and long names to *long_names*."""
    encoded: dict[str, str] = {}
    for name, value in values.items():
        short = encode_name(name)
        if len(short) > MAX_NAME:
            short = f"{LONG_NAME_PREFIX}{len(long_names) + 1}"
            long_names[short] = name
        if isinstance(value, str):
            encoded[short] = escape_text(value)
        else:
            encoded[short] = json_text(value)
            typed.append(short)
    return encoded


def _element(sd_id: str, parameters: Mapping[str, str]) -> str:
    return f"[{sd_id}{''.join(f' {name}="{escape_value(text)}"' for name, text in parameters.items())}]"
