"""Chains of structlog that are not ours: made before the first `MetaLogger`, or configured after it.

structlog's bound loggers hold their list of processors, so that a `Tap` at the end of this list reaches also those that
were bound or cached before us. It sees each event after the program's own processors, as data, and brings it into the
installed pipeline. What the program prints itself goes on, unless our console shows the same at the same place.

Threads: any thread may log. Lists are changed by single assignments.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.bound import BoundLogger, Output, level_number, named
from metaexpert.logger.capture._records import RenderedEvent, drop_stamps
from metaexpert.logger.encoding.foreign_steps import EVENT, Tidier
from metaexpert.logger.encoding.processors import ProcessorList
from metaexpert.logger.entry.values import safe_str
from metaexpert.logger.system.interrupts import let_pass
from metaexpert.logger.system.lazy_structlog import DropEvent, EventDict

_BY_NUMBER: Final = frozenset({"log", "alog"})


class Tap:
    """Stands for the last step of another chain, the one that renders, and brings its events in.

    Args:
        chain: The list that it stands in.
        installed: Returns the logger to bring them to; None while there is none.
        meant: Whether the program has chosen where the chain prints. structlog's own default is no choice.
    """

    def __init__(self, chain: list[Any], installed: Callable[[], BoundLogger | None], *, meant: bool) -> None:
        self.step = chain[-1]
        self._tidy = Tidier(chain[:-1])
        self._installed = installed
        self._meant = meant

    def __call__(self, logger: Any, method: str, event_dict: EventDict) -> Any:
        """Bring the event in, or mark it for the handler that will, and do what the step does."""
        target = self._installed()
        if target is None or "_record" in event_dict:  # by ProcessorFormatter: a record, which comes by itself
            return self.step(logger, method, event_dict)
        fields = self._tidy(logger, method, event_dict)
        if isinstance(logger, logging.Logger) and target.config.capture_stdlib:
            result = self.step(logger, method, event_dict)
            if isinstance(result, str):
                result = RenderedEvent(result)
                result.fields = dict(fields)
            return result
        word = schema.WORDS.get(method, "info")
        enter(target, getattr(logger, "name", None), word, fields)
        if not self._meant or type(logger) is Door or _shows(target, word, logger):
            raise DropEvent
        return self.step(logger, method, event_dict)


def tap(processors: Any, installed: Callable[[], BoundLogger | None], *, meant: bool) -> None:
    """Put a `Tap` on the list of *processors*, unless it is ours, tapped already, or collects for a test."""
    if type(processors) is list and processors and not collects(processors) and type(processors[-1]) is not Tap:
        processors[-1] = Tap(processors, installed, meant=meant)


def collects(processors: Any) -> bool:
    """Return whether `structlog.testing.capture_logs` is at work."""
    testing = sys.modules.get("structlog.testing")
    return testing is not None and any(isinstance(step, testing.LogCapture) for step in processors)


def adopted(output: Output, processors: Any) -> Any:
    """Return the chain for a bound logger of ours that was made with *processors* of the program's.

    Its last step would print, which our pipeline does.
    """
    if processors is output.pipeline.processors or isinstance(processors, ProcessorList) or collects(processors):
        return processors
    return output.pipeline.chain_with([*processors][:-1])


def enter(target: BoundLogger, name: object, word: str, event: EventDict) -> None:
    """Log an event of another chain on the pipeline of *target*. Raises no `Exception`."""
    try:
        fields = {safe_str(key): value for key, value in event.items() if key != EVENT}
        logger = named(target, name if isinstance(name, str) else None, {}, follows=True)
        getattr(logger, word)(event.get(EVENT), **fields)
    except Exception as error:
        let_pass(error)
        target._logger.pipeline.health.failed("an event of structlog could not be taken", error)


def _shows(target: BoundLogger, word: str, logger: Any) -> bool:
    pipeline = target._logger.pipeline
    routing = pipeline.levels.of(getattr(logger, "name", None)).routing
    shows = routing.shows(schema.LEVEL_NUMBERS[word]) and pipeline.outputs.console.works
    return shows and pipeline.outputs.console.prints_on(getattr(logger, "_file", None))


class Door:
    """What our logger factory gives to structlog: the way to the installed logger, whoever wraps it.

    Args:
        name: Name of the logger.
        output: Where it leads.
        installed: Returns the logger to log on; None while there is none.
    """

    def __init__(self, name: str | None, output: Output, installed: Callable[[], BoundLogger | None]) -> None:
        self.output = Output(output.pipeline, output.classes, name, follows=True)
        self.name = self.output.name
        self._installed = installed

    def __getattr__(self, name: str) -> Any:
        """Return a log method that takes what a foreign chain renders; else what a logger of `logging` has."""
        if name in schema.WORDS or name in _BY_NUMBER:
            return partial(self._print, name)
        return getattr(logging.getLogger(self.name), name)

    def _print(self, method: str, /, *args: Any, **fields: Any) -> None:
        target = self._installed()
        if method in _BY_NUMBER and args:
            method, args = schema.level_word(level_number(args[0])), args[1:]
        if target is not None:
            rendered, word = args[0] if args else fields.pop(EVENT, None), schema.WORDS.get(method, "info")
            event = {**_event_of(rendered), **fields}
            drop_stamps(event, word, time.time())
            enter(target, self.name, word, event)


def _event_of(rendered: Any) -> dict[str, Any]:
    """Return the event that a chain has *rendered*; a text that is no JSON object is the message."""
    text = rendered.decode("utf-8", "replace") if isinstance(rendered, bytes | bytearray) else rendered
    if isinstance(text, str) and text.startswith("{"):
        try:
            event = json.loads(text)
        except ValueError:
            return {EVENT: text}
        if isinstance(event, dict) and EVENT in event:
            return event
    return {EVENT: text}
