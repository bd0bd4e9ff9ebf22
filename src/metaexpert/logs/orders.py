"""The life of one order across all experts: its steps, the time between them, its costs, duplicate entries."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from metaexpert.logs import vocabulary as words
from metaexpert.logs.entry import Entry
from metaexpert.logs.library import Logs
from metaexpert.logs.vocabulary import Facts, plain


@dataclass(slots=True)
class Step:
    """One entry about the order.

    Attributes:
        entry: The entry.
        step: The step, in a word of `metaexpert.logs.vocabulary`.
        after: Seconds since the previous step; None for the first.
        size: Size executed in this step; None when nothing was.
        duplicate: Whether it repeats an earlier step; then it is not counted.
    """

    entry: Entry
    step: str
    after: float | None = None
    size: Decimal | None = None
    price: Decimal | None = None
    fee: Decimal | None = None
    trade_id: str = ""
    reason: str = ""
    duplicate: bool = False

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
            "fee": plain(self.fee) or None,
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
        fees: Sum of the fees of the executions.
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
    fees: Decimal = Decimal()
    pnl: Decimal | None = None
    status: str = ""

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
            "pnl": plain(self.pnl) or None,
            "duration_s": self.duration,
            "duplicates": self.duplicates,
            "steps": [step.as_dict() for step in self.steps],
        }


def order_life(logs: Logs, order_id: str) -> OrderLife:
    """Return the life of an order; it has no steps when no entry mentions the order.

    Entries are found by ``order_id`` and ``client_order_id``. If an entry has both, entries with only the other one are
    found too.
    """
    known, new = {order_id}, {order_id}
    entries: list[Entry] = []
    while new:
        entries += _about(logs, new)
        new = {name for entry in entries for name in _ids(Facts(entry))} - known
        known |= new
    life = OrderLife(order_id, ids=known)
    unique = {(*entry.key, entry.line): entry for entry in entries}
    for key in sorted(unique):
        _add(life, Facts(unique[key]))
    return life


def _about(logs: Logs, ids: set[str]) -> list[Entry]:
    """Return the entries about an order of one of these *ids*."""
    text = re.compile("|".join(map(re.escape, sorted(ids)))) if len(ids) > 1 else next(iter(ids))
    records = logs.filter(grep=text)
    found = [record for record in records if isinstance(record, Entry) and not ids.isdisjoint(_ids(Facts(record)))]
    logs.counts.unreadable.update(records.counts.unreadable)
    return found


def _ids(facts: Facts) -> set[str]:
    return {facts.text("order_id"), facts.text("client_order_id")} - {""}


def _add(life: OrderLife, facts: Facts) -> None:
    entry = facts.entry
    step = Step(entry, facts.step, reason=facts.text("reason"))
    # An order that is placed while another's trade is handled has the id of that trade.
    if step.step in words.EXECUTIONS or step.step == words.POSITION:
        step.trade_id = facts.text("trade_id")
    if life.steps:
        step.after = (entry.time - life.steps[-1].entry.time).total_seconds()
    if facts.is_execution and (step.step != words.POSITION or not life.filled):
        step.size, step.price, step.fee = _executed(life, facts), facts.number("price"), facts.number("fee")
    step.duplicate = _is_duplicate(life, step, facts)
    life.steps.append(step)
    _describe(life, facts, step)
    if not step.duplicate:
        _count(life, facts, step)


def _executed(life: OrderLife, facts: Facts) -> Decimal:
    """Return the size of this execution: its ``size``, or the growth of the cumulative ``filled_size``."""
    total = facts.number("filled")
    if facts.get("trade_id") is None and total is not None:
        return max(Decimal(), total - life.filled)
    return facts.executed_size


def _is_duplicate(life: OrderLife, step: Step, facts: Facts) -> bool:
    same = [other for other in life.steps if other.step == step.step]
    if step.step in words.EXECUTIONS:
        if step.trade_id:
            return any(other.trade_id == step.trade_id for other in life.steps if other.step in words.EXECUTIONS)
        repeated = facts.number("filled") is not None and step.size == 0
        return bool(same) and (repeated or step.step == words.FILLED)
    if step.step == words.POSITION and step.trade_id:
        return any(other.trade_id == step.trade_id and other.entry.text == step.entry.text for other in same)
    return bool(same) and step.step in (words.PLACED, words.ACKNOWLEDGED, words.CANCELLED, words.REJECTED)


def _describe(life: OrderLife, facts: Facts, step: Step) -> None:
    if facts.entry.expert and facts.entry.expert not in life.experts:
        life.experts.append(facts.entry.expert)
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
    if step.step not in (words.NOTE, words.POSITION):
        life.status = step.step
    if step.size is not None and step.price is not None:
        life.filled += step.size
        life.spent += step.size * step.price
        life.fees += step.fee or Decimal()
        life.side = life.side or facts.side
    pnl = facts.number("pnl")
    if pnl is not None:
        life.pnl = (life.pnl or Decimal()) + pnl
