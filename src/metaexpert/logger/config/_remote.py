"""Types and rules of the settings of alerts and exports: tokens, addresses, chats. Opens nothing."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from metaexpert.logger.config.syslog_address import parse_address
from metaexpert.logger.masking.registered import MIN_LENGTH

#: Fields that need an optional library: the field, its package, and the extra that installs it.
_EXTRAS: Final = (
    ("otlp_endpoint", "opentelemetry", "otel"),
    ("trace_ids", "opentelemetry", "otel"),
    ("metrics", "prometheus_client", "metrics"),
    ("seal", "cryptography", "seal"),
    ("seal_timestamp_url", "rfc3161_client", "seal"),
)
#: Fields that need another field.
_NEEDED: Final = (
    ("telegram_token", "telegram_chat_id"),
    ("telegram_chat_id", "telegram_token"),
    ("telegram_thread_id", "telegram_chat_id"),
    ("discord_thread_id", "discord_webhook_url"),
    ("webhook_token", "webhook_url"),
    ("syslog_key_file", "syslog_cert_file"),
)


def _chat_id(value: object) -> object:
    """Read the number of a chat, as a number or a text, or the name of a channel with its @."""
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"-?\d+|@\w+", text):
        raise PydanticCustomError("chat_id", 'should be a number such as 123456789 or -1001234567890, or "@channel"')
    return text


def _web_address(value: object) -> object:
    """Accept https://, and http:// only inside the own network, since addresses hold tokens."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    parts = urlsplit(text) if isinstance(text, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise PydanticCustomError("address", "should be an address that begins with https://")
    if parts.scheme == "http" and not _is_near(parts.hostname):
        raise PydanticCustomError("address", "should begin with https://; http:// is for hosts of the own network")
    return value


def _is_near(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
    return address.is_private or address.is_loopback


def _syslog_address(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parse_address(value)
    except ValueError as error:
        raise PydanticCustomError("syslog_address", "{text}", {"text": str(error)}) from None
    return value


def _token(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]+", text) or len(text) < MIN_LENGTH:
        raise PydanticCustomError("secret", f"should be {MIN_LENGTH} or more characters of printable ASCII, no spaces")
    return value


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (OSError, MemoryError):  # no descriptor left to look with: no fault of the settings
        return True


def remote_conflicts(config: Any) -> Iterator[tuple[str, str]]:
    """Yield contradictions between settings: a field, and what is wrong with it."""
    for one, module, extra in _EXTRAS:
        if getattr(config, one) and not _is_installed(module):
            yield one, f"it needs the extra {extra}: pip install 'metaexpert[{extra}]'"
    for one, other in _NEEDED:
        routed = any(other in route for route in config.alert_routes) and one == "telegram_token"
        if getattr(config, one) is not None and getattr(config, other) is None and not routed:
            yield other, f"{one} is set, and needs {other} too"
    if config.seal and not config.log_to_file:
        yield "log_to_file", "seal is set, and is of a log file"
    if config.seal_timestamp_url is not None and not config.seal:
        yield "seal", "seal_timestamp_url is set, and needs seal too"
    for one in ("syslog_ca_file", "syslog_cert_file", "syslog_key_file"):
        if getattr(config, one) is not None and not (config.syslog_address or "").startswith("tls://"):
            yield one, "it is for a syslog_address that begins with tls://"


#: Ids of Discord and Telegram have up to 64 and 52 bits.
ThreadId = Annotated[int, Field(ge=1, lt=2**64)]
Token = Annotated[SecretStr, BeforeValidator(_token)]
SecretAddress = Annotated[SecretStr, BeforeValidator(_web_address)]
WebAddress = Annotated[str, BeforeValidator(_web_address)]
SyslogAddress = Annotated[str, BeforeValidator(_syslog_address)]
ChatId = Annotated[str, BeforeValidator(_chat_id)]
