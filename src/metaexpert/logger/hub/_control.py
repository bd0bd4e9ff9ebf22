"""Requests from outside to one logger (see `metaexpert.logger.config.control`): levels that hold for a time, and more.

The level of the program comes back when the time is over, by the monotonic clock. A level that the program sets
meanwhile waits until then.

Threads: the writing thread, or what stands in for it, calls `obey` and `serve`; any thread may set the program's level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from metaexpert.logger import schema
from metaexpert.logger.config.control import DUMP, FLUSH, LEVEL, RESET, STATUS, Request
from metaexpert.logger.encoding.line import SECOND, Clock
from metaexpert.logger.system.calls import monotonic
from metaexpert.logger.system.threads import RLock

if TYPE_CHECKING:
    from metaexpert.logger.hub.pipeline import Pipeline


class _Override(NamedTuple):
    """A level, when it ends (monotonic, in seconds), the same as text, and the request that set it."""

    level: int
    end: float
    until: str
    request: Request


class Control:
    """What was asked of one logger from outside.

    Args:
        pipeline: The logger's.
        announce: Logs an entry of the logger's own: level, message, and fields as keywords.
        clock: The time in entries.
    """

    def __init__(self, pipeline: Pipeline, announce: Callable[..., bool], clock: Clock) -> None:
        self._pipeline = pipeline
        self._announce = announce
        self._clock = clock
        self._lock = RLock()
        #: The level that the program has set.
        self.level = pipeline.routing.log_level
        #: By the name of a logger; that of `log_level` under an empty name.
        self._overrides: dict[str, _Override] = {}
        #: Called with the level number when it changes, by what brings in records of `logging`.
        self.on_level: Callable[[int], None] = lambda _: None
        #: Called with it, and the levels of single loggers, when they were changed from outside.
        self.on_override: Callable[[int, Mapping[str, int]], None] = lambda *_: None
        #: Called after any change: by the classes of the loggers.
        self.on_change: Callable[[], None] = lambda: None

    def set_level(self, level: int) -> None:
        """Set `log_level`; the console follows unless it has a level of its own. Loggers with own levels keep them."""
        with self._lock:
            self.level = level
            if "" not in self._overrides:
                self.on_level(level)
                self._apply(level)

    def _apply(self, level: int) -> None:
        self._pipeline.routing.set_level(level)
        self._pipeline.refresh()
        self.on_change()

    def obey(self, request: Request) -> dict[str, Any] | None:
        """Do what is asked, and return what to answer; None if another expert is meant."""
        expert = self._pipeline.config.expert_name
        if self._pipeline.closed or request.expert not in (None, expert):
            return None
        done = self._do(request)
        if request.action != STATUS:
            self._announce("info", "log.control", action=request.action, **done, by=request.by, request=request.id)
        levels = {name: _told(override) for name, override in self._overrides.items() if name}
        own = self._overrides.get("")
        now = {"level": _word(self._pipeline.routing.log_level), "until": own.until if own else None}
        return {"expert": expert, **done, "now": {**now, "levels": levels}, "health": str(self._pipeline.health)}

    def _do(self, request: Request) -> dict[str, Any]:
        if request.action == LEVEL and request.level is not None and request.seconds is not None:
            until = self._clock.later(request.seconds * SECOND)
            level = schema.LEVEL_NUMBERS[request.level]
            override = _Override(level, monotonic() + request.seconds, until, request)
            self._change({**self._overrides, request.logger or "": override})
            named = {"logger_name": request.logger} if request.logger else {}
            return {"new_level": _word(level), **named, "until": until}
        if request.action == RESET:
            levels = {name or "log_level": _word(override.level) for name, override in self._overrides.items()}
            self._change({})
            return {"ended": levels}
        if request.action == FLUSH:
            directory = self._pipeline.directory
            directory.request(insist=True, sync=True)
            directory.drain()
            return {"flushed": directory.error is None}
        return {"dumped": self._pipeline.dump()} if request.action == DUMP else {}

    def is_idle(self) -> bool:
        """Return whether `serve` would find nothing."""
        return not self._overrides

    def serve(self) -> None:
        """End the levels whose time is over."""
        if not self._overrides:
            return
        now = monotonic()
        over = {name: override for name, override in self._overrides.items() if now >= override.end}
        if over:
            self._change({name: override for name, override in self._overrides.items() if name not in over})
        for name, override in over.items():
            named = {"logger_name": name} if name else {"new_level": _word(self._pipeline.routing.log_level)}
            self._announce(
                "info",
                "log.control",
                action="end",
                ended=_word(override.level),
                **named,
                by=override.request.by,
                request=override.request.id,
            )

    def _change(self, overrides: dict[str, _Override]) -> None:
        with self._lock:
            self._overrides = overrides
            level = overrides[""].level if "" in overrides else self.level
            own = {name: override.level for name, override in overrides.items() if name}
            self._pipeline.levels.prepare(own)
            self._pipeline.refresh()
            self._pipeline.levels.override(own)
            self.on_override(level, own)
            self._apply(level)
        self._pipeline.directory.listeners.ask(self._pipeline)  # from now on, or no longer, served each second

    def after_fork(self) -> None:
        """Start anew in a child; what holds in the parent holds here too, until its end."""
        self._lock = RLock()


def _word(level: int) -> str:
    return schema.level_word(level).upper()


def _told(override: _Override) -> dict[str, str]:
    return {"level": _word(override.level), "until": override.until}
