"""Secrets in addresses: user and password, keys in the paths of RPC providers, webhooks, listen keys of streams.

Pure functions; safe to use from any thread. Every pattern takes linear time.

Sources: RFC 3986 section 3.2.1 (userinfo), the pages of Discord, Slack, Teams, Feishu and WeCom on webhooks, the
providers' pages on their endpoints, and Binance's page on user data streams.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.masking._pairs import Span
from metaexpert.logger.masking._values import is_hidden
from metaexpert.logger.masking.names import word_set

#: A host rather than a price or the name of a stream: it has a domain, an address or a port.
HOST: Final = r"(?:[\w\-]++\.)++[A-Za-z]{2,}|(?:\d++\.){3}\d|localhost|[\w\-]++:\d"
_STRONG_HOST: Final = lazy_pattern(r"(?:\d++\.){3}\d|localhost|[\w.\-]++:\d{2,5}(?!\d)")
#: Words before the colon of "word:name@host": labels of a mail address, and those that may also be a user's name.
_MAIL_LABELS: Final = word_set("""
    mailto mail email e-mail from to cc bcc by contact author sender recipient reply-to replyto sip sips acct xmpp
    jabber skype feedback reporter maintainer support subject assignee reviewer committer signed-off-by co-authored-by
    reviewed-by invite invited subscriber customer client member participant organizer attendee return-path
    """)
_LABELS: Final = frozenset(
    ("user", "username", "admin", "owner", "account", "login", "name", "notify", "alert", "alerts", "address", "id")
)
#: Words before the colon of "price:1.23@exchange.com".
_TRADING_LABELS: Final = word_set("""
    price px qty quantity size amount volume vol symbol instrument ticker pair market venue exchange order fill filled
    trade side bid ask last mid mark index stop limit entry exit tp sl buy sell long short open close high low pos
    position strategy signal spread fee pnl balance leverage lots contracts notional route broker feed quote book
    level strike expiry option future spot perp swap channel topic stream asset coin token
    """)
_ACCOUNTS: Final = word_set("admin root user guest bot trader test postgres mysql redis ftp anonymous sa oracle")
_PASSWORDS: Final = frozenset(("password", "passwd", "pass", "pwd", "secret"))
_PRICE: Final = lazy_pattern(r"[-+]?[$€£]?\d++(?:[.,]\d++)*+[%kKmM]?")
_SYMBOL: Final = lazy_pattern(r"[A-Z][A-Z0-9]{0,11}(?:[-/._][A-Z0-9]{1,10})*+")
_UUID_OR_HEX: Final = lazy_pattern(r"[0-9A-Fa-f]+(?:-[0-9A-Fa-f]+)*")
_PARTS: Final = lazy_pattern(r"[_\-]++")
_PART: Final = lazy_pattern(r"[A-Za-z][a-z]*+|[A-Z]++|\d{1,6}|[A-Za-z]{1,2}\d")

#: Parts of the addresses of RPC providers whose paths hold keys.
_PROVIDERS: Final = (
    *("infura.io", "alchemy.com", "alchemyapi.io", "quiknode.pro", "ankr.com", "blastapi.io", "chainstack"),
    *("getblock.io", "moralis-nodes.com", "nodereal.io", "dwellir.com", "drpc.org", "tenderly.co", "zan.top"),
    *("blockpi.network", "allnodes.", "unifra.io", "helius", "grove.city", "pokt.network", "chainnodes.org"),
    *("syndica.io", "rpcpool.com", "nownodes.io", "blxrbdn.com", "rockx.com", "bwarelabs.com"),
)
_SEGMENT: Final = lazy_pattern(r"(?<=/)(?!0x)([A-Za-z0-9_\-]{16,}+)(?![\w.\-@])")
_STREAMS: Final = lazy_pattern(r"""(?:streams=|/ws/)([\w@/!.\-]++)""")
_PARAMETERS: Final = lazy_pattern(r"""[Pp]arams\\*+["']:\s?\[([^\[\]\r\n]*+)""")
_LISTEN_KEY: Final = lazy_pattern(r"(?<![\w@])([A-Za-z0-9]{56,72}+)(?![\w@])")
#: Webhooks whose secret is the last group, each with a text that it needs.
WEBHOOKS: Final = (
    ("discord webhook", "webhook", r"discord(?:app)?\.com(?::\d++)?/api/(?:v\d++/)?webhooks/\d++/([\w\-]++)"),
    ("discord webhook", "webhook", r"/webhooks/\d{5,}+/([\w\-]{8,}+)"),
    ("teams webhook", "webhook", r"/webhookb2/([\w\-@/]++)"),
    ("wecom webhook", "webhook", r"/webhook/send\?key=([\w\-]{8,}+)"),
    ("slack webhook", "hooks.", r"hooks\.slack\.com/(?:services|workflows|triggers)/([\w\-/]++)"),
    ("zapier webhook", "hooks.", r"hooks\.zapier\.com/hooks/catch/([\w\-/]++)"),
    ("slack webhook", "es/T", r"/services/(T[A-Z0-9]{6,}+/B[A-Z0-9]{6,}+/[\w\-]++)"),
    ("zapier webhook", "hooks/catch/", r"/hooks/catch/(\d++/[\w\-/]{4,}+)"),
    ("feishu webhook", "/bot/v2/hook/", r"/bot/v2/hook/([\w\-]++)"),
    ("discord interaction", "/interactions/", r"/interactions/\d{5,}+/([\w\-]{20,}+)"),
    ("ifttt key", "/with/key/", r"/with/key/([\w\-]++)"),
)


def is_password_in_url(match: re.Match[str]) -> bool:
    """Return whether the userinfo of an address holds a password."""
    return not is_hidden(match[1])


def is_login(match: re.Match[str]) -> bool:
    """Return whether "a:b@host" is user and password rather than a label with an address of mail, or a price."""
    label, found = match[1].lower(), match[2]
    if label in _MAIL_LABELS or label in _TRADING_LABELS or is_hidden(found):
        return False
    if found in _PASSWORDS:
        return True
    if label in _ACCOUNTS:
        return label not in _LABELS or any(not c.isalpha() for c in found)
    strong = _STRONG_HOST.match(match.string, match.end()) is not None
    if _PRICE.fullmatch(found) is not None and (not strong or "." in found or match[1].isupper()):
        return False
    if match[1].isupper() and _SYMBOL.fullmatch(match[1]) is not None and _SYMBOL.fullmatch(found) is not None:
        return False
    return label not in _LABELS or any(not c.isalpha() for c in found)


def is_user_option(match: re.Match[str]) -> bool:
    """Return whether these are user and password rather than two numeric ids."""
    found = match[2]
    return not (match[1].isdigit() and found.isdigit()) and not is_hidden(found) and found[0] != ":"


def is_telegram(match: re.Match[str]) -> bool:
    """Return whether the part behind the number of a Telegram token is random: no id, and no words."""
    found = match[1].partition(":")[2]
    if _UUID_OR_HEX.fullmatch(found) is not None or is_worded(found):
        return False
    mixed = any(c.isupper() for c in found) and any(c.islower() for c in found)
    return mixed and (found.startswith("AA") or any(c.isdigit() for c in found))


def is_worded(found: str) -> bool:
    """Return whether *found* consists of words and numbers, as names do."""
    parts = [part for part in _PARTS.split(found) if part]
    lengthy = any(len(part) > 2 and part.isalpha() for part in parts)
    return lengthy and all(_PART.fullmatch(part) is not None for part in parts)


def find_provider_keys(text: str) -> Iterator[Span]:
    """Yield the keys in paths, where *text* names an RPC provider, which may stand apart from the path."""
    if not any(provider in text for provider in _PROVIDERS):
        return
    for match in _SEGMENT.finditer(text):
        found = match[1]
        random = any(c.isdigit() for c in found) and any(c.isalpha() for c in found)
        if random and not is_worded(found):
            yield Span(*match.span(1), "rpc key")


def find_listen_keys(text: str) -> Iterator[Span]:
    """Yield Binance's listen keys among the streams of an address, or of a subscription."""
    if "streams=" in text or "/ws/" in text:
        for match in _STREAMS.finditer(text):
            yield from _listen_keys(text, match)
    if "SUBSCRIBE" in text:
        for match in _PARAMETERS.finditer(text):
            yield from _listen_keys(text, match)


def _listen_keys(text: str, match: re.Match[str]) -> Iterator[Span]:
    for key in _LISTEN_KEY.finditer(text, *match.span(1)):
        yield Span(*key.span(1), "listen key")
