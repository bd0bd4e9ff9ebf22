"""Secrets in a text that follow a name: ``api_key=…``, ``"token": "…"``, ``--password …``, ``<secret>…``.

The name decides (see `metaexpert.logger.masking.names`). The search goes from one part of a secret name to the next
(`Names.stems`), so that other names cost nothing. In prose, a plain word after a colon is not a secret: "Wrong
password: try again" stays. Every pattern takes linear time: repetitions are possessive, and no name is read twice.

Pure functions; safe to use from any thread.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.entry.work import Work
from metaexpert.logger.masking import _values
from metaexpert.logger.masking._code import code_at
from metaexpert.logger.masking._values import ACCOUNT_SHORT, ACCOUNT_TAIL
from metaexpert.logger.masking.names import (
    ACCOUNT,
    AMBIGUOUS,
    PHRASES,
    PLAIN,
    SECRETS,
    Names,
    words,
)

#: The rule of account numbers, which are not secrets.
ACCOUNT_RULE: Final = "account number"
#: The rule of the strings of an expression, in which no names are sought.
_CODE: Final = ""
#: The rule of the rest of a text, for which no work was left.
UNREAD: Final = "not searched"
#: The work of looking at a name, and at what follows it.
_NAME_WORK: Final = 3
_VALUE_WORK: Final = 40
#: Characters in which all names are sought before the next ones.
_WINDOW: Final = 4096
#: Values of a text that are looked at as code. Those after them are values.
_MOST_CODE: Final = 200


class Span(NamedTuple):
    """A secret in a text: its start, its end, and the rule that found it."""

    start: int
    end: int
    rule: str


class _Context(NamedTuple):
    """What stands between a name and its value, and what the name is."""

    kind: int
    name: str
    separator: str
    quoted_name: bool = False
    ambiguous: bool = False
    spaced: bool = False

    @property
    def rule(self) -> str:
        return f"name {self.name}"

    @property
    def in_prose(self) -> bool:
        """Whether this may be a sentence instead of data."""
        said = self.separator in (":", " ", "->", "→", "|", "│") or self.separator[:1] in "iw"
        return said and not self.quoted_name


#: The rest of a name whose stem was found, and a word that belongs to it: "session id", "pin code".
_REST: Final = lazy_pattern(r"[\w.\-]*+(?:[ ](?:id|ID|Id|code|Code|CODE)(?![\w.\-]))?+")
_NAME_CHARACTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"
_LONGEST_NAME: Final = 100
#: The longest name that may be the second word of one: "api key".
_LONGEST_WORD: Final = 9
#: Letters that stand for others of the alphabet: full-width ones and those of mathematics.
_COMPATIBLE: Final = lazy_pattern("[\uff01-\uff5e\u2100-\u214f\U0001d400-\U0001d7ff]")
#: Colours of a terminal and marks of a message, which may begin and end on either side of a separator.
_LOOKS: Final = r"(?:\x1b\[[\d;]{0,16}m|\*\*(?!\*)|</?(?:b|strong|i|em|code)>|\[/?(?:bold|b|i|dim)\]){0,4}+"
_COLOUR: Final = lazy_pattern(r"\x1b\[[\d;]{0,16}m")
_SEPARATOR: Final = lazy_pattern(
    rf"""((?:\\*+["'`]|&quot;|&\#3[49];|\\u0022|\\x22)?+\]?+)  # the end of its quotes, of an index
        {_LOOKS}[ \t]{{0,40}}+
        (\|(?=[ ])|│
        |:[ ]?(?:str|bytes|string|String|SecretStr|Optional\[\w++\])(?:[ ]?\|[ ]?None)?[ ]?=|=>|->|→|:=|={{1,3}}+
        |(?:(?:is|was)[ ]?)?:(?!:|//))
        {_LOOKS}([ \t]{{0,40}}+){_LOOKS}(?:&quot;|&\#3[49];|\\u0022|\\x22)?+""",
    re.VERBOSE,
)
_BLANKS: Final = lazy_pattern(r"[ \t]++(?=[^\s\-|&<>;])")
_ELEMENT: Final = lazy_pattern(r"[ ]?[^<>]{0,60}>([^<]++)</")
_NEXT_ITEM: Final = lazy_pattern(r""",\s{0,40}+b?(\\*+["'])""")
_FIRST_ITEM: Final = lazy_pattern(r"""[\[(,]\s{0,40}+b?(\\*+["'])\Z""")
_OPENING: Final = lazy_pattern(r"""[bBrRuUfF]{0,2}(\\*+)(\"{3}|'{3}|["'`])""")
_BEFORE: Final = lazy_pattern(r"([A-Za-z]{1,12})[ ]\Z")
#: A value without quotes. It ends at a space, at a quote, and where another pair or parameter begins.
_RUN: Final = lazy_pattern(
    r"""(?:[^\s"'`<>,;&\\\x1b]
        |["'`](?=[A-Za-z0-9])
        |[,;](?!["'\\]*+[\w.\-]++\\*+["']?+[=:]|["'\s]|\Z)
        |&(?![\w.\-%\[\]]++=|amp;|quot;|["'\s]|\Z)
        |\\(?![rnu]))++""",
    re.VERBOSE,
)
_SCHEME: Final = lazy_pattern(r"([A-Za-z][A-Za-z0-9\-]{1,20}+)[ \t]++")
#: Schemes with several parameters, to which the rest of the line belongs.
_MANY: Final = ("digest", "aws4", "hawk", "oauth", "hmac", "signature")
_LINE: Final = lazy_pattern(r"[^\r\n]*+")
_COOKIES: Final = lazy_pattern(r"""[^\s;"'<>]++(?:;[ ]?[^\s;"'<>]++)*+""")
_WORDS: Final = lazy_pattern(r"[A-Za-z]++(?:,?[ ][a-z]++){2,30}+")
#: The words of a mnemonic with their numbers, in a line or one to a line.
_NUMBERED: Final = lazy_pattern(
    r"\s*+(?:\#?\d{1,2}[.):\-]*+[ ]?[A-Za-z]{3,8}[,;]?(?:\s++|\Z|(?=[^\w]))){3,30}+|[A-Z]{3,8}(?:[ ][A-Z]{3,8}){10,30}+"
)
_PARAMETER: Final = lazy_pattern(r"[a-z_]++=[^=]")
_BRACKETS: Final = lazy_pattern(r"""[\[\](){}]|"(?:[^"\\]|\\.?)*+(?:"|\Z)|'(?:[^'\\]|\\.?)*+(?:'|\Z)""", re.DOTALL)
#: Brackets and texts in brackets that are looked at. A larger container reaches to the end of the text.
_MOST_BRACKETS: Final = 2000
#: A mapping as YAML and JavaScript write it.
_FLOW: Final = lazy_pattern(r"\{[ ]?[A-Za-z_]\w*+: ?[^\s}]")
#: Whether there are secrets, and how many of each.
_FLAGS: Final = lazy_pattern(
    r"""[{\[(](?:\s?["']?[\w.\-]++["']?:\s?(?:true|false|none|null|\d{1,3})\s?,?)++[}\])]""", re.IGNORECASE
)
_LONGEST_FLAGS: Final = 400
#: Numbers in brackets: the bytes of a key.
_NUMBERS: Final = lazy_pattern(
    r"[\[({][ ]?(?:0x[0-9A-Fa-f]{1,2}|\d{1,3})(?:,\s?(?:0x[0-9A-Fa-f]{1,2}|\d{1,3}))++,?[ ]?[\])}]"
)


def find_pairs(text: str, names: Names, work: Work) -> Iterator[Span]:
    """Yield the values in *text* that follow a secret name. Where *work* ends, the rest is `UNREAD`."""
    done = 0
    code_left = _MOST_CODE
    quiet = Span(0, 0, "")
    for start, end in _places(text, names):
        if start < done or quiet.start < start < quiet.end:  # masked already; searching again would be quadratic
            continue
        if work.left <= 0:
            yield Span(start, len(text), UNREAD)
            return
        work.left -= _NAME_WORK
        raw = text[start:end]
        # A plain name may be the second word of a secret one, after a blank: "api key".
        if text[start - 1 : start] not in (" ", "%") and raw[:2] != "-D" and names.kind(raw.strip("-.")) == PLAIN:
            continue
        work.left -= _VALUE_WORK
        for span in _after(text, start, end, names, code=code_left > 0):
            if span.rule == _CODE:
                quiet = span
            else:
                done = span.end
                yield span
        code_left -= 1


def _places(text: str, names: Names) -> Iterator[tuple[int, int]]:
    """Yield where names stand that may be secret, in order."""
    lowered = _lowered(text)
    last = 0
    for window in range(0, len(text), _WINDOW):
        ends: dict[int, int] = {}
        for stem in names.stems:
            until = window + _WINDOW + len(stem) - 1
            position = lowered.find(stem, window, until)
            while position >= 0:
                rest = _REST.match(text, position + len(stem))
                end = position + len(stem) if rest is None else rest.end()
                if end > last:  # it is not the rest of a name that began in the window before
                    ends.setdefault(end, position)
                position = lowered.find(stem, end, until)
        last = max(ends, default=last)
        yield from sorted((_beginning(text, position), end) for end, position in ends.items())


def _lowered(text: str) -> str:
    """Return *text* in lower case, of the same length."""
    if text.isascii():
        return text.lower()
    plain = _COMPATIBLE.sub(_compatible, text.replace("\u0130", "i"))
    return plain.lower()


def _compatible(match: re.Match[str]) -> str:
    plain = unicodedata.normalize("NFKC", match[0])
    return plain if len(plain) == 1 else match[0]


def _beginning(text: str, position: int) -> int:
    if not position or ((first := text[position - 1]).isascii() and first not in _NAME_CHARACTERS):
        return position
    before = text[max(0, position - _LONGEST_NAME) : position]
    start = position - len(before) + len(before.rstrip(_NAME_CHARACTERS))
    while (
        start > 0 and not text[start - 1].isascii() and text[start - 1].isalnum() and position - start < _LONGEST_NAME
    ):
        start -= 1
    if (colour := _COLOUR.match(text, max(text.rfind("\x1b[", max(0, start - 18), start), 0), position)) is not None:
        return max(start, colour.end())
    return start


def _after(text: str, start: int, end: int, names: Names, *, code: bool) -> Iterator[Span]:
    """Yield the secrets after the name from *start* to *end*, if it is a secret name."""
    raw = text[start:end]
    name = raw.strip("-.")
    kind = names.kind(name)
    second = text[start - 1 : start] == " " and name.isalpha() and len(name) <= _LONGEST_WORD
    if kind == PLAIN and not second and text[start - 1 : start] != "%" and raw[:2] != "-D":
        return
    separator = _SEPARATOR.match(text, end)
    if separator is not None:
        context = _meaning(text, start, raw, separator, names)
        if context.kind != PLAIN:
            yield from _value(text, separator.end(), context, names if code else None)
    elif kind != PLAIN:
        yield from _without_separator(text, start, end, kind, name)


def _without_separator(text: str, start: int, end: int, kind: int, name: str) -> Iterator[Span]:
    """Yield the secret after a secret *name*: of an option, of an element of XML, or the next item of a list."""
    following = text[end : end + 1]
    if following in ("'", '"', "\\"):
        yield from _item(text, start, end, name, kind)
    elif following in (">", " ") and text[start - 1 : start] in ("<", ":"):
        if (element := _ELEMENT.match(text, end)) is not None and not _values.is_nothing(element[1].strip()):
            yield Span(*element.span(1), f"name {name}")
    elif text[start : start + 1] == "-" and (blanks := _BLANKS.match(text, end)) is not None:
        context = _Context(kind, name, " ", ambiguous=text[start : start + 2] != "--", spaced=True)
        yield from _value(text, blanks.end(), context, None)


def _meaning(text: str, start: int, raw: str, separator: re.Match[str], names: Names) -> _Context:
    """Return what the *raw* name of a pair means, and whether prose uses the name as a word."""
    name = raw.strip("-.")
    quoted, spaced = separator[1] not in ("", "]"), bool(separator[3])
    plain = _Context(PLAIN, name, separator[2])
    if quoted and text[start - 1 : start] == "/":  # the end of a path: "account/api-keys": 5
        return plain
    if not name or name.isdigit() or (name[0].isdigit() and name[-1].isdigit() and "_" not in name):
        return plain
    if name[:1] == "D" and raw.startswith("-D"):  # java -Dname=value
        name = name[1:]
    elif start and text[start - 1] == "%":  # the name begins after an encoded & or ?
        name = name[2:]
    kind, prose = names.kind(name), False
    before = _before(text, start) if kind == PLAIN or not quoted else ""
    if kind == PLAIN and before:  # "api key:", "Session ID ="
        name = f"{before} {name}"
        kind = names.kind(name)
    elif kind != PLAIN and not quoted and (name.lower() in AMBIGUOUS or name.lower().endswith(("-auth", "oauth"))):
        longer = words(f"{before} {name}") if before else []
        prose = longer[:1] not in (["api"], ["client"], ["access"], ["bot"], ["secret"])
    return _Context(kind, name, separator[2], quoted, prose, spaced)


def _before(text: str, start: int) -> str:
    """Return the word before the name at *start*, if a blank separates them."""
    if text[start - 1 : start] != " ":
        return ""
    before = _BEFORE.search(text, max(0, start - 13), start)
    return before[1] if before is not None else ""


def _value(text: str, start: int, context: _Context, names: Names | None) -> Iterator[Span]:
    """Yield the span of the value that begins at *start*, if there is one to mask; *names* if it may be code."""
    opening = _OPENING.match(text, start)
    if opening is not None:
        begin = opening.end()
        end = _closing(text, begin, opening[1], opening[2])
        found = text[begin:end]
        unclosed = not text.startswith(opening[2], end + len(opening[1]))
        if unclosed and found[:1] in ("", " ", ",", ")", "+", "%", ";", "]", "}", "\\") and not context.spaced:
            return  # the quote ends the text around the name: url + "?api_key=" + key
        if not _values.is_nothing(found) and not _is_plain_quoted(found, context):
            yield _span(begin, end, context)
        return
    if names is not None and (code := code_at(text, start, context, names)) is not None:
        for begin, end in code.literals:
            if not _values.is_nothing(text[begin:end]):
                yield Span(begin, end, context.rule)
        if code.strings:
            yield Span(code.strings[0][0], code.strings[-1][1], _CODE)
        return
    if text[start : start + 2] in ("[]", "{}", "()"):
        return
    if text[start : start + 1] in ("{", "[", "(") and _FLAGS.match(text, start, start + _LONGEST_FLAGS) is not None:
        return
    brackets = text[start : start + 1] in ("{", "[", "(") and context.kind != ACCOUNT
    if brackets and (end := _container(text, start, context)):
        yield Span(start, end, context.rule)
        return
    end = _bare_end(text, start, context)
    found = text[start:end]
    if found and not _values.is_nothing(found) and not _is_no_secret(found, context):
        yield _span(start, end, context)


def _is_plain_quoted(found: str, context: _Context) -> bool:
    """Return whether a value in quotes is no secret."""
    if context.separator.startswith("==") and _values.is_word(found):
        return True
    plain = _values.is_plain(context.kind, found) or _values.is_path(found)
    name = context.name.lower()
    if (words(name) == ["token"] and _values.is_traded(found)) or (name == "accesskey" and len(found) == 1):  # HTML's
        return True
    return plain or (context.kind != ACCOUNT and _values.is_status(_last(context.name), found))


def _last(name: str) -> str:
    return next(iter(words(name)[-1:]), "")


def _span(start: int, end: int, context: _Context) -> Span:
    if context.kind == ACCOUNT:
        return Span(start, end - ACCOUNT_TAIL if end - start > ACCOUNT_SHORT else end, ACCOUNT_RULE)
    return Span(start, end, context.rule)


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
    line = -1 if len(quote) == 3 else text.find("\n", begin)
    return len(text) if line < 0 else line


def _container(text: str, start: int, context: _Context) -> int:
    """Return where the brackets that open at *start* close; 0 if they hold nothing, or only prose."""
    following = text[start + 1 : start + 2]
    if following == "" or _values.is_redacted(text, start):
        return 0
    if (numbers := _NUMBERS.match(text, start)) is not None:
        return numbers.end()
    if context.in_prose and following not in ('"', "'", "{", "[", "(", "b") and not _FLOW.match(text, start):
        return 0
    depth = 0
    for match in islice(_BRACKETS.finditer(text, start), _MOST_BRACKETS):
        if match[0] in ("{", "[", "("):
            depth += 1
        elif match[0] in ("}", "]", ")"):
            depth -= 1
            if depth == 0:
                return match.end()
    return len(text)


def _bare_end(text: str, start: int, context: _Context) -> int:
    """Return where a value without quotes ends."""
    last = context.name.rpartition(" ")[2].lower()
    if last.endswith(("auth", "authorization")) and (scheme := _SCHEME.match(text, start)) is not None:
        if scheme[1].lower().startswith(_MANY) and (line := _LINE.match(text, scheme.end())) is not None:
            return line.end()
        if _PARAMETER.match(text, scheme.end()) is not None and _values.is_status("auth", scheme[1]):
            return scheme.end(1)
        end = _run_end(text, scheme.end())
        prose = context.in_prose and scheme[1].lower() in _values.PROSE
        if not (prose and _values.is_word(text[scheme.end() : end])):
            return end
    if last.endswith("cookie") and (cookies := _COOKIES.match(text, start)) is not None:
        return cookies.end()
    if words(last)[-1:] and words(last)[-1] in PHRASES:
        if (numbered := _NUMBERED.match(text, start)) is not None:
            return start + len(numbered[0].rstrip())
        if (phrase := _WORDS.match(text, start)) is not None:
            said = phrase[0].lower().replace(",", " ").split()
            if 3 * sum(word in _values.PROSE for word in said) <= len(said):
                return phrase.end()
    return _run_end(text, start)


def _run_end(text: str, start: int) -> int:
    """Return where the run of characters that begins at *start* ends, without brackets and stops of the text around."""
    if end := _values.variable_end(text, start):
        return end
    run = _RUN.match(text, start)
    end = start if run is None else run.end()
    while end > start and (text[end - 1] in ",;)]}\\" or (text[end - 1] in ":." and text[end - 2] in ")]}")):
        end -= 1
    return end


def _is_no_secret(found: str, context: _Context) -> bool:
    """Return whether a value without quotes is a number or a word that ordinary text puts after such a name."""
    last = _last(context.name)
    if _values.is_plain(context.kind, found) or _values.is_path(found):
        return True
    if found.strip("[]") == last.upper():  # `--api-key KEY` in a usage
        return True
    if context.kind == SECRETS and found.replace(".", "").isdigit():
        return True
    if context.kind != ACCOUNT and _values.is_status(last, found):
        return True
    if words(context.name) == ["token"] and context.separator != " " and _values.is_traded(found):
        return True
    if context.separator.startswith("=="):  # a comparison in code
        return True
    return context.in_prose and _is_said(found, context)


def _is_said(found: str, context: _Context) -> bool:
    """Return whether *found* stands in a sentence."""
    if _values.is_prose(found.lstrip("([")):
        return True
    if context.ambiguous and _PARAMETER.match(found) is not None and not context.rule.lower().endswith("cookie"):
        return True
    return context.ambiguous and context.spaced and _values.is_said(found)


def _item(text: str, start: int, end: int, name: str, kind: int) -> Iterator[Span]:
    """Yield the value of a quoted pair, ``('X-MBX-APIKEY', '…')``, or of the next item of a flat list of them."""
    first = _FIRST_ITEM.search(text, max(0, start - 50), start)
    if first is None or not text.startswith(first[1], end):
        return
    following = _NEXT_ITEM.match(text, end + len(first[1]))
    if following is None:
        return
    begin = following.end()
    close = _closing(text, begin, following[1][:-1], following[1][-1])
    found = text[begin:close]
    paired = first[0][0] == "(" and text[close + len(following[1]) :].lstrip().startswith(")")
    named = name.lower() not in AMBIGUOUS
    plain = re.fullmatch(r"[A-Za-z_]{0,30}", found) is not None
    plain = (plain and not (paired and named)) or _values.is_plain(kind, found)
    if not _values.is_nothing(found) and not plain and kind != ACCOUNT:
        yield Span(begin, close, f"name {name}")
