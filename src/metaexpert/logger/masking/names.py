"""Names of fields that hold secrets. The last words of a name decide, in any spelling.

Safe to use from any thread.

Sources of the header names: the signing pages of the exchanges' own API references (Binance ``X-MBX-APIKEY``, OKX
``OK-ACCESS-*``, Kraken ``API-Key`` and ``API-Sign``, KuCoin ``KC-API-*``, Coinbase ``CB-ACCESS-*``, Bybit
``X-BAPI-*``, Bitget ``ACCESS-*``, HTX ``AccessKeyId``).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from metaexpert.logger.entry.patterns import lazy_pattern

#: What a name may mean.
PLAIN: Final = 0
SECRET: Final = 1
#: An account number. Its last characters stay, so that two accounts can be told apart.
ACCOUNT: Final = 2
#: Several secrets, or their number: a number under such a name is a count.
SECRETS: Final = 3
#: ``sign``: a signature, or the sign of a number.
SIGN: Final = 4

_ENDINGS: Final = """
    password; passwd; pwd; passphrase; passcode; secret; token; api key; apikey; secret key; access key; private key;
    encryption key; signing key; credential; credentials; authorization; auth; signature; sign; cookie; session id;
    mnemonic; seed phrase; listen key; jwt; csrf; otp; totp; pin;
    access key id; api sign; account key; session key; session token; recovery phrase; mnemonic phrase; backup phrase;
    seed words; mnemonic words; xsrf; bearer; pin code; otp code; totp code; mfa code; 2 fa code; key secret;
    secretkey; accesskey; accesskeyid; privatekey; signingkey; encryptionkey; listenkey; sessionid; sessionkey;
    seedphrase; accesstoken; refreshtoken; authtoken; bottoken; apitoken; idtoken; csrftoken; xsrftoken; sessiontoken;
    apisecret; clientsecret; appsecret; apisign; apisignature; apipassphrase; apipassword; dbpassword; setcookie;
    jsessionid; phpsessid
"""
_PLURALS: Final = """
    passwords; passphrases; secrets; cookies; api keys; apikeys; secret keys; access keys; private keys; mnemonics;
    access tokens; refresh tokens; bot tokens; auth tokens; api secrets
"""
#: Beginnings of headers that are secret whatever follows.
_HEADER_PREFIXES: Final = ("ok-access-", "kc-api-", "cb-access-")
#: Names of objects in which a field called ``key`` is secret: ``{"api": {"key": …}}``.
_PARENTS_OF_KEY: Final = frozenset({"api", "secret", "private", "access", "signing", "encryption"})
#: Words that the prose of a trading log uses too. Before a colon in a text, they are a weaker sign.
AMBIGUOUS: Final = frozenset({"token", "sign", "pin", "auth", "secret", "cookie", "bearer", "credential", "signature"})
#: Last words of names whose value may be several words.
PHRASES: Final = frozenset({"mnemonic", "phrase", "words", "passphrase"})

#: Characters at the end of a name that are looked at.
_LONGEST: Final = 100
_CAMEL: Final = lazy_pattern(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_BETWEEN: Final = lazy_pattern(r"[^A-Za-z0-9]+")
_DASH: Final = str.maketrans("_ .", "---")
_MOST_JUDGED: Final = 4096


def _phrases(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(phrase.split()) for phrase in text.split(";"))


class Names:
    """Tells what a field's name means. Safe to use from any thread.

    Args:
        extra: More secret names (`extra_secret_keys`). Their words too are compared with the last words of a name.

    Attributes:
        judged: Names that were judged before, each with what it means.
    """

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self.extra: Final = frozenset(filter(None, (tuple(words(name)) for name in extra)))
        self._kinds = dict.fromkeys(_phrases(_ENDINGS) | self.extra, SECRET)
        self._kinds |= dict.fromkeys(_phrases(_PLURALS) - self.extra, SECRETS)
        if ("sign",) not in self.extra:
            self._kinds["sign",] = SIGN
        self._kinds.setdefault(("account", "id"), ACCOUNT)
        self._kinds.setdefault(("mask", "secrets"), PLAIN)  # our own setting
        self._longest = max(map(len, self._kinds))
        self.judged: Final[dict[str, int]] = {}

    def kind(self, name: str) -> int:
        """Return `PLAIN`, or what *name* means."""
        kind = self.judged.get(name)
        if kind is None:
            kind = self._judge(name)
            if len(name) <= _LONGEST:
                if len(self.judged) >= _MOST_JUDGED:
                    self.judged.clear()
                self.judged[name] = kind
        return kind

    def _judge(self, name: str) -> int:
        name = name[-_LONGEST:]
        if not name.isascii():  # full-width letters and the like
            name = unicodedata.normalize("NFKC", name)[-_LONGEST:]
        if name.translate(_DASH).lower().startswith(_HEADER_PREFIXES):
            return SECRET
        # By both ways to split a name: "apiKey" is two words, "aPiKeY" is one.
        return self._ending(words(name)) or self._ending(_without_numbers(_BETWEEN.split(name.lower())))

    def _ending(self, found: list[str]) -> int:
        for count in range(min(len(found), self._longest), 0, -1):
            kind = self._kinds.get(tuple(found[-count:]))
            if kind is not None:
                return kind
        return PLAIN


def words(name: str) -> list[str]:
    """Return the words of *name* in lower case: ``myAPIKey_2`` is ``my``, ``api``, ``key``."""
    return _without_numbers([word.lower() for word in _CAMEL.findall(name[-_LONGEST:])])


def _without_numbers(found: list[str]) -> list[str]:
    """Return the words *found* without numbers at the end: ``token2`` is a token, and ``api_key_1`` an API key."""
    found = [word for word in found if word]
    while found and (found[-1].isdigit() or not (short := found[-1].rstrip("0123456789"))):
        found.pop()
    if found:
        found[-1] = short
    return found


def is_secret_key(parent: str, name: str) -> bool:
    """Return whether *name* is ``key``, and secret because of *parent*, the name of the object around it."""
    last = words(parent)[-1:]
    return words(name) == ["key"] and bool(last) and last[0] in _PARENTS_OF_KEY


#: The names that are secret everywhere.
NAMES: Final = Names()
