"""Times as people type them: ``15m``, ``yesterday 14:00``, ``2026-11-22 10:31``, RFC 3339. Pure."""

from __future__ import annotations

import re
import time as clock
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN: Final = re.compile(r"(?:\d+(?:\.\d+)?\s*[smhdw]\s*)+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,6})?)?")
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
EXPECTED: Final = (
    "it should be like 15m, 2h30m, 14:00, today, yesterday 14:00, monday, 2026-11-22, 2026-11-22 14:00 "
    "or 2026-11-22T14:00:00Z"
)


def parse_time(text: str | datetime, *, now: datetime | None = None, tz: tzinfo = UTC, last: bool = False) -> datetime:
    """Return the time that *text* names, aware.

    Args:
        text: A span before now (``90s``, ``15m``, ``2h30m``, ``1d``, ``1w``, maybe with ``ago``), ``now``, a time of
            today (``14:00``), a day at midnight or with a time (``today``, ``yesterday 14:00``, ``monday 9:30``: the
            last one that began before now), a date, or a date with a time in ISO 8601 or RFC 3339. A datetime is
            returned as it is; a naive one is in *tz*.
        now: The present; the system clock's by default.
        tz: Time zone of text that names none.
        last: Where clocks are set back, a time of the hour that comes twice is the second of both instead of the first.
            A time that they skip when they are set forward is then the last moment before, instead of the first after.

    Raises:
        ValueError: *text* is not a time.
    """
    if isinstance(text, datetime):
        return text if text.tzinfo else _settled(text.replace(tzinfo=tz), last=last or bool(text.fold))
    present = (now or datetime.now(UTC)).astimezone(tz)
    word = " ".join(text.lower().split())
    try:
        found = _span(word, present) or _settled(_day(word, present) or _instant(text.strip(), tz), last=last)
        found.astimezone(UTC)  # OverflowError beyond the years that there are
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise ValueError(f"{text!r} is no time; {EXPECTED}")
    return found


def parse_zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name, ``UTC``, or ``local`` (that of this machine).

    Raises:
        ValueError: There is no such zone.
    """
    if name.lower() == "local":
        return _Local() if clock.daylight or clock.timezone else UTC
    if name.upper() in ("UTC", "Z"):
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415 - seldom needed

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; it should be like Europe/Berlin, UTC or local") from None


class _Local(tzinfo):
    """The zone of this machine, by the rules of its system: in summer it has another distance from UTC."""

    def utcoffset(self, moment: datetime | None, /) -> timedelta:
        """Return the distance from UTC, at *moment* as clocks show it."""
        if moment is not None:
            shown = moment.replace(tzinfo=None, microsecond=0)
            with suppress(OSError, OverflowError, ValueError):  # the system knows no such year
                return shown - datetime(1970, 1, 1) - timedelta(seconds=shown.timestamp())  # noqa: DTZ001 - as shown
        return timedelta(seconds=-clock.timezone)

    def dst(self, moment: datetime | None, /) -> None:
        """Return None: it is not known."""

    def tzname(self, moment: datetime | None, /) -> str:
        """Return the name of the zone, for all seasons."""
        return "/".join(dict.fromkeys(clock.tzname if clock.daylight else clock.tzname[:1]))

    def __str__(self) -> str:
        """Return the same name."""
        return self.tzname(None)

    def fromutc(self, moment: datetime, /) -> datetime:
        """Return *moment*, which is in UTC, as clocks show it."""
        try:
            shown = moment.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)
        except (OSError, ValueError):
            return moment + self.utcoffset(None)
        return shown.replace(fold=int(shown - moment != self.utcoffset(shown)))


def parse_span(text: str) -> timedelta:
    """Return the length that *text* names: ``90s``, ``15m``, ``2h30m``, ``1d``.

    Raises:
        ValueError: It names none, or a length beyond 2.7 million years (`timedelta`).
    """
    word = " ".join(text.lower().split())
    if not _SPAN.fullmatch(word):
        raise ValueError(f"{text!r} is no length of time; it should be like 90s, 15m or 2h30m")
    try:
        return sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in _PART.findall(word)), timedelta())
    except OverflowError:
        raise ValueError(f"{text!r} is too long") from None


def _span(word: str, now: datetime) -> datetime | None:
    word = word.removesuffix(" ago")
    if word == "now":
        return now
    # Subtracted in UTC: a change to summer time must not change the length of a span.
    return now.astimezone(UTC) - parse_span(word) if _SPAN.fullmatch(word) else None


def _day(word: str, now: datetime) -> datetime | None:
    name, _, clock = word.partition(" ")
    if _CLOCK.fullmatch(word):
        name, clock = "today", word
    back = {"today": 0, "yesterday": 1}.get(name)
    if name in _DAYS:
        back = (now.weekday() - _DAYS.index(name)) % 7
    if back is None:
        return None
    midnight = datetime.combine(now.date() - timedelta(days=back), time(), now.tzinfo)
    moment = datetime.combine(midnight.date(), _clock(clock), now.tzinfo) if clock else midnight
    return moment - timedelta(days=7) if name in _DAYS and moment > now else moment


def _settled(moment: datetime, *, last: bool) -> datetime:
    """Return the one moment that is meant by what clocks show twice or never, see `parse_time`."""
    first, second = (moment.replace(fold=fold).utcoffset() for fold in (0, 1))
    if first is None or second is None or first == second:
        return moment
    return moment.replace(fold=int(last)) if first > second else _skipped(moment, last=last)


def _skipped(moment: datetime, *, last: bool) -> datetime:
    """Return when clocks were set forward over *moment*, which they never showed; with *last*, just before that."""
    low, high = (moment.replace(fold=fold).astimezone(UTC) for fold in (1, 0))
    before = low.astimezone(moment.tzinfo).utcoffset()
    while high - low > datetime.resolution:
        middle = low + (high - low) / 2
        low, high = (middle, high) if middle.astimezone(moment.tzinfo).utcoffset() == before else (low, middle)
    return (low if last else high).astimezone(moment.tzinfo)


def _clock(text: str) -> time:
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(text)
    hour, minute, second, fraction = found.groups()
    return time(int(hour), int(minute), int(second or 0), round(float(fraction or 0) * 1_000_000))


def _instant(text: str, tz: tzinfo) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=tz)
