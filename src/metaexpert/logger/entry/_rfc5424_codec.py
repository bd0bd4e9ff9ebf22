r"""Encodes and decodes the parameters of RFC 5424: names, values, JSON, times. Pure functions that take linear time.

RFC 5424 section 6.3 allows a parameter name up to 32 printable ASCII characters without ``=``, ``]``, ``"`` and space.
A parameter value may be any UTF-8, with a backslash before ``"``, ``\`` and ``]``. Fields of an entry may have any
name and any value, so each encoding here has an exact inverse:

- *Names* are percent-encoded UTF-8: ``größe`` is ``gr%C3%B6%C3%9Fe``, and ``%`` alone is the empty name. A name that
  is then longer than 32 becomes ``%L1``, ``%L2`` …, which no percent-encoding looks like, and is spelled out elsewhere.
- *Texts* have their control characters as ``\u000a``. Backslashes are doubled only before a control character and
  before text that looks like such an escape, so that ordinary text, such as ``C:\new`` and ``\u00e9``, stays as it is.
  The backslashes of RFC 5424 are added on top.
- *Other values* are compact JSON on one line.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, unquote

from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.schema import MAX_SEQUENCE_ID, timestamp

#: RFC 5424 section 6, SD-NAME.
MAX_NAME: Final = 32
EMPTY_NAME: Final = "%"
LONG_NAME_PREFIX: Final = "%L"
#: Digits of the longest integer that `json_value` reads. Conversion takes more than linear time, so it has a bound.
MAX_INTEGER_DIGITS: Final = 65_536

# Digits that Python always converts, whatever the value of `sys.set_int_max_str_digits`.
_ALWAYS_CONVERTED: Final = 640

_PLAIN_NAME: Final = lazy_pattern(r"[!#-$&-<>-\\^-~]+")
_ENCODED_NAME: Final = lazy_pattern(r"(?:[^%]|%[0-9A-F]{2})++")
_SAFE_IN_NAMES: Final = "!#$&'()*+,/:;<>?@[\\^`{|}"

# C0, DEL, C1, the two Unicode line separators, and surrogates, which UTF-8 cannot encode.
_CONTROL: Final = "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_CODE: Final = "u(?:00[0189][0-9a-f]|007f|202[89]|d[89a-f][0-9a-f]{2})"
_TO_ESCAPE: Final = lazy_pattern(rf"(?<!\\)(?:(\\++)({_CODE})|(\\*+)({_CONTROL}))")
_ESCAPED: Final = lazy_pattern(rf"(?<!\\)(\\++)({_CODE})")
_RAW_IN_JSON: Final = lazy_pattern(_CONTROL)

_SPECIAL: Final = lazy_pattern(r'(["\\\]])')
_ESCAPED_SPECIAL: Final = lazy_pattern(r'\\(["\\\]])')

_TIMESTAMP: Final = lazy_pattern(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
    r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)


def encode_name(name: str) -> str:
    """Return *name* in the characters of an SD-NAME. The result is unique, and may be longer than `MAX_NAME`."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    return quote(name, safe=_SAFE_IN_NAMES, errors="surrogatepass") or EMPTY_NAME


def decode_name(encoded: str) -> str:
    """Return the name that `encode_name` encoded as *encoded*.

    Raises:
        ValueError: If no name is encoded like that.
    """
    if encoded == EMPTY_NAME:
        return ""
    if not _ENCODED_NAME.fullmatch(encoded):
        raise ValueError("a % without two hexadecimal digits")
    return unquote(encoded, errors="surrogatepass")


def escape_text(text: str) -> str:
    """Return *text* as one line without NUL: its control characters are escaped."""
    if text.isprintable() and "\\u" not in text:
        return text
    return _TO_ESCAPE.sub(_escape_match, text)


def _escape_match(match: re.Match[str]) -> str:
    backslashes, code, before, control = match.groups()
    return backslashes * 2 + code if code else f"{before * 2}\\u{ord(control):04x}"


def unescape_text(text: str) -> str:
    """Return the text that `escape_text` escaped as *text*."""
    return _ESCAPED.sub(_unescape_match, text) if "\\u" in text else text


def _unescape_match(match: re.Match[str]) -> str:
    pairs, odd = divmod(len(match[1]), 2)
    return "\\" * pairs + (chr(int(match[2][1:], 16)) if odd else match[2])


def escape_value(text: str) -> str:
    r"""Return *text* as a PARAM-VALUE: a backslash before ``"``, ``\`` and ``]``."""
    return _SPECIAL.sub(r"\\\1", text)


def unescape_value(text: str) -> str:
    """Return the text of a PARAM-VALUE. A backslash before another character stays (RFC 5424 section 6.3.3)."""
    return _ESCAPED_SPECIAL.sub(r"\1", text)


def json_text(value: Any) -> str:
    """Return *value* as compact JSON without control characters. Integers of any size are exact.

    Raises:
        ValueError: If JSON cannot express it: NaN, an infinity, too many levels.
        TypeError: If it is not made of JSON types.
    """
    try:
        try:
            text = _dumps(value)
        except ValueError:
            # Either an integer exceeds Python's limit of digits, or there is a NaN, and that fails again.
            text = _long_json(value)
    except RecursionError:
        raise ValueError("nested too deeply for JSON") from None
    return _RAW_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _long_json(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_dumps(str(key))}:{_long_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_long_json, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(Decimal(value))  # exact, and without the limit of digits
    return _dumps(value)


def json_value(text: str) -> Any:
    """Return the value of JSON *text*. Integers are exact.

    Raises:
        ValueError: If it is not JSON, is nested too deeply, or has a number beyond the range of a float or an integer
            of more than `MAX_INTEGER_DIGITS` digits.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _integer(text: str) -> int:
    digits = text.lstrip("-")
    if len(digits) > MAX_INTEGER_DIGITS:
        raise ValueError(f"an integer of more than {MAX_INTEGER_DIGITS} digits")
    return -_joined(digits) if text.startswith("-") else _joined(digits)


def _joined(digits: str) -> int:
    if len(digits) <= _ALWAYS_CONVERTED:
        return int(digits)
    low = len(digits) // 2
    power: int = 10**low
    return _joined(digits[:-low]) * power + _joined(digits[-low:])


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number beyond the range of a float")
    return number


def _constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_constant)


def wrap_sequence_id(number: int) -> int:
    """Return *number*, 1 or more, as a ``sequenceId``, which is 1 after 2147483647 (RFC 5424 section 7.3.1)."""
    return (number - 1) % MAX_SEQUENCE_ID + 1


def utc_timestamp(text: str) -> str | None:
    """Return an RFC 5424 TIMESTAMP as UTC with six fraction digits, or None if it is outside the years 1 to 9999.

    Raises:
        ValueError: If *text* is not a TIMESTAMP (RFC 5424 section 6.2.3).
    """
    if not _TIMESTAMP.fullmatch(text):
        raise ValueError("no TIMESTAMP")
    # RFC 3339 has a year 0, with a 29 February. Python has not.
    year = text[:4]
    moment = datetime.fromisoformat(("2000" if year == "0000" else year) + text[4:])
    if year == "0000":
        return None
    try:
        return timestamp(moment)
    except OverflowError:
        return None
