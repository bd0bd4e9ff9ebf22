r"""The filters of the reader as LogsQL, the query language of VictoriaLogs.

A query may select more than the filters ask for, never less: the reader filters again. Names of fields are those of
the three ways in (OTLP, syslog, JSON lines). Texts of the user stand in double quotes with the escapes of Go, of
which those of JSON are a part; where they would be part of an expression, only ASCII letters, digits, ``_`` and ``-``
of them are used. Source: VictoriaLogs, "LogsQL".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from metaexpert.logger import schema
from metaexpert.logger.entry.rfc5424 import escape_text
from metaexpert.logs.reading.filters import Criteria

#: Only entries of ours: other programs may feed the store too.
_OURS: Final = '(sequence_id:* or "meta.sequenceId":*)'
#: Syslog with another enterprise number has its fields under other names.
_OTHER_NUMBER: Final = '("meta.sequenceId":* "context@32473.expert_name":"")'
_NAMES: Final = {
    "expert": ("expert_name", "context@32473.expert_name", "appname", "app_name", "service.name"),
    "symbol": ("symbol", "context@32473.symbol"),
    "trade_id": ("trade_id", "context@32473.trade_id"),
}
#: The reader's own way to ask for trades, see `metaexpert.logs.trades`.
_TRADES: Final = f'"msgid":"{schema.MSGID_TRADE}"'
#: How Python writes what JSON writes otherwise.
_SPELLINGS: Final = {"True": "true", "False": "false"}
#: The field in which the store packs an entry to search all of it.
_PACKED: Final = "metaexpert_packed"
#: What an entry has besides what the store keeps: names that differ there, and words that are told otherwise.
_SKELETON: Final = " ".join(
    (*schema.RESERVED_KEYS, *schema.LEVEL_NUMBERS, *schema.DOMAIN_FIELDS, "true", "false", "null",
     "type", "value", "text", "frames", "causes", "groups", "notes", "context", "fields")
)  # fmt: skip
_RUN: Final = re.compile(r"[A-Za-z0-9_-]+")
#: What may be the end of an escape sequence such as ``\n`` or ``\u000a``, and part of a number in another spelling.
_ESCAPE: Final = re.compile(r"u?[0-9a-f]{1,4}|[bfnrtu]")
_NUMBER: Final = re.compile(r"[0-9]*[eE]?-?[0-9]*")
#: Times lose their last zeros in the store.
_TIME: Final = re.compile(r"[0-9T-]*Z?")
_SHORTEST: Final = 2
#: The query for the time of the first entry; the store knows it without a look at the entries.
EARLIEST: Final = "* | stats min(_time) as first"
#: The store's times are nanoseconds since the epoch in 64 bits.
_EARLIEST: Final = datetime(1678, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2262, 1, 1, tzinfo=UTC)


def query(
    criteria: Criteria, low: datetime | None, high: datetime | None, limit: int | None, *, backward: bool = False
) -> str:
    """Return the query for the first entries, in order of time, that may pass *criteria* (the last, when *backward*).

    Args:
        criteria: The filters; their times do not count.
        low: Earliest time, included; None for no bound.
        high: Latest time, not included.
        limit: How many; None for all, in no order.
        backward: The last first.
    """
    parts = [*_between(low, high), *_selecting(criteria)]
    if limit is not None:
        parts.append(f"| sort by (_time){' desc' if backward else ''} limit {limit}")
    return " ".join(parts)


def count(criteria: Criteria, low: datetime | None, high: datetime | None) -> str:
    """Return the query for how many entries `query` would select."""
    return " ".join([*_between(low, high), *_selecting(criteria), "| stats count() as entries"])


def _between(low: datetime | None, high: datetime | None) -> Iterator[str]:
    if low is not None:
        yield f"_time:>={_moment(low)}"
    if high is not None:
        yield f"_time:<{_moment(high)}"


def _moment(time: datetime) -> str:
    time = min(max(time, _EARLIEST), _LATEST)
    return schema.timestamp(time)


def _selecting(criteria: Criteria) -> Iterator[str]:
    yield _OURS
    if criteria.level > schema.DEBUG:
        yield _levels(criteria.level)
    for name, values in criteria.fields:
        if name in _NAMES:
            yield _has(_NAMES[name], values)
    if _TRADES in criteria.patterns:
        yield f'(msgid:="{schema.MSGID_TRADE}" or msg_id:="{schema.MSGID_TRADE}")'
    if packed := list(dict.fromkeys(_packed(criteria))):
        yield f"| pack_json as {_PACKED}"
        yield from (f'| filter {_PACKED}:~"{expression}"' for expression in packed)
        yield f"| delete {_PACKED}"


def _levels(level: int) -> str:
    words = [word for word, number in schema.LEVEL_NUMBERS.items() if number >= level] or ["critical"]
    numbers = [str(number) for number in range(schema.SEVERITIES[words[0]] + 1)]  # those that are no level of ours too
    forms = [form for word in [*words, "warn", "fatal"] for form in (word, word.upper(), word.capitalize())]
    names = ", ".join(map(quoted, [*forms, *numbers]))
    return f"(level:in({names}) or severity:in({names}))"


def _has(names: Iterable[str], values: Iterable[str]) -> str:
    forms = {form for value in values for form in (value, escape_text(value), _SPELLINGS.get(value, value))}
    texts = ", ".join(map(quoted, sorted(forms)))
    return f"({' or '.join(f'{quoted(name)}:in({texts})' for name in names)} or {_OTHER_NUMBER})"


def quoted(text: str) -> str:
    """Return *text* as a string of LogsQL; a lone surrogate, which no entry has, becomes a question mark."""
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)


def _packed(criteria: Criteria) -> Iterator[str]:
    """Yield expressions that all match the packed entry, if it is wanted."""
    fields = tuple(field for field in criteria.fields if field[0] not in _NAMES)
    patterns = tuple(pattern for pattern in criteria.patterns if pattern != _TRADES)
    for group in replace(criteria, level=0, fields=fields, patterns=patterns).groups:
        found = {max(_certain(text.decode("utf-8", "replace")), key=len, default="") for text in group.texts}
        if all(found):
            yield ("(?i)" if group.fold else "") + "|".join(sorted(found))


def _certain(text: str) -> Iterator[str]:
    """Yield the parts of *text* that the packed entry has too, if the entry has *text*."""
    for match in _RUN.finditer(text):
        run = match[0]
        if match.start() == 0 or text[match.start() - 1] == "\\":
            run = _ESCAPE.sub("", run, count=1) if _ESCAPE.match(run) else run
        if _TIME.fullmatch(run):
            run = run.removesuffix("Z").rstrip("0")
        spelled_otherwise = not run.isdigit() and _NUMBER.fullmatch(run)
        if len(run) >= _SHORTEST and not spelled_otherwise and run.lower() not in _SKELETON:
            yield run
