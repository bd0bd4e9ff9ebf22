"""`alert_routes`: which alerts go to which channel and address, read and checked. Opens nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import SecretStr, ValidationError

from metaexpert.logger.config._problems import conflict
from metaexpert.logger.config._remote import ChatId, SecretAddress, ThreadId, Token
from metaexpert.logger.config.field_types import Level
from metaexpert.logger.config.sources import likely_name
from metaexpert.logger.masking.rules import mask_text
from metaexpert.logger.schema import LEVEL_NUMBERS

#: By channel, the settings that a route may replace, the address first.
OWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "telegram": {"telegram_chat_id": ChatId, "telegram_thread_id": ThreadId},
    "discord": {"discord_webhook_url": SecretAddress, "discord_thread_id": ThreadId},
    "webhook": {"webhook_url": SecretAddress, "webhook_token": Token},
}
#: Those that are secret.
SECRETS: Final = ("discord_webhook_url", "webhook_url", "webhook_token")
_NAMES: Final = ("to", "level", "expert", "symbol", *(name for own in OWN.values() for name in own))
_LONGEST_TOLD: Final = 60

#: A route as it is kept: ``to`` and patterns as lists, secrets as `SecretStr`.
Route = dict[str, Any]


def read_routes(value: object) -> object:
    """Read routes: a list of tables, each perhaps as JSON text."""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise conflict("alert_routes", 'should be a list of tables such as {"to": "telegram", "level": "critical"}')
    return [_route(item, f"alert_routes[{place}]") for place, item in enumerate(value)]


def _route(item: object, where: str) -> Route:
    if isinstance(item, str):
        try:
            item = json.loads(item)
        except (ValueError, RecursionError):
            item = None
    if not isinstance(item, Mapping):
        raise conflict(where, 'should be a table such as {"to": "telegram", "level": "critical"}')
    for name in item:
        if name not in _NAMES:
            guess = likely_name(str(name), _NAMES)
            hint = f"did you mean {guess!r}?" if guess else f"there are {', '.join(_NAMES)}"
            raise conflict(f"{where}.{mask_text(str(name))[:_LONGEST_TOLD]}", f"no such option of a route; {hint}")
    to = _texts(item.get("to"))
    if not to or not {*to} <= OWN.keys():
        raise conflict(f"{where}.to", f"{_told(item.get('to'))} should be telegram, discord or webhook, or several")
    route: Route = {"to": to}
    for name in ("expert", "symbol"):
        if name in item and not (patterns := _texts(item[name])):
            raise conflict(f"{where}.{name}", f'{_told(item[name])} should be a pattern such as "BTC*", or several')
        if name in item:
            route[name] = patterns
    kinds = {"level": Level, **{name: kind for own in OWN.values() for name, kind in own.items()}}
    for name in (name for name in item if name in kinds):
        if name != "level" and not any(name in OWN[channel] for channel in to):
            raise conflict(f"{where}.{name}", f"the route goes to {', '.join(to)}, which does not have it")
        route[name] = _valid(kinds[name], item[name], f"{where}.{name}")
    return route


def _texts(value: object) -> list[str]:
    """Return a text, or several, as a list; an empty one for anything else."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        return []
    texts = [text.strip() for text in given if isinstance(text, str) and text.strip()]
    return texts if len(texts) == len(given) else []


def _valid(kind: Any, value: object, where: str) -> Any:
    from pydantic import TypeAdapter  # noqa: PLC0415 - few loggers have routes

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        wanted = error.errors(include_url=False)[0]["msg"].removeprefix("Input ")
        shown = "the value (not shown)" if where.endswith(SECRETS) else _told(value)
        raise conflict(where, f"{shown} {wanted}") from None


def _told(value: object) -> str:
    return mask_text(repr(value))[:_LONGEST_TOLD]


def route_conflicts(config: Any) -> Iterator[tuple[str, str]]:
    """Yield what a route lacks: a field, and what is wrong with it."""
    for place, route in enumerate(config.alert_routes):
        where = f"alert_routes[{place}]"
        if "telegram" in route["to"] and config.telegram_token is None:
            yield "telegram_token", f"{where} goes to telegram, and needs telegram_token"
        for channel in route["to"]:
            address = next(iter(OWN[channel]))
            if address not in route and getattr(config, address) is None:
                yield f"{where}.{address}", f"the route goes to {channel}, and needs {address}, here or as a setting"


def lowest_level(config: Any) -> int:
    """Return the number of the lowest level that may be an alert."""
    levels = [config.alert_level, *(route["level"] for route in config.alert_routes if "level" in route)]
    return min(LEVEL_NUMBERS[level.lower()] for level in levels)


def secrets_in(value: object) -> Iterator[SecretStr]:
    """Yield the secrets in a setting: itself, or in its lists and tables."""
    if isinstance(value, SecretStr):
        yield value
    elif isinstance(value, Mapping):
        value = [*value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            yield from secrets_in(item)
