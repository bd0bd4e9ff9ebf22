"""Masking: known values, values under secret names, and texts that look like secrets become ``***``.

`mask_text` masks a text; a `Masker` masks the fields of an entry for `metaexpert.logger.entry.values.Cleaner`. Three
kinds of secrets are found:

1. *Known values* anywhere (`metaexpert.logger.masking.registered`).
2. *Names* of fields at any depth (`metaexpert.logger.masking.names`).
3. *Shapes* inside texts (`metaexpert.logger.masking.shapes`).

With `mask_secrets=False` only known values and SecretStr objects are masked.

Threads: any thread may use everything here, except that a `Masker` belongs to one call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any, Final

from metaexpert.logger.entry.patterns import lazy_pattern
from metaexpert.logger.entry.scalars import TEXTS
from metaexpert.logger.entry.values import Cleaner, no_surrogates
from metaexpert.logger.entry.work import UNLIMITED, Work
from metaexpert.logger.masking._pairs import ACCOUNT_RULE, UNREAD, Span
from metaexpert.logger.masking._structures import ARGUMENTS, VALUE_FIELDS, named_value, sign_in
from metaexpert.logger.masking._values import ACCOUNT_SHORT, ACCOUNT_TAIL, is_plain
from metaexpert.logger.masking.names import (
    ACCOUNT,
    AMBIGUOUS,
    NAMES,
    PLAIN,
    SECRET,
    SECRETS,
    SIGN,
    Names,
    is_secret_key,
)
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.masking.shapes import find_shapes
from metaexpert.logger.schema import MASK

__all__ = ["ACCOUNT_RULE", "MASK", "RULES", "TELLING", "HiddenArguments", "Masker", "Rules", "mask_text", "mask_tree"]

#: Characters beyond a text's limit that are searched too, so that a secret across the limit is seen whole.
_MARGIN: Final = 4096
#: Texts that are remembered, and the longest of them, in characters.
_MOST_KEPT: Final = 1024
_LONGEST_KEPT: Final = 200
#: The longest text that a fast call has searched, and the work of it. More goes the plain way, where it is cut.
_LONGEST_CLEAR: Final = 8192
_CLEAR_WORK: Final = 300
#: The least work of a searched text, the characters that are one more, and those that are searched for any work left.
_TEXT_WORK: Final = 4
#: The work of a secret that is found: all rules look at a text with one.
_SECRET_WORK: Final = 20
_CHARACTERS: Final = 20
_ALWAYS: Final = 256
#: Names of a container that look like those of secrets and are judged together.
_MOST_NAMES: Final = 500
#: Texts of a large container that are searched together.
_TOGETHER: Final = 256
#: The least work of that.
_PART_WORK: Final = 100
#: Where an argument of ``%`` goes, characters before it that may name it, and a value that is nothing but a secret.
_PLACE: Final = lazy_pattern(r"%(?!%)(?:\([^)]*+\))?[#0\- +]*+(?:\d++|\*)?(?:\.\d++)?[hlL]?[a-zA-Z]")
_NEAR: Final = 100
_PROBE: Final = "Zx81Lq0ppR7"
#: Fields whose value another field may tell to be secret.
TELLING: Final = VALUE_FIELDS | ARGUMENTS
#: The beginning of a traceback, as it stands before a line of source code.
_SOURCE: Final = '  File "", line 0\n    '


class Rules:
    """The rules by which secrets are found. Safe to share between threads.

    Log calls repeat their texts. Up to `_MOST_KEPT` texts without a secret are remembered, so that a usual call
    searches none.

    Args:
        shapes: Whether names and shapes are masked (`mask_secrets`).
        extra_keys: More secret names (`extra_secret_keys`).
    """

    __slots__ = ("_harmless", "_judged", "names", "shapes")

    def __init__(self, *, shapes: bool = True, extra_keys: Iterable[str] = ()) -> None:
        self.shapes: Final = shapes
        extra = tuple(extra_keys)
        self.names: Final = Names(extra) if extra else NAMES
        self._judged: Final = self.names.judged
        #: Texts without a secret, each with the generation of known values for which that is true.
        self._harmless: Final[dict[str, int]] = {}

    def find(self, text: str, work: Work | None = None) -> list[Span]:
        """Return the secrets in *text*, merged and in order. Where *work* ends, the last one is the rest, `UNREAD`."""
        if len(text) < registered.reach and "=" not in text and ":" not in text:
            return []
        # Read before the search: if a value is registered meanwhile, the answer is out of date at once.
        generation = registered.generation
        if self._harmless.get(text) == generation:
            return []
        spans = registered.find(text)
        if self.shapes:
            spans += find_shapes(text, self.names) if work is None else find_shapes(text, self.names, work)
        if spans:
            return _merged(spans)
        if len(text) <= _LONGEST_KEPT:
            if len(self._harmless) >= _MOST_KEPT:
                self._harmless.clear()
            self._harmless[text] = generation
        return spans

    def mask(self, text: str) -> tuple[str, int]:
        """Return *text* with each secret in it as ``***``, and how many there were. Never raises an `Exception`."""
        spans = self.find(text)
        return (_replaced(text, spans), len(spans)) if spans else (text, 0)

    def harmless(self, text: str) -> bool:
        """Return whether nothing in *text* is a secret."""
        return not self.find(text)

    def kind(self, parent: str, name: str) -> int:
        """Return what a field's *name* means (see `metaexpert.logger.masking.names`), in the object under *parent*."""
        if not self.shapes:
            return PLAIN
        kind = self._judged.get(name)
        if kind is None:
            kind = self.names.kind(name)
        if kind == PLAIN and parent and name[-3:].lower() == "key" and is_secret_key(parent, name):
            return SECRET
        return kind

    def told(self, fields: Mapping[Any, Any]) -> object:
        """Return the field whose value is secret since another one says so: ``{"name": "API_KEY", "value": "…"}``."""
        if not self.shapes or fields.keys().isdisjoint(TELLING):
            return None
        named = named_value(fields)
        if named is not None and self.names.kind(named[0]) not in (PLAIN, ACCOUNT):
            value = fields[named[1]]
            plain = isinstance(value, str) and value.replace("_", "").isalpha() and value.islower()
            return None if plain or isinstance(value, int | float) else named[1]
        return sign_in(fields)

    def clear(self, value: Any) -> bool:
        """Return whether there is no secret in *value*, of type str, int or one of `TEXTS`. False when it is long."""
        kind = type(value)
        if kind is str:
            work = Work(_CLEAR_WORK) if len(value) > _LONGEST_KEPT else None  # a short one needs little
            return len(value) <= _LONGEST_CLEAR and not self.find(value, work)
        if kind is int:
            return not registered.knows(value)
        # Numbers and times that are written as text have no shape, but may be known values.
        return not registered.find(TEXTS[kind](value))


class HiddenArguments:
    """A mapping of arguments for ``%``: values under secret names are masked.

    Args:
        arguments: The mapping.
        rules: Which names are secret.
    """

    __slots__ = ("_arguments", "_rules")

    def __init__(self, arguments: Mapping[Any, Any], rules: Rules) -> None:
        self._arguments = arguments
        self._rules = rules

    def __getitem__(self, name: Any) -> Any:
        """Return the value of *name*, or its mask."""
        value = self._arguments[name]
        kind = self._rules.kind("", name) if type(name) is str else PLAIN
        return Masker(self._rules).named(kind, value) if kind else value

    def __repr__(self) -> str:
        """Return the mapping's own text, for a message that takes it as a whole; names mask that one."""
        return repr(self._arguments)

    def __str__(self) -> str:
        return str(self._arguments)


#: The rules where there is no configuration.
RULES: Final = Rules()


def _merged(spans: list[Span]) -> list[Span]:
    unread = min((span for span in spans if span.rule == UNREAD), default=None)
    if unread is None:
        return _joined(spans)
    found = _joined([span for span in spans if span.start < unread.start])
    start = max(unread.start, found[-1].end) if found else unread.start
    return [*found, Span(start, max(start, unread.end), UNREAD)]


def _joined(spans: list[Span]) -> list[Span]:
    if not spans:
        return spans
    spans.sort()
    merged = [spans[0]]
    for span in spans[1:]:
        last = merged[-1]
        if span.start <= last.end:
            if span.end > last.end:
                merged[-1] = Span(last.start, span.end, last.rule)
        else:
            merged.append(span)
    return merged


def _replaced(text: str, spans: list[Span]) -> str:
    parts, position = [], 0
    for span in spans:
        parts += [text[position : span.start], MASK]
        position = span.end
    return "".join([*parts, text[position:]])


def mask_text(text: str) -> str:
    """Return *text* with every known value and every shape of a secret as ``***``.

    Takes linear time and never raises an `Exception`. Safe to call from any thread.

    Args:
        text: Any text: a message, a traceback, a line of a file.
    """
    return RULES.mask(text)[0]


def mask_tree(value: Any, rules: Rules = RULES) -> tuple[Any, int]:
    """Return a decoded JSON *value* with its secrets masked, and how many there were.

    Args:
        value: str, int, float, bool, None, and lists and dicts of them.
        rules: The rules by which secrets are found.
    """
    masker = Masker(rules)
    return Cleaner(UNLIMITED, UNLIMITED, masker).clean(value), masker.count


class Masker:
    """Masks the values of one entry for `Cleaner`, and counts the secrets. Not to be shared between threads.

    Args:
        rules: The rules by which secrets are found.
    """

    __slots__ = ("count", "rules")

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules: Final = rules
        self.count = 0

    def text(self, text: str, limit: int, work: Work | None = None) -> tuple[str, int]:
        """Return *text* masked and cut to *limit* characters, and how many characters were cut off.

        Cutting comes last, since a part of a secret is a secret too. At most *limit* characters are searched, and the
        length of the longest secret beyond them. A text for which *work* does not suffice is cut earlier.
        """
        size = len(text)
        if size < registered.reach and size <= limit and "=" not in text and ":" not in text:
            return no_surrogates(text), 0
        if work is not None:
            if work.left <= 0:
                return "", size
            limit = min(limit, _ALWAYS + _CHARACTERS * work.left)
            work.left -= _TEXT_WORK + min(size, limit + _MARGIN) // _CHARACTERS
        beyond = max(size - limit - max(_MARGIN, registered.longest), 0)
        # Two lone surrogates may become one character, and part of a secret.
        text = no_surrogates(text[: size - beyond] if beyond else text)
        spans = self.rules.find(text, work)
        if spans and spans[-1].rule == UNREAD:
            beyond += len(text) - spans[-1].start
            text = text[: spans.pop().start]
        self.count += len(spans)
        if spans:
            text = _replaced(text, spans)
            if work is not None:
                work.left -= _SECRET_WORK * len(spans)
        left_out = beyond + max(len(text) - limit, 0)
        return (text[:limit] if left_out else text), left_out

    def kind(self, parent: str, name: str) -> int:
        """Return what a field's *name* means in the object under *parent* (see `Rules.kind`)."""
        return self.rules.kind(parent, name)

    def option(self, word: Any) -> int:
        """Return what the option *word* of a command line (``--api-key``) means."""
        return self.kind("", word.lstrip("-")) if type(word) is str and word[:1] == "-" else PLAIN

    def pair(self, first: Any, second: Any, *, listed: bool = False) -> int:
        """Return what *first* means as the name of *second*, in a tuple of both such as a header, or in a list."""
        if not (isinstance(first, str | bytes) and isinstance(second, str | bytes)):
            return PLAIN
        if listed and isinstance(second, str) and second.replace("_", "").replace(" ", "").isalpha():
            return PLAIN  # names of columns
        name = first.decode("utf-8", "replace") if isinstance(first, bytes) else first
        # ("token", "price") are two words. The value of a header is more than a word.
        word = isinstance(second, str) and second.isalpha() and second.islower() and name.lower() in AMBIGUOUS
        return PLAIN if word else self.kind("", name)

    def told(self, fields: Mapping[Any, Any]) -> object:
        """Return the field of *fields* whose value is secret by what another one says; None if there is none."""
        return self.rules.told(fields)

    def source(self, line: str, limit: int, work: Work) -> tuple[str, int]:
        """Return a *line* of source code as `text` does. Only its literals can be secret."""
        text, left_out = self.text(_SOURCE + line, limit + len(_SOURCE), work)
        return text.removeprefix(_SOURCE), left_out

    def harmless(self, texts: Set[str], limit: int, work: Work | None = None) -> Set[str]:
        """Return those of *texts*, short ones, that are known to hold no secret: a search of many costs less than many.

        None of them is longer than *limit*, and none holds a lone surrogate. Without *work* left, others are missing.
        """
        work = work or Work()
        reach, joined = registered.reach, "\n".join(texts)
        short = len(max(texts, key=len, default="")) < reach
        if short and joined.isascii() and "=" not in joined and ":" not in joined:
            return texts
        found = {text for text in texts if len(text) < reach and "=" not in text and ":" not in text and text.isascii()}
        some = [text for text in texts if len(text) <= min(limit, _LONGEST_KEPT) and text not in found]
        for start in range(0, len(some), _TOGETHER):
            part = some[start : start + _TOGETHER]
            joined = "\n".join(part)
            if work.left <= 0:
                break
            work.left -= _PART_WORK + len(joined) // _CHARACTERS
            if no_surrogates(joined) == joined and self.rules.harmless(joined):
                found.update(part)
        return found

    def arguments(self, template: str, arguments: Any) -> Any:
        """Return *arguments* that do not fit a *template* for ``%``, masked where a secret name precedes."""
        if not isinstance(arguments, list | tuple) or not self.rules.shapes:
            return arguments
        hidden = list(arguments)
        for place, argument in zip(_PLACE.finditer(template[:_LONGEST_CLEAR]), range(len(hidden)), strict=False):
            probe = template[max(0, place.start() - _NEAR) : place.start()] + _PROBE
            if any(span.end == len(probe) for span in self.rules.find(probe)):
                hidden[argument] = self.secret()
        return hidden

    def unnamed(self, names: Set[str], texts: Set[str]) -> bool:
        """Return whether no name of *names*, and no text of *texts* before another, makes a secret of what follows."""
        rules = self.rules
        if registered.numbers or not rules.shapes:
            return not registered.numbers
        lowered = "\n".join((*names, *texts)).lower()
        if lowered.isascii() and not any(stem in lowered for stem in rules.names.stems):
            return True
        if not names.isdisjoint(TELLING) or any(name[-3:].lower() == "key" for name in names):
            return False
        kind = rules.names.kind
        if len(names) > _MOST_NAMES and rules.names.suspects(names) > _MOST_NAMES:
            return False
        return not any(map(kind, names)) and not any(kind(text.lstrip("-")) for text in texts)

    def secret(self) -> str:
        """Count a secret, and return its replacement."""
        self.count += 1
        return MASK

    def number(self, number: int) -> bool:
        """Return whether *number* is a known value."""
        return registered.knows(number)

    def known(self, text: str) -> bool:
        """Return whether there is a known value in *text*."""
        return bool(registered.find(text))

    def named(self, kind: int, value: Any) -> Any:
        """Return the text or value to write for a clean *value* under a name that means *kind*."""
        if value is None or isinstance(value, bool) or value in ("", MASK) or value in ([], {}):
            return value
        if kind == ACCOUNT and not isinstance(value, list | dict):
            text = str(value)
            if text.startswith(MASK) and len(text) <= len(MASK) + ACCOUNT_TAIL:  # masked before
                return value
            if self.rules.harmless(text):
                return MASK if len(text) <= ACCOUNT_SHORT else MASK + text[-ACCOUNT_TAIL:]
        known = isinstance(value, int | float) and registered.knows(value)
        counts = kind == SECRETS or (kind == SIGN and value in (-1, 0, 1))
        if counts and isinstance(value, int | float) and not known:
            return value
        if isinstance(value, str) and is_plain(kind, value) and self.rules.harmless(value):
            return value
        return self.secret()
