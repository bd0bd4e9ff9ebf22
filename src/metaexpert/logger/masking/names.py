"""Names of fields that hold secrets. The last words of a name decide, in any spelling.

Safe to use from any thread.

Sources of the header names: the signing pages of the exchanges' own API references (Binance ``X-MBX-APIKEY``, OKX
``OK-ACCESS-*``, Kraken ``API-Key`` and ``API-Sign``, KuCoin ``KC-API-*``, Coinbase ``CB-ACCESS-*``, Bybit
``X-BAPI-*``, Bitget ``ACCESS-*``, HTX ``AccessKeyId``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from metaexpert.logger.entry.patterns import lazy_pattern

#: What a name may mean.
PLAIN: Final = 0
SECRET: Final = 1
#: An account number. Its last characters stay, so that two accounts can be told apart.
ACCOUNT: Final = 2
#: Several secrets, or their number: a number under such a name is a count.
SECRETS: Final = 3
#: ``sign``: a signature, or the sign of a number or of an order.
SIGN: Final = 4
#: ``gas_token``: a token that is traded, or a secret.
TRADED: Final = 5
#: ``pwd``: a password, or the working directory.
DIRECTORY: Final = 6

_ENDINGS: Final = """
    pwd; passcode; token; api key; secret key; access key; private key;
    encryption key; signing key; credential; credentials; authorization; auth; signature; sign; cookie; session id;
    mnemonic; seed phrase; listen key; jwt; csrf; otp; totp; pin;
    access key id; api sign; account key; session key; session token; recovery phrase; mnemonic phrase; backup phrase;
    seed words; mnemonic words; xsrf; bearer; pin code; otp code; totp code; mfa code; 2 fa code; key secret;
    accesskeyid; signingkey; encryptionkey; listenkey; sessionid; sessionkey;
    seedphrase; accesstoken; refreshtoken; authtoken; bottoken; apitoken; idtoken; csrftoken; xsrftoken; sessiontoken;
    apisign; apisignature; setcookie;
    jsessionid; phpsessid; privkey; priv key; secret phrase; wif key; bm key; auth sig
"""
_PLURALS: Final = """
    passwords; passphrases; secrets; cookies; api keys; apikeys; secret keys; access keys; private keys; mnemonics;
    access tokens; refresh tokens; bot tokens; auth tokens; api secrets; api key id; pass
"""
#: Names of services before ``key``: ``BINANCE_KEY``.
_SERVICES: Final = """
    alchemy alpaca ankr anthropic apca aws binance bitfinex bitget bitmart bitmex bitstamp bybit cmc coinapi coinbase
    coingecko cryptocom deribit etherscan exchange finnhub gateio gemini helius huobi htx infura kraken kucoin mexc
    moralis oanda okex okx openai phemex polygonio tiingo
"""
#: Words before ``token`` in the name of a token that is traded, paid or held.
_TRADED: Final = """
    base burn buy collateral debt deposit destination dst erc20 fee from gas governance in input lp margin native out
    output paid pay payment payout pool quote received reward sell settlement source spent src stable staking to
    underlying wrapped
"""
#: Words before ``pass`` that make a filter, a step or a run of it.
_NO_PASSWORDS: Final = "all band by first full high low multi next one second single third two"
#: Beginnings of headers that are secret whatever follows.
_HEADER_PREFIXES: Final = ("ok-access-", "kc-api-", "cb-access-")
#: Names of objects in which a field called ``key`` is secret: ``{"api": {"key": …}}``.
_PARENTS_OF_KEY: Final = frozenset({"api", "secret", "private", "access", "signing", "encryption"})
#: Words that the prose of a trading log uses too. Before a colon in a text, they are a weaker sign.
AMBIGUOUS: Final = frozenset(
    ("token", "sign", "pin", "auth", "secret", "cookie", "bearer", "credential", "signature", "pass")
)
#: Ends of words that mean a secret whatever they begin with: ``PGPASSWORD``, ``mysecret``.
_ENDS_OF_WORDS: Final = (
    *("password", "passwd", "passphrase", "secret", "apikey", "secretkey", "accesskey", "privatekey"),
    *("sshpass", "dbpass", "smtppass", "userpass", "telegramtoken", "discordtoken", "slacktoken", "githubtoken"),
)
_LONGER: Final = (("key", _SERVICES, SECRET), ("token", _TRADED, TRADED), ("pass", _NO_PASSWORDS, PLAIN))
#: A part of each secret name, in lower case. A text without any of them holds no secret name.
_STEMS: Final = (
    *("pass", "pwd", "secret", "token", "key", "credential", "auth", "sign", "cookie", "sess", "mnemonic", "phrase"),
    *("words", "jwt", "csrf", "xsrf", "otp", "pin", "bearer", "mfa", "2fa", "account", "access", "kc"),
)
#: Last words of names whose value may be several words.
PHRASES: Final = frozenset({"mnemonic", "phrase", "words", "passphrase"})

#: Characters at the end of a name that are looked at.
_LONGEST: Final = 100
_CAMEL: Final = lazy_pattern(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_BETWEEN: Final = lazy_pattern(r"[^A-Za-z0-9]+")
_NUMBERS: Final = lazy_pattern(r"[0-9]+$", re.MULTILINE)
_DASH: Final = str.maketrans("_ .", "---")
_MOST_JUDGED: Final = 4096


def _phrases(text: str) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(phrase.split()) for phrase in text.split(";"))


class Names:
    """Tells what a field's name means. Safe to use from any thread.

    Args:
        extra: More secret names (`extra_secret_keys`). Their words too are compared with the last words of a name.

    Attributes:
        extra: The words of the names that were given.
        judged: Names that were judged before, each with what it means.
        stems: Parts of names, in lower case: each secret name has one of them.
    """

    def __init__(self, extra: Iterable[str] = ()) -> None:
        self.extra: Final = frozenset(filter(None, (tuple(words(name)) for name in extra)))
        self._kinds = dict.fromkeys(_phrases(_ENDINGS) | self.extra, SECRET)
        self._kinds |= dict.fromkeys(_phrases(_PLURALS) - self.extra, SECRETS)
        if ("sign",) not in self.extra:
            self._kinds["sign",] = SIGN
        self._kinds.setdefault(("account", "id"), ACCOUNT)
        self._kinds.setdefault(("mask", "secrets"), PLAIN)  # our own setting
        for last, words_before, kind in _LONGER:
            for word in words_before.split():
                self._kinds.setdefault((word, last), kind)
        for name in (("pwd",), ("oldpwd",)):
            if name not in self.extra:
                self._kinds[name] = DIRECTORY
        self.stems: Final = _STEMS + tuple({name[-1] for name in self.extra})
        self._may_be_secret = lazy_pattern("|".join(self.stems))  # words are letters and digits
        self._longest = max(map(len, self._kinds))
        self.judged: Final[dict[str, int]] = {}

    def kind(self, name: str) -> int:
        """Return `PLAIN`, or what *name* means."""
        kind = self.judged.get(name)
        if kind is None:
            # "api_key_17" means what "api_key_" does, and there may be thousands of them.
            short = name.rstrip("0123456789")
            kind = self._judge(name) if short == name else self.kind(short)
            if len(name) <= _LONGEST:
                if len(self.judged) >= _MOST_JUDGED:
                    self.judged.clear()
                self.judged[name] = kind
        return kind

    def suspects(self, names: Iterable[str]) -> int:
        """Return how many of *names* hold a part of a secret name, apart from numbers at their end."""
        distinct = set(_NUMBERS.sub("", "\n".join(names).lower()).split("\n"))
        return sum(map(bool, map(self._may_be_secret.search, distinct)))

    def _judge(self, name: str) -> int:
        name = name[-_LONGEST:]
        if name.isascii() and self._may_be_secret.search(name.lower()) is None:
            return PLAIN
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
        return SECRET if found and found[-1].endswith(_ENDS_OF_WORDS) else PLAIN


def words(name: str) -> list[str]:
    """Return the words of *name* in lower case: ``myAPIKey_2`` is ``my``, ``api``, ``key``."""
    return list(_words(name[-_LONGEST:]))


@lru_cache(_MOST_JUDGED // 4)
def _words(name: str) -> tuple[str, ...]:
    return tuple(_without_numbers([word.lower() for word in _CAMEL.findall(name)]))


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


def word_set(text: str) -> frozenset[str]:
    """Return the words of *text*, which blanks and newlines separate."""
    return frozenset(text.split())


#: The names that are secret everywhere.
NAMES: Final = Names()
