"""Values under a secret name that are none: nothing, placeholders, statuses, words of a sentence, tickers, paths.

Pure functions; safe to use from any thread. Every pattern takes linear time.
"""

from __future__ import annotations

import re
from typing import Any, Final

from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.masking.names import DIRECTORY, SIGN, TRADED, word_set
from metaexpert.logger.schema import MASK

#: Characters at the end of an account number that stay, and the length up to which none do.
ACCOUNT_TAIL: Final = 4
ACCOUNT_SHORT: Final = 8

_NOTHING: Final = lazy_pattern(
    r"true|false|none|null|nil|undefined|nan|yes|no|n/a|<none>|\*+|x{3,}|X{3,}|\.{2,}|…|•+|-|\?+", re.IGNORECASE
)
_REDACTED: Final = lazy_pattern(
    r"""[\[<({*]{0,3}(?:redacted|filtered|masked|hidden|removed|omitted|scrubbed|sanitized|obfuscated|not[ ]shown|secret
        |sensitive|snip|unset|empty|missing)[\])>}*]{0,3}""",
    re.IGNORECASE | re.VERBOSE,
)
#: ``<your-api-key>``, ``YOUR_API_KEY``: what documentation shows instead of a value.
_PLACEHOLDER: Final = lazy_pattern(
    r"""<[A-Za-z][A-Za-z_ \-]{0,40}>|(?:your|insert|enter|paste|put)[A-Za-z]{0,10}(?:[ _\-][A-Za-z]{1,20}){0,4}[ _\-]
        (?:key|secret|token|password|passphrase|here|value|credentials?|id|phrase|signature)|your(?:api)?(?:key|secret|token)""",
    re.IGNORECASE | re.VERBOSE,
)
_SHELL: Final = (
    r"\$(?:[A-Z]++(?:_[A-Z0-9]++)*+\d?|(?=[a-z]*_|pass|pwd|token|secret|key|auth|sign|jwt)[a-z_]++)(?![A-Za-z0-9_])"
)
#: A variable of a shell, or a field of a template.
_VARIABLE: Final = lazy_pattern(
    rf"""(?:{_SHELL}|\$(?:\{{[^{{}}\s]++\}}|\([^)\r\n]*+\)|\{{\{{[^{{}}\r\n]*+\}}\}}|env:\w++|\d(?!\w)))(?![$!\#@%^*])
        |%[A-Z_]++%|%\([\w.]++\)[sdr]|%[sdrv](?!\w)
        |\{{\{{?[ ]?[\w.]*+(?:![rsa])?(?::[^{{}}\s]*+)?[ ]?\}}?\}}|<%=?[^%<>]{{1,60}}%>
        |\{{[\w.]++\([^{{}}()\r\n]*+\)[^{{}}\r\n]{{0,20}}\}}""",
    re.VERBOSE,
)
#: The same among other words: ``Bearer {self.token}``.
_FIELD: Final = lazy_pattern(rf"\$?\{{[^{{}}]*+\}}|\$\([^()]*+\)|{_SHELL}|%\([\w.]++\)[sdr]|%[sdr]|<[a-z][a-z_\- ]*+>")
_SCHEME_WORD: Final = lazy_pattern(r"(?:bearer|basic|token|bot|apikey|key|hmac|jwt)?[\s:=]*", re.IGNORECASE)
_SCHEMES: Final = frozenset(("bearer", "basic", "bot", "token", "apikey"))
_SCHEME: Final = lazy_pattern(
    r"(?:bearer|basic|bot|digest|hmac|token|apikey)[ :=]+(?:\.{3}|…|\*+|[xX]{3,}|<[^<>]*+>|\[[a-z ]*+\])?",
    re.IGNORECASE,
)
_MOST_TEMPLATE: Final = 200
_WORD: Final = lazy_pattern(r"(?:[A-Za-z][a-z]*(?:['\-][a-z]+)*|[A-Z]{2,10}(?:[-/][A-Z]{2,10})?)[.!?…]*")
_AMOUNT: Final = lazy_pattern(r"[-+]?(?:\d{1,3}|\d[\d,]*\.\d+|\d+(?:\.\d+)?[%$€kKmM]|\$\d.*|\d{1,6}[A-Z]{2,10})[.!?]*")
_ADDRESS: Final = lazy_pattern(r"0x[0-9A-Fa-f]{40}[.!?]*")
_TICKER: Final = lazy_pattern(r"(?:[A-Z]{2,5}|[A-Z]{2,10}[-/:][A-Z]{3,5}|USD[CT]\.e)[.!?]*")
#: The name or the address of a token that is traded.
_TRADED: Final = lazy_pattern(
    r"\$?[A-Za-z][A-Za-z.]{1,11}|[A-Z0-9]{2,8}(?:[-/][A-Z0-9]{2,8})?|\d{1,4}|0x[0-9A-Fa-f]{40}|[1-9A-HJ-NP-Za-km-z]{43,44}"
)
_SIGNS: Final = word_set("""
    -1 0 1 +1 -1.0 0.0 1.0 + - buy sell long short positive negative plus minus bullish bearish bull bear up down flat
    neutral hold none bid ask pos neg""")
_PATH: Final = lazy_pattern(
    r"""(?:~|\.{1,2}|%[A-Za-z]++%|\$\w++)[\\/][^\s"']*+|[A-Za-z]:[\\/]{1,2}[^\s"'\\/]++[\\/][^\s"']*+
        |/(?:home|root|run|etc|var|usr|opt|tmp|srv|mnt|media|app|data|proc|dev|Users|Volumes|private|code|work|workspace
        |secrets|vault|config|conf|keys|certs|ssl|Library)/[^\s"']*+
        |/?(?:[\w.\-]++[\\/])*+[\w\-]++\.(?:pem|key|json|ya?ml|toml|txt|env|ini|cfg|conf|crt|cer|p12|pfx|jks|py|db|gpg|enc)""",
    re.VERBOSE,
)
_DIRECTORY: Final = lazy_pattern(r"~|[A-Za-z]:[\\/]{0,2}|/|\.{1,2}|(?:/[\w.@+\-]++)++/?")
#: How things stand with a secret, which machines write after ``=`` too.
_STATUSES: Final = word_set("""
    absent accepted active bad changed configured created deleted denied disabled empty enabled error expired fail
    failed failure found generated ignored inactive incorrect invalid loaded locked malformed mismatch missing needed
    null ok okay optional pending present provided ready received refreshed refused rejected renewed required reset
    revoked rotated set skipped stored unauthorized unknown unset unsupported updated valid verified wrong
    """)
#: Where something is pinned to.
_PLACES: Final = frozenset(("left", "right", "top", "bottom", "high", "low", "start", "end", "center", "middle"))
#: Ways to sign and to authenticate, after ``auth=`` and ``signature=``.
_METHODS: Final = lazy_pattern(
    r"(?:no)?auth|none|basic|bearer|cookies?|digest|oauth[12]?|oidc|saml|jwt|kerberos|ntlm|token|api[_\-]?key|password|header|"
    r"query|session|ed25519|rsa|ecdsa|eddsa|hmac(?:[_\-]?sha(?:1|256|384|512))?|sha(?:1|256|384|512)|md5|v[1-9]|"
    r"public|private|user|login|logout|sso|ldap|tls|mtls|iam|sigv4|[rh]s256|es256|xoauth2|plain|ticket",
    re.IGNORECASE,
)
_METHOD_NAMES: Final = frozenset(
    {"auth", "authorization", "authentication", "signature", "cookie", "bearer", "credential"}
)
_PROSE_WORDS: Final = """
    str int float bool bytes string object optional any number integer text return raise
    a about above absent accepted after again all already also always an and any are as ask at bad be because been
    before below better blank but by can cannot changed check checked checking choose contact copied correct could
    created default deleted denied did different disabled do does done empty enabled encrypted enter entered error
    every expired expires fail failed failing failure fine for format found from generate generated get given go
    good has have he her here his how i if ignored in incorrect invalid is it its keep length limit loaded loading
    locked lost make malformed mandatory match matched matches may means minimum mismatch missing must my needed
    needs never new no none not nothing now null of off ok okay old on once only optional or our out passed pending
    please present provided read received refresh refreshed refused rejected removed renewed requested required
    reset restored retry retrying revoked rotate rotated same saved see sent server set should skipped so some
    still store stored strength strong succeeded success temporarily test that the their them then there they this
    to too trust try type unable unauthorized unchanged unknown unset unsupported until up update updated updating
    use used user using valid validated verified very via was we weak were what when where which while who why will
    with without wrong yes yet you your
    add another expected options available based belongs both cancelled change changes check click complete configured
    contains copy create defined delete detected disabled does each either follow following forbidden free have having
    however
    identical inactive instead internal into just know less let like likely log login long longer made make manage
    manually mask more most need next nor nowhere obtained other otherwise over own paste per permission
    permissions places possible probably problem put rather ready recently request requests restart
    scope scopes since something such than these those though through two under unexpected unless
    updates usually want way whether within works would written
"""
#: Words that follow ``password:`` and the like in a sentence, and are not secrets.
PROSE: Final = word_set(_PROSE_WORDS)


def is_nothing(found: str) -> bool:
    """Return whether *found* is an empty value, a placeholder, or a value that is masked already."""
    if not found or (found.startswith(MASK) and len(found) <= len(MASK) + ACCOUNT_TAIL):
        return True
    if len(found) > 60:
        return set(found) == {"*"} or is_template(found)
    scheme, blank, rest = found.partition(" ")
    if blank and rest and scheme.lower() in _SCHEMES:
        found = rest.strip()
    patterns = _NOTHING, _REDACTED, _VARIABLE, _PLACEHOLDER
    return any(pattern.fullmatch(found) is not None for pattern in patterns) or is_template(found) or _is_scheme(found)


def is_hidden(found: str) -> bool:
    """Return whether *found* is masked already, or filled in later: no word of a user is taken for it."""
    return not found or found == MASK or set(found) == {"*"} or (found[:1] in "<[{$%" and is_nothing(found))


def is_template(found: str) -> bool:
    """Return whether *found* consists of fields to be filled in, and a scheme: ``Bearer {self.token}``."""
    if len(found) > _MOST_TEMPLATE or not ("{" in found or "$" in found or "%" in found or "<" in found):
        return False
    rest, count = _FIELD.subn("", found)
    return count > 0 and _SCHEME_WORD.fullmatch(rest) is not None


def _is_scheme(found: str) -> bool:
    """Return whether *found* is a scheme and no token: ``"Bearer " + token``, ``Basic …``."""
    return _SCHEME.fullmatch(found) is not None


def is_redacted(text: str, start: int) -> bool:
    """Return whether a bracket at *start* begins a placeholder rather than a container."""
    match = _REDACTED.match(text, start)
    return match is not None or _VARIABLE.match(text, start) is not None


def variable_end(text: str, start: int) -> int:
    """Return where the variable that begins at *start* ends; 0 if there is none."""
    match = _VARIABLE.match(text, start)
    return 0 if match is None else match.end()


def is_plain(kind: int, found: Any) -> bool:
    """Return whether *found*, under a name that means *kind*, is no secret: the side of an order, a ticker, a path."""
    if kind == SIGN:
        return str(found).lower() in _SIGNS or (isinstance(found, str) and len(found) <= 2 and not found.isascii())
    if not isinstance(found, str):
        return False
    if len(found) <= 3 and not any(c.isalnum() for c in found):
        return True
    if kind == TRADED:
        return _TRADED.fullmatch(found) is not None
    return kind == DIRECTORY and (_DIRECTORY.fullmatch(found) or _PATH.fullmatch(found)) is not None


def is_path(found: str) -> bool:
    """Return whether *found* names a file, in which a secret may be."""
    return ("/" in found or "\\" in found or "." in found) and _PATH.fullmatch(found) is not None


def is_status(name: str, found: str) -> bool:
    """Return whether *found* tells how things stand with the secret *name*, or how something is signed."""
    word = found.lower().rstrip(".!?")
    if name == "pin" and word in _PLACES:
        return True
    return word in _STATUSES or (name in _METHOD_NAMES and _METHODS.fullmatch(word) is not None)


def is_traded(found: str) -> bool:
    """Return whether *found* is the symbol of a coin or a pair, or the address of a token."""
    return _TICKER.fullmatch(found) is not None or _ADDRESS.fullmatch(found) is not None


def is_word(found: str) -> bool:
    """Return whether *found* is a word or an abbreviation."""
    return _WORD.fullmatch(found) is not None


def is_prose(found: str) -> bool:
    """Return whether *found* is a word that follows the name of a secret in a sentence."""
    return is_word(found) and found.lower().rstrip(".!?…") in PROSE


def is_said(found: str) -> bool:
    """Return whether *found* is a word, an amount or an address, which prose puts after an ambiguous name."""
    return is_word(found) or bool(_AMOUNT.fullmatch(found) or _ADDRESS.fullmatch(found))
