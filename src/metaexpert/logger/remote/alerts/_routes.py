"""Where an alert goes: to the addresses of all routes that match it, or else to those of the settings.

Threads: any, after the object is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic import SecretStr

from metaexpert.logger.config.alert_routes import OWN, Route
from metaexpert.logger.config.settings import LoggerConfig
from metaexpert.logger.remote.alerts._channel import Channel
from metaexpert.logger.remote.alerts._discord import Discord
from metaexpert.logger.remote.alerts._telegram import Telegram
from metaexpert.logger.remote.alerts._webhook import Webhook
from metaexpert.logger.schema import ALERT, LEVEL_NUMBERS


class Routes:
    """The channels of one logger, and which of them an alert goes to.

    Args:
        config: Its configuration.

    Attributes:
        channels: All of them, each address once: those of the settings, then those of the routes.
    """

    def __init__(self, config: LoggerConfig) -> None:
        self.channels: list[Channel] = []
        self._level = LEVEL_NUMBERS[config.alert_level.lower()]
        self._usual = [self._place(channel, "") for channel in _channels(config, {"to": [*OWN]})]
        self._routes = [
            (route, [self._place(channel, f" alert_routes[{number}]") for channel in _channels(config, route)])
            for number, route in enumerate(config.alert_routes)
        ]
        #: Whether there is anything to choose.
        self.choose = bool(self._routes)

    def _place(self, channel: Channel, suffix: str) -> int:
        """Return the place of *channel* in `channels`, where it gets a name of its own if it is new."""
        known = [other.endpoint for other in self.channels]
        if channel.endpoint in known:
            return known.index(channel.endpoint)
        channel.name += suffix
        self.channels.append(channel)
        return len(known)

    def places(self, entry: Mapping[str, Any], *, insist: bool = False) -> set[int]:
        """Return the places in `channels` of those that get *entry*; if no route does, those of the settings may.

        Args:
            entry: A flat entry.
            insist: Whether they get it at any level.
        """
        number = LEVEL_NUMBERS.get(str(entry.get("level")), LEVEL_NUMBERS["critical"])
        found = {place for route, places in self._routes if self._matches(route, number, entry) for place in places}
        if not found and (insist or number >= self._level or entry.get(ALERT) is True):
            return {*self._usual}
        return found

    def _matches(self, route: Route, number: int, entry: Mapping[str, Any]) -> bool:
        level = LEVEL_NUMBERS[route["level"].lower()] if "level" in route else self._level
        expert, symbol = entry.get("expert_name") or entry.get("appname"), entry.get("symbol")
        return number >= level and _fits(route.get("expert"), expert) and _fits(route.get("symbol"), symbol)


def _fits(patterns: list[str] | None, value: object) -> bool:
    text = "" if value is None else str(value).upper()
    return patterns is None or any(fnmatchcase(text, pattern.upper()) for pattern in patterns)


def _channels(config: LoggerConfig, route: Route) -> Iterator[Channel]:
    """Yield the channels of *route* that have an address: its own, or that of the settings with what belongs to it."""

    def setting(channel: str, name: str) -> Any:
        address = next(iter(OWN[channel]))
        value = route.get(name) if name in route or address in route else getattr(config, name)
        return value.get_secret_value() if isinstance(value, SecretStr) else value

    if "telegram" in route["to"] and config.telegram_token and (chat := setting("telegram", "telegram_chat_id")):
        token, thread = config.telegram_token.get_secret_value(), setting("telegram", "telegram_thread_id")
        yield Telegram(token, chat, config.telegram_api_url, thread=thread)
    if "discord" in route["to"] and (url := setting("discord", "discord_webhook_url")):
        yield Discord(url, thread=setting("discord", "discord_thread_id"))
    if "webhook" in route["to"] and (url := setting("webhook", "webhook_url")):
        token = setting("webhook", "webhook_token")
        yield Webhook(url, {"Authorization": f"Bearer {token}"} if token else {})
