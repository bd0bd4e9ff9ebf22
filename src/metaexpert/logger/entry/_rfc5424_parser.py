r"""Parses RFC 5424 messages into flat entries, strictly and in linear time.

A message is *ours* if its ``origin`` names the software ``metaexpert``. The result then equals the entry that
`rfc5424.render_message` was given. Any other valid message is *foreign* and is read as follows:

- ``-`` in HOSTNAME, APP-NAME, PROCID and MSGID stays ``-``. A missing MSG is the message ``""``.
- Severities 0 and 1 become ``critical``, and 5 (notice) becomes ``info``. ``field_severity`` keeps the number.
- The time becomes UTC with six digits. A nil time becomes the Unix epoch, with ``field_timestamp`` null. So does a
  time outside the years that Python supports, with its text in ``field_timestamp``.
- ``meta sequenceId`` becomes ``sequence_id``. If it is missing, that is 1, with ``field_sequence_id`` null.
- Any other element becomes a field named like its SD-ID: an object of its parameters, with a list of strings where a
  name is repeated.
- In a MSG that is not UTF-8, each invalid byte becomes ``\xNN``.

An element whose SD-ID is a key of ours or an existing field is kept as ``field_<SD-ID>``.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from metaexpert.logger import schema
from metaexpert.logger.entry._rfc5424_codec import (
    LONG_NAME_PREFIX,
    decode_name,
    json_value,
    unescape_text,
    unescape_value,
    utc_timestamp,
    wrap_sequence_id,
)
from metaexpert.logger.entry.patterns import lazy_pattern

SOFTWARE: Final = "metaexpert"
META: Final = "meta"
ORIGIN: Final = "origin"
#: Parameters whose content is elsewhere in a flat entry, or not needed.
OWN_PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {META: ("sequenceId",), ORIGIN: ("software", "swVersion")}
#: Our elements with the enterprise number, in the order of a message.
GROUPS: Final = ("context", "fields", "types", "names")
#: The one parameter of ``types@N``: the names of the parameters whose value is JSON, separated by spaces.
JSON_TYPE: Final = "json"

_EPOCH: Final = "1970-01-01T00:00:00.000000Z"
# Python has no level for three severities of RFC 5424 table 2.
_NEAREST_SEVERITY: Final[Mapping[int, int]] = {0: 2, 1: 2, 5: 6}
_MAX_PRIORITY: Final = 191
_OURS: Final = schema.RESERVED_KEYS | {*schema.DOMAIN_FIELDS, schema.CATEGORY}
# Header fields are in the header, except a number that the wrapped sequenceId cannot express.
_NEVER_PARAMETERS: Final = frozenset(schema.HEADER_KEYS) - {"sequence_id"}
_OWN_TYPES: Final[Mapping[str, type]] = {
    schema.LOGGER_KEY: str,
    schema.EXCEPTION_KEY: dict,
    schema.STACK_KEY: str,
    "sequence_id": int,
}

_PRIORITY: Final = lazy_pattern(rb"<(0|[1-9][0-9]{0,2})>")
_VERSION: Final = lazy_pattern(rb"1 ")
_TIMESTAMP: Final = lazy_pattern(rb"([!-~]{1,32}) ")
_HEADER_FIELDS: Final = tuple(
    (key, lazy_pattern(rb"([!-~]{1,%d}) " % limit), f"{name} of 1 to {limit} printable ASCII characters, and a space")
    for (key, limit), name in zip(schema.NAME_LIMITS.items(), ("HOSTNAME", "APP-NAME", "PROCID", "MSGID"), strict=True)
)
_NAME: Final = lazy_pattern(rb"[!#-<>-\\^-~]{1,32}")
_NO_ELEMENTS: Final = lazy_pattern(rb"-(?= |\Z)")
_OPEN: Final = lazy_pattern(rb"\[")
_SPACE_OR_CLOSE: Final = lazy_pattern(rb"[ \]]")
_ASSIGN: Final = lazy_pattern(rb'="')
# Possessive, so that a value without an end fails at once.
_VALUE: Final = lazy_pattern(rb'[^"\\\]]*+(?:\\.[^"\\\]]*+)*+', re.DOTALL)
_QUOTE: Final = lazy_pattern(rb'"')
_SEQUENCE: Final = lazy_pattern(r"[1-9][0-9]{0,9}")
_OWN_ID: Final = lazy_pattern(r"(?:context|fields|types|names)@([0-9]+)")


class MessageError(ValueError):
    """The data is not an RFC 5424 message, or a message of ours that was changed.

    Args:
        expected: What the parser expected at *position*.
        position: Offset, from 0.
        unit: Unit of the offset: ``"byte"``, or ``"character"`` if the data was text.

    The arguments are attributes too.
    """

    def __init__(self, expected: str, position: int, unit: str = "byte") -> None:
        super().__init__(expected, position, unit)
        self.expected = expected
        self.position = position
        self.unit = unit

    def __str__(self) -> str:
        return f"no RFC 5424 message: at {self.unit} {self.position} expected {self.expected}"


def parse_message(data: bytes | str) -> dict[str, Any]:
    """Return the flat entry of one RFC 5424 message.

    Args:
        data: The message without the framing of its transport (octet count or final newline).

    Raises:
        MessageError: If it is malformed. Nothing else is raised.
    """
    if isinstance(data, bytes):
        return _parse(data)
    try:
        encoded = data.encode()
    except UnicodeEncodeError as error:
        raise MessageError("text that UTF-8 can hold", error.start, "character") from None
    try:
        return _parse(encoded)
    except MessageError as error:
        position = len(encoded[: error.position].decode())
        raise MessageError(error.expected, position, "character") from None


def adopt(entry: dict[str, Any], name: str, value: Any) -> None:
    """Add a foreign field to *entry*, as ``field_<name>`` if the name is a key of ours or exists already."""
    while name in entry or name in _OURS:
        name = schema.RESERVED_PREFIX + name
    entry[name] = value


class _Parameter(NamedTuple):
    name: str
    value: str
    position: int


class _Element(NamedTuple):
    sd_id: str
    position: int
    parameters: list[_Parameter]

    def values(self, without: Collection[str] = ()) -> dict[str, str | list[str]]:
        """Return the parameters by name, except those named *without*. A repeated name has a list."""
        lists: dict[str, list[str]] = {}
        for name, value, _ in self.parameters:
            if name not in without:
                lists.setdefault(name, []).append(value)
        return {name: found[0] if len(found) == 1 else found for name, found in lists.items()}


class _Cursor:
    """A position in the data, which each matching pattern moves on."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, pattern: re.Pattern[bytes], expected: str) -> re.Match[bytes]:
        match = pattern.match(self.data, self.position)
        if match is None:
            raise MessageError(expected, self.position)
        self.position = match.end()
        return match

    def next_is(self, byte: bytes) -> bool:
        return self.data.startswith(byte, self.position)


def _parse(data: bytes) -> dict[str, Any]:
    cursor = _Cursor(data)
    entry, original = _header(cursor)
    elements = _structured_data(cursor)
    message = _message(cursor)
    ours = ORIGIN in elements and elements[ORIGIN].values().get("software") == SOFTWARE
    own = _own_values(elements) if ours else {}
    sequence = _sequence_id(elements.get(META), own)
    if sequence is None:
        original["sequence_id"] = None
    entry["sequence_id"] = sequence or 1
    entry["message"] = unescape_text(message) if ours else message
    last = {key: own.pop(key) for key in (schema.EXCEPTION_KEY, schema.STACK_KEY) if key in own}
    logger = {key: own.pop(key) for key in (schema.LOGGER_KEY,) if key in own}
    entry |= logger | own
    for key, value in original.items():
        adopt(entry, key, value)
    _adopt_elements(entry, elements.values(), ours=ours, numbered=sequence is not None)
    return entry | last


def _header(cursor: _Cursor) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header keys up to ``msgid``, and the original values that they cannot express."""
    original: dict[str, Any] = {}
    priority = int(cursor.take(_PRIORITY, "<PRI> without leading zeros")[1])
    if priority > _MAX_PRIORITY:
        raise MessageError(f"a PRI of at most {_MAX_PRIORITY}", 1)
    facility, severity = divmod(priority, 8)
    cursor.take(_VERSION, "VERSION 1 and a space")
    timestamp = _timestamp(cursor, original)
    if severity in _NEAREST_SEVERITY:
        original["severity"] = severity
        severity = _NEAREST_SEVERITY[severity]
    header: dict[str, Any] = {
        "timestamp": timestamp,
        "level": schema.LEVEL_OF_SEVERITY[severity],
        "severity": severity,
        "facility": facility,
        "version": schema.RFC5424_VERSION,
    }
    for key, pattern, expected in _HEADER_FIELDS:
        header[key] = cursor.take(pattern, expected)[1].decode("ascii")
    return header, original


def _timestamp(cursor: _Cursor, original: dict[str, Any]) -> str:
    start, expected = cursor.position, "TIMESTAMP such as 2026-11-22T10:31:00.123456Z, or -, and a space"
    text = cursor.take(_TIMESTAMP, expected)[1].decode("ascii")
    if text == schema.NILVALUE:
        original["timestamp"] = None
        return _EPOCH
    try:
        timestamp = utc_timestamp(text)
    except ValueError:
        raise MessageError(expected, start) from None
    if timestamp is None:
        original["timestamp"] = text
    return timestamp or _EPOCH


def _structured_data(cursor: _Cursor) -> dict[str, _Element]:
    elements: dict[str, _Element] = {}
    if cursor.next_is(b"-"):
        cursor.take(_NO_ELEMENTS, "STRUCTURED-DATA: - or [")
        return elements
    while not elements or cursor.next_is(b"["):
        cursor.take(_OPEN, "STRUCTURED-DATA: - or [")
        start = cursor.position
        sd_id = _sd_name(cursor, "SD-ID")
        parameters: list[_Parameter] = []
        while cursor.take(_SPACE_OR_CLOSE, "] or a space")[0] == b" ":
            parameters.append(_parameter(cursor))
        if sd_id in elements:
            raise MessageError(f"no second element {sd_id}", start)
        elements[sd_id] = _Element(sd_id, start, parameters)
    return elements


def _parameter(cursor: _Cursor) -> _Parameter:
    name = _sd_name(cursor, "PARAM-NAME")
    cursor.take(_ASSIGN, '="')
    start = cursor.position
    raw = cursor.take(_VALUE, "PARAM-VALUE")[0]
    try:
        value = raw.decode()
    except UnicodeDecodeError as error:
        raise MessageError("UTF-8", start + error.start) from None
    cursor.take(_QUOTE, '" at the end of the value (inside it, " and ] need a backslash)')
    return _Parameter(name, unescape_value(value), start)


def _sd_name(cursor: _Cursor, what: str) -> str:
    expected = f'{what} of 1 to 32 printable ASCII characters without =, ], " and space'
    return cursor.take(_NAME, expected)[0].decode("ascii")


def _message(cursor: _Cursor) -> str:
    rest = cursor.data[cursor.position :]
    if rest and not rest.startswith(b" "):
        raise MessageError("a space and MSG, or the end", cursor.position)
    # A transport may cut a message anywhere, so even after a BOM, MSG need not be UTF-8 (sections 6.1, 6.4).
    return rest[1:].removeprefix(codecs.BOM_UTF8).decode("utf-8", "backslashreplace")


def _own_values(elements: dict[str, _Element]) -> dict[str, Any]:
    """Remove our elements from *elements*, and return their fields, context first."""
    found = next((match for sd_id in elements if (match := _OWN_ID.fullmatch(sd_id))), None)
    if found is None:
        return {}
    none = _Element("", 0, [])
    context, fields, types, names = (elements.pop(f"{group}@{found[1]}", none) for group in GROUPS)
    parameters = context.parameters + fields.parameters
    typed = _typed_names(types, {parameter.name for parameter in parameters})
    long_names = _long_names(names, {parameter.name for parameter in parameters})
    values: dict[str, Any] = {}
    for parameter in parameters:
        name = _own_name(parameter, long_names)
        if name in values or name in _NEVER_PARAMETERS:
            raise MessageError(f"no parameter for the field {name!r} here", parameter.position)
        values[name] = _own_value(name, parameter, is_json=parameter.name in typed)
    return values


def _typed_names(types: _Element, known: Collection[str]) -> set[str]:
    typed: set[str] = set()
    for parameter in types.parameters:
        names = set(parameter.value.split(" "))
        if parameter.name != JSON_TYPE or not names.issubset(known):
            raise MessageError(f"{JSON_TYPE} and the names of parameters", parameter.position)
        typed |= names
    return typed


def _long_names(names: _Element, known: Collection[str]) -> dict[str, str]:
    long_names: dict[str, str] = {}
    for name, value, position in names.parameters:
        if name in long_names or name not in known or not name.startswith(LONG_NAME_PREFIX):
            raise MessageError(f"{LONG_NAME_PREFIX} and the number of a parameter", position)
        long_names[name] = unescape_text(value)
    return long_names


def _own_name(parameter: _Parameter, long_names: Mapping[str, str]) -> str:
    if parameter.name in long_names:
        return long_names[parameter.name]
    try:
        return decode_name(parameter.name)
    except ValueError:
        raise MessageError("a value whose name is encoded as ours are", parameter.position) from None


def _own_value(name: str, parameter: _Parameter, *, is_json: bool) -> Any:
    value: Any = parameter.value
    try:
        value = json_value(value) if is_json else unescape_text(value)
    except ValueError as error:
        raise MessageError(f"JSON text ({error})", parameter.position) from None
    wanted = _OWN_TYPES.get(name)
    if wanted is not None and type(value) is not wanted:
        raise MessageError(f"a value of type {wanted.__name__} for {name}", parameter.position)
    return value


def _sequence_id(meta: _Element | None, own: dict[str, Any]) -> int | None:
    """Return the sequence number: the full one, removed from *own*, else the one of ``meta``, else None."""
    text = meta.values().get("sequenceId") if meta else None
    wrapped = int(text) if isinstance(text, str) and _SEQUENCE.fullmatch(text) else None
    if wrapped is not None and wrapped > schema.MAX_SEQUENCE_ID:
        wrapped = None
    if "sequence_id" not in own:
        return wrapped
    full: int = own.pop("sequence_id")
    if full <= schema.MAX_SEQUENCE_ID or wrap_sequence_id(full) != wrapped:
        raise MessageError("a sequenceId that agrees with the field sequence_id", meta.position if meta else 0)
    return full


def _adopt_elements(entry: dict[str, Any], elements: Iterable[_Element], *, ours: bool, numbered: bool) -> None:
    understood = {ORIGIN: ours, META: numbered}
    for element in elements:
        known = OWN_PARAMETERS[element.sd_id] if understood.get(element.sd_id) else ()
        values = element.values(known)
        if values or not known:
            adopt(entry, element.sd_id, values)
