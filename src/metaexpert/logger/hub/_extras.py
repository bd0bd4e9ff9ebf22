"""Parts that few loggers have, imported for those alone: the flight recorder, the limit of repeats, the seal."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from metaexpert.logger import schema
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.encoding.route import Route
from metaexpert.logger.files.directory import LogDirectory
from metaexpert.logger.hub._routing import CONSOLE, RECORDER, REMOTE, Routing

if TYPE_CHECKING:
    from metaexpert.logger.files.recorder import Recorder
    from metaexpert.logger.hub._repeats import Repeats
    from metaexpert.logger.hub._seal import Sealing
    from metaexpert.logger.hub.pipeline import Pipeline


def repeats_for(pipeline: Pipeline, announce: Callable[..., bool]) -> Repeats | None:
    """Return what limits the repeats of a logger; None when nothing does."""
    if pipeline.config.repeat_limit is None:
        return None
    from metaexpert.logger.hub._repeats import Repeats  # noqa: PLC0415 - few loggers have such a limit

    return Repeats(pipeline, announce)


def sealing_for(config: LoggerConfig, directory: LogDirectory, announce: Callable[..., bool]) -> Sealing | None:
    """Return a logger's part in the seal of its directory; None when it has none."""
    if not config.seal or not config.log_to_file:
        return None
    from metaexpert.logger.hub._seal import Sealing  # noqa: PLC0415 - cryptography

    return Sealing(config, directory, announce)


def recorder_for(config: LoggerConfig, directory: LogDirectory, routing: Routing) -> Recorder | None:
    """Return the flight recorder of a logger, and tell its *routing*; None when it has none."""
    if config.recorder is None or not config.log_to_file:
        return None
    from metaexpert.logger.files.recorder import recorder_of  # noqa: PLC0415 - few loggers have one

    routing.records = True
    return recorder_of(directory, config.recorder)


def adapt(recorder: Recorder, route: Route, number: int, to: int, show: Callable[[int, bytes], None]) -> None:
    """Have the entries of *route* recorded, if they are to be, and those from ERROR up want a dump.

    Args:
        recorder: The recorder.
        route: The route, as it is without a recorder.
        number: The level of its entries.
        to: Their destinations.
        show: Takes entries that are recorded, and go to other destinations too.
    """
    if to & RECORDER:
        route.lanes, route.numbers, route.count = (recorder.ring,), recorder.ring.numbers, None
        route.after = partial(show, to) if to & (CONSOLE | REMOTE) else None
    if number >= schema.ERROR:
        route.after = partial(_want_dump, recorder, route.after)


def _want_dump(recorder: Recorder, after: Callable[[bytes], None] | None, line: bytes) -> None:
    recorder.want()  # first: another thread goes on recording
    if after is not None:
        after(line)
