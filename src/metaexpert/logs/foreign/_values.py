"""Times and levels of other loggers, as ours.

Levels are words of any spelling, or numbers on one of the usual scales. A time without a zone is one of this machine's
local zone; an hour that comes twice, when clocks are set back, is taken for the first of the two.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

#: Words beyond those of ours: of syslog, Go, Rust, Java and Node, and the three letters of zerolog's console.
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "debug": ("trace", "trc", "verbose", "fine", "finer", "finest", "silly", "dbg", "t", "d"),
    "info": ("information", "informational", "notice", "note", "success", "http", "default", "inf", "i"),
    "warning": ("warn", "wrn", "w"),
    "error": ("err", "eror", "severe", "exception", "e"),
    "critical": ("crit", "fatal", "ftl", "panic", "dpanic", "pnc", "alert", "emerg", "emergency", "f", "c"),
}
LEVELS: Final[Mapping[str, str]] = {word: level for level, words in _WORDS.items() for word in (level, *words)}
#: Words that say no more than the level that they become.
PLAIN: Final = frozenset(_WORDS) | {"warn", "wrn", "inf", "dbg", "err", "crit", "information", *"dief"} | {"w"}
#: slog writes levels between its own like this.
_SLOG: Final = re.compile(r"([a-z]+)[+-]\d+")
#: Scales of numbers: the lowest number of each level, ascending (descending for syslog, where 0 is the worst).
PYTHON: Final = "python"
PINO: Final = "pino"
CLOUD: Final = "google cloud"
SYSLOG: Final = "syslog"
_SCALES: Final[Mapping[str, tuple[int, int, int, int]]] = {
    PYTHON: (20, 30, 40, 50),
    PINO: (30, 40, 50, 60),
    CLOUD: (200, 400, 500, 600),
}
_ASCENDING: Final = ("debug", "info", "warning", "error", "critical")
#: RFC 5424, table 2.
_SEVERITIES: Final = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")

#: A number is a time if it is between these years; in seconds, or a thousandth of that and so on.
_EARLIEST: Final = 946_684_800  # 2000
_LATEST: Final = 4_102_444_800  # 2100
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OLD_MINUTES: Final = re.compile(r"(\d\d:\d\d)\.(\d\d)(?=$|[^\d])")
_NUMBER: Final = re.compile(r"\d{9,19}(?:\.\d+)?")
_ZONE: Final = re.compile(r"(?:Z|UTC|GMT|[+-]\d\d:?\d\d)$")
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
_DATED: Final = re.compile(r"\d{4}[-/]\d\d[-/]\d\d[T ]|\d{8}T\d{6}")


def without_colours(text: str) -> str:
    """Return *text* without the codes of colours."""
    return _COLOURS.sub("", text) if "\x1b[" in text else text


def level_of(value: Any, scale: str = "") -> str | None:
    """Return the level word of ours for a level of another logger; None if it is not certainly a level.

    Args:
        value: A word, or a number.
        scale: What numbers mean.
    """
    if isinstance(value, str):
        word = value.strip().lower()
        slog = _SLOG.fullmatch(word)
        known = LEVELS.get(slog[1] if slog else word)
        return known if known or not (scale and word.isdecimal()) else level_of(int(word[:4]), scale)
    if type(value) is not int or not scale:
        return None
    if scale == SYSLOG:
        return _SEVERITIES[value] if 0 <= value < len(_SEVERITIES) else None
    return _ASCENDING[sum(value >= number for number in _SCALES[scale])] if value >= 0 else None


def time_of(value: Any) -> datetime | None:
    """Return a time of another logger, aware; None if it is not certainly one."""
    if isinstance(value, str):
        return _read(value.strip())
    if isinstance(value, Mapping):
        if "seconds" in value:
            seconds, part = value["seconds"], value.get("nanos", 0)
            whole = type(part) is int and str(seconds).isdecimal()
            return _since_epoch(Decimal(str(seconds)) + Decimal(part).scaleb(-9)) if whole else None
        inner = next((value[key] for key in ("timestamp", "repr", "$date") if key in value), None)
        return None if isinstance(inner, Mapping) else time_of(inner)
    return _since_epoch(Decimal(repr(value))) if type(value) in (int, float) else None


def _since_epoch(number: Decimal) -> datetime | None:
    for power in (0, 3, 6, 9):
        if (seconds := number.scaleb(-power)).is_finite() and _EARLIEST <= seconds < _LATEST:
            return _EPOCH + timedelta(microseconds=int(round(seconds.scaleb(6), 0)))
    return None


def _read(text: str) -> datetime | None:
    if _NUMBER.fullmatch(text):
        try:
            return _since_epoch(Decimal(text))
        except InvalidOperation:
            return None
    if not _DATED.match(text):
        return None
    text = text.replace("/", "-").removesuffix(" UTC").removesuffix(" GMT") + "Z" * text.endswith((" UTC", " GMT"))
    if len(text) > len("2026-11-22 10:31.00") - 1:  # the console of older versions of structlog
        text = _OLD_MINUTES.sub(r"\1:\2", text, count=1)
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo is not None else _from_local(time)
    except (ValueError, OverflowError, OSError):
        return None


def _from_local(time: datetime) -> datetime:
    # The offset is the same within a quarter of an hour: zones change at such times.
    return (time + _offset(time.replace(minute=time.minute // 15 * 15, second=0, microsecond=0))).replace(tzinfo=UTC)


@lru_cache(maxsize=256)
def _offset(local: datetime) -> timedelta:
    return local.astimezone(UTC).replace(tzinfo=None) - local


def is_zoned(value: Any) -> bool:
    """Return whether a time names its zone, or needs none."""
    return not isinstance(value, str) or bool(_NUMBER.fullmatch(value) or _ZONE.search(value))
