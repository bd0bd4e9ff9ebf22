"""The life of one order across all experts: its steps, the time between them, its costs, duplicate entries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from metaexpert.logs import vocabulary as words
from metaexpert.logs.entry import Entry
from metaexpert.logs.library import Logs
from metaexpert.logs.runs.names import NUMBERS, Mention, Name, orders_in
from metaexpert.logs.vocabulary import Amounts, Facts, plain


@dataclass(slots=True)
class Step:
    """One entry about the order.

    Attributes:
        entry: The entry.
        step: The step, in a word of `metaexpert.logs.vocabulary`.
        before: The entry of the previous step; None for the first.
        size: Size executed in this step; None when nothing was.
        price: Price of that, in the quote currency.
        fees: What it cost, one sum for each currency.
        trade_id: The id of the execution; empty when there is none.
        reason: Why it was rejected or cancelled; empty when no entry tells.
        duplicate: Whether it repeats an earlier step; then it is not counted.
        has_result: Whether it tells a realised result (``pnl``).
    """

    entry: Entry
    step: str
    before: Entry | None = None
    size: Decimal | None = None
    price: Decimal | None = None
    fees: Amounts = field(default_factory=Amounts)
    trade_id: str = ""
    reason: str = ""
    duplicate: bool = False
    has_result: bool = False

    @property
    def after(self) -> float | None:
        """Seconds since the previous step; None for the first."""
        return None if self.before is None else (self.entry.time - self.before.time).total_seconds()

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types; numbers that are money as exact text."""
        return {
            "timestamp": self.entry.timestamp,
            "step": self.step,
            "after_s": self.after,
            "level": self.entry.level,
            "message": self.entry.text,
            "expert": self.entry.expert,
            "size": plain(self.size) or None,
            "price": plain(self.price) or None,
            "fee": plain(self.fees.single) or None if self.fees else None,
            "fees": self.fees.as_dict(),
            "trade_id": self.trade_id or None,
            "reason": self.reason or None,
            "duplicate": self.duplicate,
            "sequence_id": self.entry.sequence_id,
            "file": self.entry.file,
        }


@dataclass(slots=True)
class OrderLife:
    """An order from its first entry to its last.

    Attributes:
        order_id: The id in the question.
        ids: All its ids, the exchange's and the client's.
        requested: Wanted price: ``requested_price``, otherwise the limit price of the first step.
        filled: Size executed, without duplicates.
        costs: Fees of the executions, one sum for each currency.
        pnl: Realised result of its executions; None when no entry has one.
        status: The last step, changes of the position aside.
    """

    order_id: str
    ids: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    experts: list[str] = field(default_factory=list)
    symbol: str = ""
    side: int = 0
    type: str = ""
    size: Decimal | None = None
    requested: Decimal | None = None
    filled: Decimal = Decimal()
    spent: Decimal = Decimal()
    costs: Amounts = field(default_factory=Amounts)
    pnl: Decimal | None = None
    status: str = ""

    @property
    def fees(self) -> Decimal | None:
        """Sum of the fees, if all are in one currency; see `costs`."""
        return self.costs.single

    @property
    def is_complete(self) -> bool:
        """Whether its whole size was executed: nothing can happen to it any more."""
        return self.size is not None and bool(self.filled) and self.filled >= self.size

    @property
    def is_open(self) -> bool:
        """Whether it may still be executed, as far as is known."""
        return self.status in (words.PLACED, words.ACKNOWLEDGED, words.PARTIALLY_FILLED)

    @property
    def average_price(self) -> Decimal | None:
        """Average price of all executions."""
        return self.spent / self.filled if self.filled else None

    @property
    def slippage(self) -> Decimal | None:
        """How much worse than requested, in the quote currency; below zero is better."""
        if self.requested is None or not self.filled or not self.side:
            return None
        return (self.spent - self.requested * self.filled) * self.side

    @property
    def slippage_bps(self) -> Decimal | None:
        """The same in basis points of the requested value."""
        slippage = self.slippage
        if slippage is None or not self.requested:
            return None
        return slippage / (self.requested * self.filled) * 10_000

    @property
    def duration(self) -> float:
        """Seconds from the first entry to the last."""
        return (self.steps[-1].entry.time - self.steps[0].entry.time).total_seconds() if self.steps else 0.0

    @property
    def duplicates(self) -> int:
        """How many entries repeat an earlier step."""
        return sum(step.duplicate for step in self.steps)

    def add(self, facts: Facts) -> None:
        """Take in the next entry about the order."""
        _add(self, facts)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types; numbers that are money as exact text."""
        return {
            "order_id": self.order_id,
            "ids": sorted(self.ids),
            "experts": self.experts,
            "symbol": self.symbol or None,
            "side": words.SIDES.get(self.side),
            "type": self.type or None,
            "status": self.status or None,
            "size": plain(self.size) or None,
            "filled": plain(self.filled) or None,
            "requested_price": plain(self.requested) or None,
            "average_price": plain(self.average_price) or None,
            "slippage": plain(self.slippage) or None,
            "slippage_bps": None if self.slippage_bps is None else round(float(self.slippage_bps), 4) + 0.0,
            "fees": plain(self.fees) or None,
            "fees_by_currency": self.costs.as_dict(),
            "pnl": plain(self.pnl) or None,
            "duration_s": self.duration,
            "duplicates": self.duplicates,
            "steps": [step.as_dict() for step in self.steps],
        }


#: How far a step has brought an order. A late report of an earlier step does not bring it back.
_RANK: Final = {
    words.PLACED: 1,
    words.ACKNOWLEDGED: 2,
    words.REJECTED: 3,
    words.PARTIALLY_FILLED: 4,
    words.CANCELLED: 5,
    words.FILLED: 5,
}


def order_life(logs: Logs, order_id: str) -> OrderLife:
    """Return the life of an order; it has no steps when no entry mentions the order.

    Args:
        logs: The logs.
        order_id: Any of its names, see `metaexpert.logs.runs.names`. Entries with another one are found too, if some
            entry has both.
    """
    search = _Search(order_id)
    # The plain files first: until the other names are known, the compressed ones need not be inflated.
    waiting = {False: {order_id}, True: {order_id}}
    while any(waiting.values()):
        compressed = not waiting[False]
        texts, waiting[compressed] = waiting[compressed], set()
        new = search.look(replace(logs, compressed=compressed), texts)
        waiting = {part: names | new for part, names in waiting.items()}
    life = OrderLife(order_id, ids={order_id} | {name.text for name in search.known})
    for key in sorted(search.found, key=lambda key: key if key[1] else (*key[:2], b"")):  # without number: as found
        life.add(Facts(*search.found[key]))
    return life


class _Search:
    """The entries about one order, found name by name.

    Attributes:
        known: Its names.
        found: Its entries by their place, each with the part of it that is about the order.
    """

    def __init__(self, asked: str) -> None:
        self.known: set[Name] = set()
        self.found: dict[tuple[Any, ...], tuple[Entry, Mapping[str, Any]]] = {}
        self._asked = asked
        self._by_key: dict[str, set[Name]] = {}
        self._experts: set[str] = set()

    def look(self, logs: Logs, texts: set[str]) -> set[str]:
        """Take in the entries that have one of *texts*; return the names that were learnt from them."""
        before = set(self.known)
        text = re.compile("|".join(map(re.escape, sorted(texts)))) if len(texts) > 1 else next(iter(texts))
        records = logs.filter(grep=text)
        for record in records:
            if isinstance(record, Entry) and (*record.key[:2], record.line) not in self.found:
                mention = next((one for one in orders_in(record.flat) if self._is_meant(one, record)), None)
                if mention is not None:
                    self._take(record, mention)
        logs.counts.note_files(records.counts)
        return {name.text for name in self.known - before} - {self._asked}

    def _is_meant(self, mention: Mention, entry: Entry) -> bool:
        if self._asked in mention.texts:
            return True
        shared = self.known & mention.all
        if not shared or any(name.is_strong for name in shared):
            return bool(shared)
        # A small number counts the orders of one program: another one's order may bear it.
        other = any(key in self._by_key and name not in self._by_key[key] for key, name in mention.names)
        return entry.expert in self._experts and not other

    def _take(self, entry: Entry, mention: Mention) -> None:
        self.found[(*entry.key[:2], entry.line)] = entry, mention.fields
        if entry.foreign:
            return
        self._experts.add(entry.expert)
        for key, name in mention.names:
            if name.is_strong or key not in NUMBERS:
                self.known.add(name)
                self._by_key.setdefault(key, set()).add(name)


def _add(life: OrderLife, facts: Facts) -> None:
    entry = facts.entry
    if entry.foreign:  # other loggers may mean something else by the same words
        life.steps.append(Step(entry, words.NOTE, before=life.steps[-1].entry if life.steps else None))
        return
    step = Step(entry, facts.step, reason=facts.text("reason"))
    if step.step == words.REJECTED and not _may_be_rejected(life, facts):
        step.step = words.NOTE
    # An order that is placed while another's trade is handled has the id of that trade.
    if step.step in words.EXECUTIONS or step.step == words.POSITION:
        step.trade_id = facts.text("trade_id")
    step.before = life.steps[-1].entry if life.steps else None
    if facts.is_execution and ((size := facts.growth(life.filled)) or step.step in words.EXECUTIONS):
        step.size, step.price = size, facts.price
        step.fees.add(facts.fees)
    step.duplicate = _is_duplicate(life, step, facts)
    life.steps.append(step)
    _describe(life, facts, step)
    if not step.duplicate:
        _count(life, facts, step)


def _may_be_rejected(life: OrderLife, facts: Facts) -> bool:
    """Return whether an entry that tells of a failure means the order, not a request to change or cancel it."""
    if life.status in (words.PARTIALLY_FILLED, words.FILLED, words.CANCELLED):
        return False
    return facts.has_status or life.status != words.ACKNOWLEDGED


def _is_duplicate(life: OrderLife, step: Step, facts: Facts) -> bool:
    if step.step in words.EXECUTIONS and step.trade_id:
        return any(other.trade_id == step.trade_id for other in life.steps if other.step in words.EXECUTIONS)
    same = [other for other in life.steps if other.step == step.step]
    if step.step in words.EXECUTIONS:
        repeated = facts.number("filled") is not None and step.size == 0
        return bool(same) and (repeated or step.step == words.FILLED)
    if step.step == words.POSITION and step.trade_id:
        return any(other.trade_id == step.trade_id and other.entry.text == step.entry.text for other in same)
    once = (words.PLACED, words.ACKNOWLEDGED, words.CANCELLED, words.REJECTED)
    return bool(same) and step.step in once and not step.size


def _describe(life: OrderLife, facts: Facts, step: Step) -> None:
    expert = facts.entry.expert
    if expert and expert not in life.experts:
        life.experts.append(expert)
    life.symbol = life.symbol or facts.text("symbol")
    if step.step == words.POSITION:
        return
    life.side = life.side or facts.side
    life.type = life.type or facts.text("type")
    if life.size is None:
        size = facts.number("order_size")
        life.size = size if size is not None or step.size is not None else facts.number("size")
    if life.requested is None:
        requested = facts.number("requested")
        life.requested = requested if requested is not None or step.size is not None else facts.number("price")


def _count(life: OrderLife, facts: Facts, step: Step) -> None:
    if step.size is not None and step.price is not None:
        life.filled += step.size
        life.spent += step.size * step.price
        life.costs.add(step.fees.items(), words.currency_of(life.symbol))
        life.side = life.side or facts.side
    if _RANK.get(step.step, 0) >= _RANK.get(life.status, 1) and not life.is_complete:
        life.status = step.step
    elif step.step in words.EXECUTIONS and life.is_complete:
        life.status = words.FILLED
    pnl = facts.number("pnl")
    step.has_result = pnl is not None
    told = step.trade_id and any(other.has_result and other.trade_id == step.trade_id for other in life.steps[:-1])
    if pnl is not None and not told:
        life.pnl = (life.pnl or Decimal()) + pnl
