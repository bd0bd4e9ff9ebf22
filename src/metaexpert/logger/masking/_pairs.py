"""Secrets in a text that follow a name: ``api_key=…``, ``"token": "…"``, ``--password …``, ``<secret>…``.

The name decides (see `metaexpert.logger.masking.names`). In prose, a plain word after a colon is not a secret: "Wrong
password: try again" stays. Every pattern takes linear time: repetitions are possessive, and a name begins only where
no other name goes on.

Pure functions; safe to use from any thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.masking.names import ACCOUNT, AMBIGUOUS, PHRASES, PLAIN, SECRETS, SIGN, Names, words
from metaexpert.logger.schema import MASK

#: Characters at the end of an account number that stay, and the length up to which none do.
ACCOUNT_TAIL: Final = 4
ACCOUNT_SHORT: Final = 8
#: The rule of account numbers, which are not secrets.
ACCOUNT_RULE: Final = "account number"


class Span(NamedTuple):
    """A secret in a text: its start, its end, and the rule that found it."""

    start: int
    end: int
    rule: str


_PAIR: Final = lazy_pattern(
    r"""(?<![\w.\-])([\w.\-]++)   # a name
        ((?:\\*+["'`]|%22|&quot;|\\u0022)?+\]?+)  # the end of its quotes, of an index
        [ \t]{0,4}+
        (:[ ]?(?:str|bytes|string|SecretStr)(?:[ ]?\|[ ]?None)?[ ]?=|=>|->|:=|={1,3}+|:(?!:|//)|%3[DdAa])
        ([ \t]{0,4}+)(?:%22|&quot;|\\u0022)?+""",
    re.VERBOSE,
)
_OPTION: Final = lazy_pattern(r"(?<![\w.\-])(--?[A-Za-z][\w.\-]*+)[ \t]++(?=[^\s\-|&<>;])")
_QUOTED_PAIR: Final = lazy_pattern(
    r"""([\[(,])[ ]?b?(\\*+["'])([\w.\-]++)\2(?=,[ ]?b?(\\*+["']))""",
)
_ELEMENT: Final = lazy_pattern(r"<([\w.\-:]++)>([^<]++)</")
_OPENING: Final = lazy_pattern(r"""[bBrRuUfF]{0,2}(\\*+)(["'`])""")
_BEFORE: Final = lazy_pattern(r"([A-Za-z]{1,12})[ ]\Z")
#: A value without quotes. It ends at a space, at a quote, and where another pair or parameter begins.
_RUN: Final = lazy_pattern(
    r"""(?:[^\s"'`<>,;&\\]
        |["'`](?=[A-Za-z0-9])
        |[,;](?!["'\\]*+[\w.\-]++\\*+["']?+[=:]|["'\s]|\Z)
        |&(?![\w.\-%\[\]]++=|amp;|quot;|["'\s]|\Z)
        |\\(?![rnu]))++""",
    re.VERBOSE,
)
#: The same in percent-encoded text, where it also ends at an encoded quote, ``#``, ``&`` or comma.
_ENCODED_RUN: Final = lazy_pattern(r"""(?:[^\s"'`<>&%]|%(?!2[236Cc]))++""")
_SCHEME: Final = lazy_pattern(r"([A-Za-z][A-Za-z0-9\-]{1,20}+)[ \t]++")
#: Schemes with several parameters, to which the rest of the line belongs.
_MANY: Final = ("digest", "aws4", "hawk", "oauth", "hmac", "signature")
_LINE: Final = lazy_pattern(r"[^\r\n]*+")
_COOKIES: Final = lazy_pattern(r"""[^\s;"'<>]++(?:;[ ]?[^\s;"'<>]++)*+""")
_WORDS: Final = lazy_pattern(r"[A-Za-z]++(?:,?[ ][a-z]++){2,30}+")
_NOTHING: Final = lazy_pattern(r"true|false|none|null|nil|undefined|yes|no|\*+|x{3,}|\.{2,}|…", re.IGNORECASE)
_REDACTED: Final = lazy_pattern(
    r"[\[<({]?(?:redacted|filtered|masked|hidden|removed|omitted|scrubbed|not shown|secret)[\])>}]?", re.IGNORECASE
)
_VARIABLE: Final = lazy_pattern(r"\$(?:[A-Z_][A-Z0-9_]*|\{\w+\}|\([^)\r\n]*+\))|%[A-Z_]+%|\{\{? ?[\w.]+ ?\}?\}")
_WORD: Final = lazy_pattern(r"(?:[A-Za-z][a-z]*(?:['\-][a-z]+)*|[A-Z]{2,10}(?:[-/][A-Z]{2,10})?)[.!?…]*")
_AMOUNT: Final = lazy_pattern(r"[-+]?(?:\d{1,3}|\d[\d,]*\.\d+|\d+(?:\.\d+)?[%$€kKmM]|\$\d.*|\d{1,6}[A-Z]{2,10})[.!?]*")
_ADDRESS: Final = lazy_pattern(r"0x[0-9A-Fa-f]{40}[.!?]*")
_PARAMETER: Final = lazy_pattern(r"[a-z_]++=[^=]")
_SIGNS: Final = frozenset({"-1", "0", "1", "+1", "-1.0", "0.0", "1.0", "+", "-"})
_BRACKETS: Final = lazy_pattern(r"""[\[\](){}]|"(?:[^"\\]|\\.?)*+(?:"|\Z)|'(?:[^'\\]|\\.?)*+(?:'|\Z)""", re.DOTALL)
_PROSE_WORDS: Final = """
    str int float bool bytes string object optional any number integer text
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
"""
#: Words that follow ``password:`` and the like in a sentence, and are not secrets.
_PROSE: Final = frozenset(_PROSE_WORDS.split())


def find_pairs(text: str, names: Names) -> Iterator[Span]:
    """Yield the values in *text* that follow a secret name."""
    yield from _separated(text, names)
    if "-" in text:
        yield from _options(text, names)
    if "<" in text:
        for match in _ELEMENT.finditer(text):
            name = match[1].rpartition(":")[2]
            if names.kind(name) != PLAIN and not _is_nothing(match[2].strip()):
                yield Span(match.start(2), match.end(2), f"name {name}")
    if "," in text:
        yield from _quoted_pairs(text, names)


def _separated(text: str, names: Names) -> Iterator[Span]:
    done = 0
    for match in _PAIR.finditer(text):
        if match.start() < done:  # inside a value that is masked; searching it again would take quadratic time
            continue
        kind, rule, prose = _meaning(text, match, names)
        if kind != PLAIN:
            context = _Context(match[3], bool(match[2]), prose, bool(match[4]))
            for span in _value(text, match.end(), kind, rule, context):
                done = span.end
                yield span


def _options(text: str, names: Names) -> Iterator[Span]:
    done = 0
    for match in _OPTION.finditer(text):
        name = match[1].lstrip("-")
        if match.start() >= done and (kind := names.kind(name)) != PLAIN:
            prose = not match[1].startswith("--")
            for span in _value(text, match.end(), kind, f"name {name}", _Context(" ", False, prose, True)):
                done = span.end
                yield span


class _Context(NamedTuple):
    """What stands between a name and its value, and whether the name is a word of prose."""

    separator: str
    quoted_name: bool
    ambiguous: bool
    spaced: bool

    @property
    def in_prose(self) -> bool:
        """Whether this may be a sentence instead of data."""
        return self.separator in (":", " ", "->") and not self.quoted_name


def _meaning(text: str, match: re.Match[str], names: Names) -> tuple[int, str, bool]:
    """Return what the name of a pair means, the rule to report, and whether prose uses the name as a word."""
    name = match[1].strip("-.")
    if not name or name.isdigit() or (name[0].isdigit() and name[-1].isdigit() and "_" not in name):
        return PLAIN, "", False
    if name[:1] == "D" and match[1].startswith("-D"):  # java -Dname=value
        name = name[1:]
    elif match.start() and text[match.start() - 1] == "%":  # the name begins after an encoded & or ?
        name = name[2:]
    kind = names.kind(name)
    if kind == PLAIN and name.isalpha() and len(name) <= 9:  # "api key:", "Session ID ="
        before = _BEFORE.search(text, max(0, match.start() - 13), match.start())
        if before is not None:
            name = f"{before[1]} {name}"
            kind = names.kind(name)
    elif kind != PLAIN and not match[2] and (name.lower() in AMBIGUOUS or name.lower().endswith(("-auth", "oauth"))):
        before = _BEFORE.search(text, max(0, match.start() - 13), match.start())
        longer = words(f"{before[1]} {name}") if before is not None else []
        return kind, f"name {name}", longer[:1] not in (["api"], ["client"], ["access"], ["bot"], ["secret"])
    return kind, f"name {name}", False


def _value(text: str, start: int, kind: int, rule: str, context: _Context) -> Iterator[Span]:
    """Yield the span of the value that begins at *start*, if there is one to mask."""
    opening = _OPENING.match(text, start)
    if opening is not None:
        begin = opening.end()
        end = _closing(text, begin, opening[1], opening[2])
        found = text[begin:end]
        if not _is_nothing(found) and not (kind == SIGN and found in _SIGNS):
            yield _span(begin, end, kind, rule)
        return
    brackets = text[start : start + 1] in ("{", "[", "(") and kind != ACCOUNT
    if brackets and (end := _container(text, start, context)):
        yield Span(start, end, rule)
        return
    end = _bare_end(text, start, rule, context)
    found = text[start:end]
    if found and not _is_nothing(found) and not _is_no_secret(found, rule, kind, context):
        yield _span(start, end, kind, rule)


def _span(start: int, end: int, kind: int, rule: str) -> Span:
    if kind == ACCOUNT:
        return Span(start, end - ACCOUNT_TAIL if end - start > ACCOUNT_SHORT else end, ACCOUNT_RULE)
    return Span(start, end, rule)


def _closing(text: str, begin: int, slashes: str, quote: str) -> int:
    """Return where a quoted value ends: at the same quote with as many escapes, or with the line."""
    depth = len(slashes)
    end = text.find(quote, begin)
    while end >= 0:
        before = end
        while before > begin and text[before - 1] == "\\":
            before -= 1
        # Each level doubles the backslashes of the level inside it and adds one to the quote.
        if (end - before) % (2 * (depth + 1)) == depth:
            return end - depth
        end = text.find(quote, end + 1)
    line = text.find("\n", begin)
    return len(text) if line < 0 else line


def _container(text: str, start: int, context: _Context) -> int:
    """Return where the brackets that open at *start* close; 0 if they hold nothing, or only prose."""
    following = text[start + 1 : start + 2]
    if following in ("", "}", "]", ")") or _REDACTED.match(text, start) or _VARIABLE.match(text, start):
        return 0
    if context.in_prose and following not in ('"', "'", "{", "[", "(", "b"):
        return 0
    depth = 0
    for match in _BRACKETS.finditer(text, start):
        if match[0] in ("{", "[", "("):
            depth += 1
        elif match[0] in ("}", "]", ")"):
            depth -= 1
            if depth == 0:
                return match.end()
    return len(text)


def _bare_end(text: str, start: int, rule: str, context: _Context) -> int:
    """Return where a value without quotes ends."""
    last = rule.rpartition(" ")[2].lower()
    if last.endswith(("auth", "authorization")) and (scheme := _SCHEME.match(text, start)) is not None:
        if scheme[1].lower().startswith(_MANY) and (line := _LINE.match(text, scheme.end())) is not None:
            return line.end()
        end = _run_end(text, scheme.end(), context)
        if not (context.in_prose and scheme[1].lower() in _PROSE and _WORD.fullmatch(text, scheme.end(), end)):
            return end
    if last.endswith("cookie") and (cookies := _COOKIES.match(text, start)) is not None:
        return cookies.end()
    if words(last)[-1:] and words(last)[-1] in PHRASES and (phrase := _WORDS.match(text, start)) is not None:
        said = phrase[0].lower().replace(",", " ").split()
        if 3 * sum(word in _PROSE for word in said) <= len(said):
            return phrase.end()
    return _run_end(text, start, context)


def _run_end(text: str, start: int, context: _Context) -> int:
    """Return where the run of characters that begins at *start* ends, without brackets and stops of the text around."""
    variable = _VARIABLE.match(text, start)
    if variable is not None:
        return variable.end()
    run = (_ENCODED_RUN if context.separator.startswith("%") else _RUN).match(text, start)
    end = start if run is None else run.end()
    while end > start and (text[end - 1] in ",;)]}\\" or (text[end - 1] in ":." and text[end - 2] in ")]}")):
        end -= 1
    return end


def _is_nothing(found: str) -> bool:
    """Return whether *found* is an empty value, or one that is masked already."""
    if not found or (found.startswith(MASK) and len(found) <= len(MASK) + ACCOUNT_TAIL):
        return True
    if len(found) > 40 and set(found[:40]) != {"*"}:
        return False
    return any(p.fullmatch(found) is not None for p in (_NOTHING, _REDACTED, _VARIABLE))


def _is_no_secret(found: str, rule: str, kind: int, context: _Context) -> bool:
    """Return whether a value without quotes is a number or a word that ordinary text puts after such a name."""
    if kind == SIGN and found in _SIGNS:
        return True
    if kind == SECRETS and found.replace(".", "").isdigit():
        return True
    if context.separator.startswith("=="):  # a comparison in code
        return True
    if not context.in_prose:
        return False
    word = _WORD.fullmatch(found) is not None
    if word and found.lower().rstrip(".!?…") in _PROSE:
        return True
    if context.ambiguous and _PARAMETER.match(found) is not None and not rule.lower().endswith("cookie"):
        return True
    if context.ambiguous and context.spaced:
        return word or bool(_AMOUNT.fullmatch(found) or _ADDRESS.fullmatch(found))
    return False


def _quoted_pairs(text: str, names: Names) -> Iterator[Span]:
    """Yield the values of quoted pairs, ``('X-MBX-APIKEY', '…')``, and of flat lists of them."""
    done = 0
    for match in _QUOTED_PAIR.finditer(text):
        if match.start() < done or (kind := names.kind(match[3])) == PLAIN:
            continue
        begin = match.end(4)
        end = _closing(text, begin, match[4][:-1], match[4][-1])
        found = text[begin:end]
        done = end
        paired = match[1] == "(" and text[end + len(match[4]) :].startswith(")")
        named = match[3].lower() not in AMBIGUOUS
        plain = re.fullmatch(r"[A-Za-z_]{0,30}", found) is not None
        if not _is_nothing(found) and not (plain and not (paired and named)) and kind != ACCOUNT:
            yield Span(begin, end, f"name {match[3]}")
