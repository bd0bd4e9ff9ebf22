"""What makes a line of an event: time, number and the rest of the header, the names of logger and expert, the layout.

Threads: everything may be called by any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.encoding.foreign_steps import CALLER_EVENT, EVENT
from metaexpert.logger.encoding.line import MADE_AT, Clock, Entry, Header, encoder, renumbered
from metaexpert.logger.entry.values import Cleaner, dumps
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.masking.rules import Masker, Rules, mask_text
from metaexpert.logger.system.lazy_structlog import EventDict

#: Values of such an entry that are kept.
_MOST_OWN: Final = 1000


class Stamper:
    """Makes the entries of one logger.

    Args:
        config: Its configuration.
        header: The header fields that stay the same.
        directory: Where the numbers come from.
        rules: What is masked in names.
        now: Nanoseconds since the epoch.
    """

    def __init__(
        self,
        config: LoggerConfig,
        header: Header,
        directory: LogDirectory,
        rules: Rules,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.clock = Clock(now)
        self._encode = encoder(config.layout, config.enterprise_id, config.max_entry_size)
        self.expert_name = Cleaner(config.max_value_length, 1).key(mask_text(config.expert_name))
        self._header = header
        self._directory = directory
        #: The name of the expert in the header.
        self.appname = header.appname
        self._numbers_all = not config.log_to_file
        self._rules = rules
        self._longest = config.max_value_length

    def line(self, name: str | None, level: str, event_dict: EventDict, *, trade: bool, counted: bool) -> bytes:
        """Return the line of a clean event's entry.

        Args:
            name: The logger's name.
            level: The level's word.
            event_dict: The event, which is used up.
            trade: Whether it is one.
            counted: Whether it goes to a file: then it bears the next number, which it gets when it is kept (see
                `metaexpert.logger.encoding.route.keep`). One for the console alone repeats the last number, so that
                the files together have no gap.
        """
        timestamp = self.clock.text(MADE_AT.get() or self.clock.now())
        entry = self._header.stamp(timestamp, level, _msgid(trade), 0, event_dict.pop(EVENT, ""))
        if name:
            entry[schema.LOGGER_KEY] = self._rules.mask(name)[0]
        entry["expert_name"] = self.expert_name
        if CALLER_EVENT in event_dict and EVENT not in event_dict:
            event_dict = {EVENT if key == CALLER_EVENT else key: value for key, value in event_dict.items()}
        entry.update(event_dict)
        sequence = self._directory.sequence
        if not self._numbers_all:
            entry["sequence_id"] = sequence.value if counted else self._last_number
            return self._encode(entry)
        # As late as can be: an exception that is injected must not burn it.
        number = entry["sequence_id"] = next(sequence)
        try:
            return self._encode(entry)
        except BaseException:
            sequence.give_back(number)
            raise

    @property
    def _last_number(self) -> int:
        return max(self._directory.sequence.value - 1, 1)

    def refused(self, line: bytes) -> bytes:
        """Return *line*, an entry that was counted but not kept, without a number of its own."""
        return renumbered(line, self._last_number)

    def own_line(self, level: str, message: str, fields: Mapping[str, Any], *, counted: bool) -> bytes:
        """Return the line of an entry of the logger's own, such as ``log.dropped``."""
        cleaner = Cleaner(self._longest, _MOST_OWN, Masker(self._rules))
        event: EventDict = {EVENT: message, **cleaner.clean(fields)}
        return self.line(schema.OWN_NAME, level, event, trade=False, counted=counted)

    def notice(self, level: str, message: str) -> Entry:
        """Return an entry that is for a channel alone."""
        entry = self._header.stamp(self.clock(), level, schema.MSGID_LOG, self._last_number, message)
        return {**entry, "expert_name": self.expert_name}

    def head(self, level: str, *, trade: bool) -> bytes:
        """Return what stands in each line of a level between the microseconds and the number."""
        stamped = dumps(self._header.stamp("", level, _msgid(trade), 0, ""))
        return b"Z" + stamped[len(b'{"timestamp":"') : -len(b'0,"message":""}')]

    def after_fork(self) -> None:
        """Name the child in what follows."""
        self._header.refresh()


def _msgid(trade: bool) -> str:
    return schema.MSGID_TRADE if trade else schema.MSGID_LOG
