"""Whether the servers of alerts and exports can be reached. Sends no alert, no entry and no token."""

from __future__ import annotations

from collections.abc import Iterator

from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.remote.alerts.alerts import channels
from metaexpert.logger.remote.exports.exports import failure, transports
from metaexpert.logger.remote.http import unreachable


def endpoints(config: LoggerConfig) -> Iterator[tuple[str, str]]:
    """Ask each endpoint of *config* in turn, for some seconds at most.

    Yields:
        Its name, and what is wrong; an empty text if it can be reached. UDP gives no answer: there it is enough that
        the host name is known.
    """
    for channel in channels(config):
        yield channel.name, channel.unreachable()
    for transport in transports(config):
        by_http = transport.name == "otlp"
        yield transport.name, unreachable(str(config.otlp_endpoint), "otlp_endpoint") if by_http else failure(transport)
