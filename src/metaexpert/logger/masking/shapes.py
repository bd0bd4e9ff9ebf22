"""Secrets that a text gives away by their shape: tokens, signed URLs, PEM keys, passwords in URLs, named values.

The text around a shape counts too. A UUID, a hash or a hexadecimal id alone is not a secret, since order ids look the
same. Every pattern takes linear time.

Sources of the shapes: the Telegram Bot API ("Authorizing your bot"), Discord's and Slack's pages on webhooks and
tokens, RFC 7519 (JWT), RFC 7468 (PEM), RFC 3986 section 3.2.1 (userinfo), RFC 7617 (Basic), and the providers' own
announcements of their key prefixes.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Final

from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.entry.work import Work
from metaexpert.logger.masking._addresses import (
    HOST,
    WEBHOOKS,
    find_listen_keys,
    find_provider_keys,
    is_login,
    is_password_in_url,
    is_telegram,
    is_user_option,
)
from metaexpert.logger.masking._encoded import LEVELS, find_encoded, is_encoded
from metaexpert.logger.masking._pairs import Span, find_pairs
from metaexpert.logger.masking._structures import find_structures
from metaexpert.logger.masking._told import find_columns, find_told, may_be_told
from metaexpert.logger.masking.names import Names

#: Shorter texts without ``=`` and ``:`` have no room for a secret with a shape.
SHORTEST: Final = 15

_Check = Callable[[re.Match[str]], bool]
_Shape = tuple[str, re.Pattern[str], _Check | None]
_BASE64: Final = r"[A-Za-z0-9+/]"
#: Quotes around a token that follows its scheme.
_QUOTED: Final = r"""(?:\\*+["'`<])?+"""


def _shape(rule: str, pattern: str, check: _Check | None = None) -> _Shape:
    """Return a shape. The secret is the last group of *pattern*; the text before it stays."""
    return rule, lazy_pattern(pattern), check


def _has_digit(match: re.Match[str]) -> bool:
    return any(c.isdigit() for c in match[1])


def _is_random(match: re.Match[str]) -> bool:
    return _has_digit(match) and any(c.isalpha() for c in match[1])


def _is_basic(match: re.Match[str]) -> bool:
    """Return whether a word behind ``Basic`` is user and password in Base64 rather than a word."""
    try:
        decoded = base64.b64decode(match[1].rstrip("=") + "=" * (-len(match[1].rstrip("=")) % 4), validate=True)
    except ValueError:
        return False
    return b":" in decoded or match[1].endswith("=") or (len(match[1]) >= 16 and _is_random(match))


_CONSTANT: Final = lazy_pattern(r"[A-Z]{1,12}(?:_[A-Z]++)*+|[a-z]++(?:[_\-][a-z]++)++")


def _is_bearer(match: re.Match[str]) -> bool:
    """Return whether a word behind ``Bearer`` is a token rather than a word."""
    token = match[1].rstrip(".")
    if _CONSTANT.fullmatch(token) is not None:
        return False
    return len(token) >= 24 or any(c.isdigit() for c in token) or not (token.islower() or token.istitle())


#: A private key in the Wallet Import Format, beside its name: alone, it might be an id.
_WIF: Final = _shape(
    "wif key", r"(?<![1-9A-HJ-NP-Za-km-z])([5KL][1-9A-HJ-NP-Za-km-z]{50,51})(?![A-Za-z0-9])", _has_digit
)
#: Shapes by a text that each of them needs, grouped by a character that the whole group needs. Both are quick to test.
_BY_HINT: Final[dict[str, dict[str, list[_Shape]]]] = {
    "": {
        "earer": [
            _shape(
                "bearer token",
                r"(?<![A-Za-z])[Bb]earer(?:[ \t]++|%20|\+|:[ ]?|(?=[\"'\\]))" + _QUOTED + r"([\w.~+/=\-]{8,}+)",
                _is_bearer,
            )
        ],
        "EARER": [
            _shape(
                "bearer token",
                r"(?<![A-Za-z])BEARER(?:[ \t]++|%20|\+|:[ ]?|(?=[\"'\\]))" + _QUOTED + r"([\w.~+/=\-]{8,}+)",
                _is_bearer,
            )
        ],
        "asic": [
            _shape(
                "basic credentials",
                rf"(?<![A-Za-z])[Bb]asic(?:[ \t]++|%20|\+){_QUOTED}({_BASE64}{{6,}}+={{0,2}})",
                _is_basic,
            )
        ],
        "AKIA": [_shape("aws key", r"(?<![A-Za-z0-9])(AKIA[A-Z0-9]{16})(?![A-Za-z0-9])")],
        "ASIA": [_shape("aws key", r"(?<![A-Za-z0-9])(ASIA[A-Z0-9]{16})(?![A-Za-z0-9])", _has_digit)],
        "AIza": [_shape("google key", r"(?<![A-Za-z0-9])(AIza[\w\-]{35})(?![\w\-])")],
        "prv": [_shape("extended private key", r"(?<![A-Za-z0-9])([xyzt]prv[1-9A-HJ-NP-Za-km-z]{100,}+)")],
        "bot": [_shape("telegram token", r"(?<![A-Za-z])bot(\d{6,12}(?::|%3[Aa])[\w\-]{20,}+)")],
    },
    ":": {
        "": [_shape("telegram token", r"([0-9](?<![0-9][0-9])[0-9]{5,11}:[\w\-]{33,37}+)", is_telegram)],
        "://": [
            _shape("password in a url", r"""://[^\s/?\#:"'<>\\]*+:([^\s/?"'<>\\]*)@""", is_password_in_url),
            _shape("token in a url", r"""://([A-Za-z0-9_\-]{16,}+)(?::[^\s/?\#:@"'<>]*+)?@""", _is_random),
        ],
        "@": [
            _shape(
                "user and password",
                rf"""([A-Za-z](?<![\w.\-+%/:][A-Za-z])[\w.\-+]{{0,63}}+):([^\s:@/"'<>]{{2,}}+)@(?={HOST})""",
                is_login,
            )
        ],
        "-u": [
            _shape(
                "user and password",
                r"""(?<!\S)(?:-u|--(?:proxy-)?user)[= ]["']?([^\s:"']++):([^\s"']++)""",
                is_user_option,
            )
        ],
    },
    "/": {},
    " ": {"WIF": [_WIF], "wif": [_WIF]},
    "=": {"sig=": [_shape("signature", r"[?&]sig=([A-Za-z0-9%+/=_\-]{16,}+)")]},
    "-": {
        "GOCSPX-": [_shape("google secret", r"(GOCSPX-[\w\-]{20,}+)")],
        "glpat-": [_shape("gitlab token", r"(glpat-[\w\-]{18,}+)")],
        "xox": [_shape("slack token", r"(?<![A-Za-z0-9])(xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9\-]{10,}+)")],
        "xapp-": [_shape("slack token", r"(?<![A-Za-z0-9])(xapp-\d-[A-Za-z0-9\-]{10,}+)")],
        "sk-": [
            _shape("ai key", r"(?<![A-Za-z0-9\-])(sk-(?:proj|ant|or|svcacct|admin|live)-[\w\-]{20,}+)", _has_digit),
            _shape("ai key", r"(?<![A-Za-z0-9\-])(sk-[A-Za-z0-9]{32,}+)", _has_digit),
        ],
        "pypi-": [_shape("pypi token", r"(?<![A-Za-z0-9])(pypi-AgEIcHlwaS5vcmc[\w\-]{40,}+)")],
    },
    "_": {
        "gh": [_shape("github token", r"(?<![A-Za-z0-9])(gh[pousr]_[A-Za-z0-9]{30,}+)")],
        "github_pat_": [_shape("github token", r"(github_pat_\w{30,}+)")],
        "k_": [_shape("stripe key", r"(?<![A-Za-z0-9])((?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}+)")],
        "whsec_": [_shape("webhook secret", r"(whsec_[A-Za-z0-9+/=]{20,}+)")],
        "hf_": [_shape("hugging face token", r"(?<![A-Za-z0-9])(hf_[A-Za-z0-9]{30,}+)")],
        "npm_": [_shape("npm token", r"(?<![A-Za-z0-9])(npm_[A-Za-z0-9]{36})")],
        "dop_v1_": [_shape("digitalocean token", r"(dop_v1_[a-f0-9]{60,}+)")],
    },
    ".": {
        "eyJ": [_shape("jwt", r"(?<![\w\-])(eyJ[\w\-]{5,}+\.(?:eyJ[\w\-]*+|[\w\-]*+\.[\w\-]++)(?:\.[\w\-]*+){0,3}+)")],
        "ya29.": [_shape("google token", r"(?<![A-Za-z0-9])(ya29\.[\w\-.]{20,}+)")],
        "SG.": [_shape("sendgrid key", r"(?<![A-Za-z0-9])(SG\.[\w\-]{16,32}\.[\w\-]{32,}+)")],
        "": [
            _shape(
                "discord token",
                r"([MNO](?<![\w\-.][MNO])[DTjz][AEIMQUYcgk][w-z0-5][\w\-]{18,24}\.[\w\-]{6}\.[\w\-]{27,}+)(?![\w\-.])",
            )
        ],
    },
}
for _rule, _hint, _pattern in WEBHOOKS:
    _BY_HINT["/"].setdefault(_hint, []).append(_shape(_rule, _pattern))
_GROUPS: Final = tuple((char, tuple(hints.items())) for char, hints in _BY_HINT.items())
#: Identifiers without a shape: hexadecimal digits, UUIDs, numbers, single words.
_IDENTIFIER: Final = lazy_pattern(r"[0-9a-f\-]*+|[0-9A-F\-]*+|[a-z]*+|[A-Z]{1,14}")
#: A text with none of these, no tab and none of ``= : < % ' --`` has no shape. Three or four characters, for the core.
HINTS: Final = (
    *("rer", "RER", "sic", "AKI", "SIA", "Iza", "prv", "ebh", "ks.", "/wi", "/ws", "nfu", "lch", "uik"),
    *(" ->", "-> ", " | ", "es/T", "s/ca", "/v2/", "/int", "ken ", "KEN ", "WIF", "wif"),
    *("SPX", "lpa", "xox", "xap", "sk-", "ypi", "hp_", "ho_", "hu_", "hs_", "hr_", "hub", "k_l", "k_t", "hse"),
    *("hf_", "npm", "dop", "eyJ", "a29", "SG."),
    *(
        "ey ",
        "EY ",
        "rd ",
        "RD ",
        "wd ",
        "WD ",
        "se ",
        "SE ",
        "et ",
        "ET ",
        "nem",
        "kie",
        "n id",
        "n ID",
        "N ID",
        "   ",
        '", ',
        '","',
    ),
    *(a + b + c for a in "MNO" for b in "DTjz" for c in "AEIMQUYcgk"),
)
#: One of these stands between a name and its secret, where there is neither ``=`` nor ``:``.
_PAIRED: Final = ("--", "</", "',", '",', " ->", "-> ", "→", " | ", "│")
_PEM_BEGIN: Final = "-----BEGIN "
_PEM_END: Final = "-----END "
#: What follows the beginning of a key rather than of code that looks for one: its lines, or the end of the text.
_PEM_BODY: Final = lazy_pattern(
    r"[A-Z0-9 ]{0,40}-----(?:[ \t]*+(?:[\r\n]|\\++[rn])|(?:\s|\\++[rn])*+(?:\Z|[A-Za-z0-9+/=]{16}))"
)


def find_shapes(text: str, names: Names, work: Work | None = None) -> list[Span]:
    """Return the secrets in *text*, in no order. They may overlap.

    Args:
        text: Any text.
        names: The names whose values are secret.
        work: What may be done. Where it ends, the rest of the text is a span of its own, `UNREAD`.
    """
    work = work or Work()
    if "%" not in text or not is_encoded(text):
        return _found(text, names, work)
    share = work.left // (LEVELS + 1)

    def search(part: str) -> list[Span]:
        own = Work(share)
        spans = _found(part, names, own)
        work.left -= share - own.left
        return spans

    return search(text) + find_encoded(text, search)


def _found(text: str, names: Names, work: Work) -> list[Span]:
    """Return the secrets in *text* as it stands."""
    paired = "=" in text or ":" in text
    if not paired and (len(text) < SHORTEST or _IDENTIFIER.fullmatch(text) is not None):
        return []
    spans: list[Span] = []
    for char, hints in _GROUPS:
        if char in text:
            for hint, shapes in hints:
                if hint in text:
                    spans.extend(_matches(text, shapes))
    if may_be_told(text):
        spans.extend(find_told(text, work))
    if "\t" in text or "   " in text:
        spans.extend(find_columns(text, names, work))
    if _PEM_BEGIN in text:
        spans.extend(_pem_blocks(text))
    if "/" in text:
        spans.extend(find_provider_keys(text))
    spans.extend(find_listen_keys(text))
    if paired or any(mark in text for mark in _PAIRED):
        spans.extend(find_pairs(text, names, work))
        spans.extend(find_structures(text, names))
    return spans


def _matches(text: str, shapes: list[_Shape]) -> Iterator[Span]:
    for rule, pattern, check in shapes:
        for match in pattern.finditer(text):
            if check is None or check(match):
                yield Span(*match.span(pattern.groups), rule)


def _pem_blocks(text: str) -> Iterator[Span]:
    """Yield the private keys in *text* with their headers. A key without an end reaches to the end of the text."""
    position = end = 0
    while (start := text.find(_PEM_BEGIN, position)) >= 0:
        position = start + len(_PEM_BEGIN)
        if "PRIVATE KEY" not in text[position : position + 40]:
            continue
        if 0 <= end < position:
            end = text.find(_PEM_END, position)
        if end < 0 and _PEM_BODY.match(text, position) is None:  # code that looks for one
            continue
        if end >= 0:
            close = text.find("-----", end + len(_PEM_END), end + 60)
            end = close + 5 if close >= 0 else end
        position = end if end >= 0 else len(text)
        yield Span(start, position, "private key")
