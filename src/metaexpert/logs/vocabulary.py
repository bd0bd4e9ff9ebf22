"""The field names and words by which entries about orders and trades are understood.

MetaExpert's own entries (`metaexpert.trading.entries`) use the first name of each field; people and exchanges use the
others for the same thing. Upper and lower case are the same, and so are ``_``, ``-`` and a space between words.

The step of an order comes from the field ``status``, otherwise from the words of the message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logs.entry import Entry

PLACED: Final = "placed"
ACKNOWLEDGED: Final = "acknowledged"
PARTIALLY_FILLED: Final = "partially filled"
FILLED: Final = "filled"
CANCELLED: Final = "cancelled"
REJECTED: Final = "rejected"
POSITION: Final = "position"
NOTE: Final = "note"
#: Words of a side: above zero buys, below zero sells.
SIDES: Final[Mapping[int, str]] = {1: "BUY", -1: "SELL"}
#: Steps in which something was executed.
EXECUTIONS: Final = frozenset({PARTIALLY_FILLED, FILLED})

#: Names of a field, the preferred one first.
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "order_id": ("order_id", "orderid"),
    "client_order_id": ("client_order_id", "clientorderid", "client_oid", "clordid", "cl_ord_id"),
    "trade_id": ("trade_id", "tradeid", "exec_id", "execution_id", "fill_id"),
    "symbol": ("symbol", "instrument", "pair", "market"),
    "side": ("side", "direction"),
    "type": ("order_type", "type"),
    "status": ("status", "order_status"),
    "size": ("size", "quantity", "qty", "amount"),
    "order_size": ("order_size", "orig_qty", "order_qty"),
    "filled": ("filled_size", "filled", "filled_qty", "executed_qty", "cum_qty", "cumulative_size"),
    "price": ("price", "fill_price", "avg_price", "average_price", "average", "last_price"),
    "requested": ("requested_price", "expected_price", "limit_price", "signal_price"),
    "fee": ("fee", "commission", "fees"),
    "pnl": ("pnl", "realized_pnl", "realised_pnl"),
    "reason": ("reason", "reject_reason", "error"),
    "position_size": ("position_size", "position"),
    "entry_price": ("entry_price",),
}
_STATUS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("submitted", "placed", "sent", "created", "pending", "pending new", "initialized"), PLACED),
    **dict.fromkeys(("accepted", "acknowledged", "ack", "open", "live", "new", "working", "active"), ACKNOWLEDGED),
    **dict.fromkeys(("partially filled", "partial", "partial fill", "partial filled", "partially"), PARTIALLY_FILLED),
    **dict.fromkeys(("filled", "executed", "closed", "done", "complete", "completed"), FILLED),
    **dict.fromkeys(("cancelled", "canceled", "expired", "pending cancel", "cancel"), CANCELLED),
    **dict.fromkeys(("rejected", "refused", "failed", "error", "denied"), REJECTED),
}
#: In this order: "partially filled" before "filled".
_WORDS: Final = (
    (re.compile(r"\bposition\b", re.I), POSITION),
    (re.compile(r"\bpartial", re.I), PARTIALLY_FILLED),
    (re.compile(r"\b(reject|refus|fail|denied)", re.I), REJECTED),
    (re.compile(r"\b(cancel|expired)", re.I), CANCELLED),
    (re.compile(r"\b(filled|fill|executed)\b", re.I), FILLED),
    (re.compile(r"\b(accepted|acknowledged|ack|open(ed)?|working)\b", re.I), ACKNOWLEDGED),
    (re.compile(r"\b(plac|submit|sent\b|sending\b|creat)", re.I), PLACED),
)
_CLOSING: Final = re.compile(r"\b(clos|reduc|exit)", re.I)
_ONLY_ORDERS: Final = re.compile(r"\border\b", re.I)


class Facts:
    """An entry read by our names of the fields.

    Args:
        entry: The entry.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self._fields = {_folded(name): value for name, value in entry.flat.items() if value is not None}

    def get(self, name: str) -> Any:
        """Return the value of a field of `FIELDS` under any of its names; None when the entry has none."""
        fields = self._fields
        for folded in _NAMES[name]:
            if folded in fields:
                return fields[folded]
        return None

    def text(self, name: str) -> str:
        """Return a field as text; empty when there is none."""
        value = self.get(name)
        return "" if value is None else str(value)

    def number(self, name: str) -> Decimal | None:
        """Return a field as an exact number; None when there is no finite one."""
        return number(self.get(name))

    @property
    def side(self) -> int:
        """1 for buying (long), -1 for selling (short), 0 when unknown."""
        word = self.text("side").lower()
        return 1 if word in ("buy", "long", "bid", "b") else -1 if word in ("sell", "short", "ask", "s") else 0

    @property
    def step(self) -> str:
        """The step of an order, `POSITION` for a change of a position, `NOTE` for anything else."""
        if self.get("position_size") is not None or _WORDS[0][0].search(self.entry.text):
            return POSITION
        status = re.sub(r"[\W_]+", " ", self.text("status")).strip().lower()
        if status in _STATUS:
            return _STATUS[status]
        executed = self.get("trade_id") is not None and self.get("price") is not None
        if executed or _ONLY_ORDERS.search(self.entry.text) or self.entry.get("msgid") == schema.MSGID_TRADE:
            found = next((step for words, step in _WORDS if words.search(self.entry.text)), None)
            return found or (FILLED if executed else NOTE)
        return NOTE

    @property
    def is_execution(self) -> bool:
        """Whether something was bought or sold, of a known size at a known price."""
        known = self.number("price") is not None and self._executed_size is not None
        # "Position opened", side=BUY, size=0.1, price=70000: the only entry about the trade.
        opened = self.step == POSITION and self.get("position_size") is None and self.side != 0
        return known and (self.step in EXECUTIONS or opened)

    @property
    def executed_side(self) -> int:
        """1 for bought, -1 for sold. Closing a LONG position is selling."""
        closing = self.step == POSITION and _CLOSING.search(self.entry.text) is not None
        return -self.side if closing and self.text("side").lower() in ("long", "short") else self.side

    @property
    def _executed_size(self) -> Decimal | None:
        return self.number("size") if self.get("size") is not None else self.number("filled")

    @property
    def executed_size(self) -> Decimal:
        """Size that was executed, if it `is_execution`."""
        return abs(self._executed_size or Decimal())


def plain(number: Decimal | None) -> str:
    """Return *number* without exponent and without needless zeros, to 12 places; empty for None."""
    if number is None:
        return ""
    text = f"{round(number, 12) + 0:f}"  # adding 0 makes minus zero plain zero
    return text.rstrip("0").rstrip(".") if "." in text else text


def number(value: Any) -> Decimal | None:
    """Return *value* as an exact number; None when it is not a finite one."""
    if value is None or isinstance(value, bool):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


@lru_cache(maxsize=4096)
def _folded(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


#: `FIELDS`, folded.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {name: tuple(map(_folded, names)) for name, names in FIELDS.items()}
