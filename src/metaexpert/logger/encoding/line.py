"""An entry as bytes: the clock and the header, the JSON line in either layout, and the cut that keeps a line bounded.

The RFC 5424 message itself is made by `metaexpert.logger.entry.rfc5424`, the console's text by
`metaexpert.logger.entry.console_text`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.entry.fitting import fitted
from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.entry.values import dumps
from metaexpert.logger.schema import Layout
from metaexpert.logger.system.calls import getpid
from metaexpert.logger.system.host import hostname

Entry = dict[str, Any]
Encode = Callable[[Entry], bytes]

#: In nanoseconds.
SECOND: Final = 1_000_000_000
#: The first second of the year 10000, which strftime does not know.
_END_OF_TIME: Final = 253_402_300_800
#: How each line begins.
_START: Final = b'{"%s":"' % schema.HEADER_KEYS[0].encode()
#: The number of an entry, as it stands in its line.
SEQUENCE_ID: Final = lazy_pattern(rb'"sequence_id":(\d+)')
#: The numbers of an entry in the layout ``rfc5424``: of the header, and in the parameters, where it wraps.
_BOTH_NUMBERS: Final = lazy_pattern(
    rb'"sequence_id":\d+,"message":"(?:[^"\\]|\\.)*"(?:,"logger":"(?:[^"\\]|\\.)*")?,'
    rb'"structured_data":\{"meta":\{"sequenceId":(\d+)'
)
#: When the entry of this call was made, in nanoseconds since the epoch; 0 is now. A record of `logging` may be older.
MADE_AT: Final[ContextVar[int]] = ContextVar("metaexpert_made_at", default=0)


class Clock:
    """Wall-clock time as RFC 3339 UTC text with six digits. Keeps the text of the second that was last asked for.

    Args:
        now: Returns nanoseconds since the epoch; a test passes a clock of its own.

    Attributes:
        now: The same.
        second: When the last second began, in nanoseconds since the epoch, and how a line of it begins.

    Safe to call from any thread: the second is one tuple, replaced in one step.
    """

    __slots__ = ("now", "second")

    def __init__(self, now: Callable[[], int] = time.time_ns) -> None:
        self.now = now
        self.second = (-SECOND, b"")

    def __call__(self) -> str:
        """Return the current time, for example ``2026-11-22T10:31:00.123456Z``."""
        return self.text(self.now())

    def text(self, nanoseconds: int) -> str:
        """Return a time in *nanoseconds* since the epoch as text."""
        second, start = self.second
        if not 0 <= nanoseconds - second < SECOND:
            second, start = self.new_second(nanoseconds)
        return f"{start[len(_START) :].decode()}{(nanoseconds - second) // 1000:06d}Z"

    def later(self, nanoseconds: int) -> str:
        """Return the time so many *nanoseconds* from now as text."""
        return Clock(self.now).text(self.now() + nanoseconds)

    def new_second(self, nanoseconds: int) -> tuple[int, bytes]:
        """Return, and keep, when the second of *nanoseconds* began and how a line of it begins.

        A time outside the years that strftime knows is written as the epoch rather than refused.
        """
        second = nanoseconds // SECOND
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second if 0 <= second < _END_OF_TIME else 0))
        self.second = begun = (second * SECOND, b"%s%s." % (_START, text.encode()))
        return begun


class Header:
    """The header fields that stay the same over the calls of one process.

    Args:
        appname: Name of the expert; cut and cleaned as RFC 5424 wants it.
        facility: RFC 5424 facility number.
    """

    __slots__ = ("_fixed", "appname", "facility")

    def __init__(self, appname: str, facility: int) -> None:
        self.appname = schema.printable_ascii(appname, schema.MAX_APPNAME)
        self.facility = facility
        self.refresh()

    def refresh(self) -> None:
        """Read host name and process id again: a forked child has an id of its own."""
        self._fixed: Entry = {
            "facility": self.facility,
            "version": schema.RFC5424_VERSION,
            "hostname": schema.printable_ascii(hostname(), schema.MAX_HOSTNAME),
            "appname": self.appname,
            "procid": str(getpid()),
        }

    def stamp(self, timestamp: str, level: str, msgid: str, sequence_id: int, message: str) -> Entry:
        """Return a new entry with all header keys in their order."""
        return {
            "timestamp": timestamp,
            "level": level,
            "severity": schema.SEVERITIES[level],
            **self._fixed,
            "msgid": msgid,
            "sequence_id": sequence_id,
            "message": message,
        }


def encoder(layout: Layout, enterprise_id: int, max_entry_size: int) -> Encode:
    """Return the function that turns a clean entry into one line with its newline, in the wanted layout.

    An entry whose line would be longer than *max_entry_size* bytes has its largest values cut and marked (`fitted`).
    """
    encode: Encode = dumps
    if layout == "rfc5424":
        from metaexpert.logger.entry.rfc5424 import to_layout  # noqa: PLC0415 - its codec is not needed to start otherwise

        def encode(entry: Entry) -> bytes:
            return dumps(to_layout(entry, enterprise_id=enterprise_id))

    def line(entry: Entry) -> bytes:
        encoded = encode(entry)
        if len(encoded) >= max_entry_size:
            encoded = fitted(entry, encode, max_entry_size)
        return encoded + b"\n"

    return line


def renumbered(line: bytes, number: int) -> bytes:
    """Return *line*, an entry in either layout, with that *number*."""
    found = SEQUENCE_ID.search(line)
    if found is None or int(found[1]) == number:
        return line
    if (both := _BOTH_NUMBERS.search(line)) is not None:
        line = line[: both.start(1)] + b"%d" % ((number - 1) % schema.MAX_SEQUENCE_ID + 1) + line[both.end(1) :]
    return line[: found.start(1)] + b"%d" % number + line[found.end(1) :]
