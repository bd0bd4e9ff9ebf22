"""The field names and words by which entries about orders and trades are understood.

MetaExpert's own entries (`metaexpert.trading.entries`) use the first name of each field; people and exchanges use the
others for the same thing. Upper and lower case are the same, and so are ``_``, ``-`` and a space between words.

The step of an order comes from the field ``status``, otherwise from the words of the message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logs.entry import Entry
from metaexpert.logs.runs.names import folded_name

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
_SIDE: Final[Mapping[str, int]] = {
    **dict.fromkeys(("buy", "long", "bid", "b"), 1),
    **dict.fromkeys(("sell", "short", "ask", "s"), -1),
}
#: Steps in which something was executed.
EXECUTIONS: Final = frozenset({PARTIALLY_FILLED, FILLED})

#: Quote currencies by which a symbol without a mark between its parts is divided, the longer ones first.
_QUOTES: Final = (
    *("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDE"),
    *("USD", "EUR", "GBP", "JPY", "CHF", "TRY", "BRL", "AUD", "CAD", "DAI", "BTC", "ETH", "BNB"),
)
#: What may stand in the place of a currency: Hyperliquid's ``SOL-PERP``.
_NO_CURRENCIES: Final = frozenset({"PERP", "PERPETUAL", "SWAP"})
#: Names of a field, the preferred one first.
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "order_id": ("order_id", "orderid"),
    "client_order_id": ("client_order_id", "clientorderid", "client_oid", "clordid", "cl_ord_id"),
    "trade_id": ("trade_id", "tradeid", "exec_id", "execution_id", "fill_id"),
    "symbol": ("symbol", "instrument", "pair", "market"),
    "side": ("side", "direction"),
    "type": ("order_type", "type"),
    "status": ("status", "order_status"),
    "size": schema.SIZE_NAMES,
    "order_size": ("order_size", "orig_qty", "order_qty"),
    "filled": ("filled_size", "filled", "filled_qty", "executed_qty", "cum_qty", "cumulative_size"),
    "price": schema.PRICE_NAMES,
    "requested": ("requested_price", "expected_price", "limit_price", "signal_price"),
    "fee": schema.FEE_NAMES,
    "fee_currency": ("fee_currency", "fee_asset", "fee_ccy", "fee_coin", "commission_asset", "commission_currency"),
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
_POSITION: Final = re.compile(r"\bposition\b", re.I)
#: In this order: "partially filled" before "filled".
_WORDS: Final = (
    (re.compile(r"\bpartial", re.I), PARTIALLY_FILLED),
    (re.compile(r"\b(reject|refus|fail|denied)", re.I), REJECTED),
    (re.compile(r"\b(cancel|expired)", re.I), CANCELLED),
    (re.compile(r"\b(filled|fill|executed)\b", re.I), FILLED),
    (re.compile(r"\b(accepted|acknowledged|ack|open(ed)?|working)\b", re.I), ACKNOWLEDGED),
    (re.compile(r"\b(plac|submit|sent\b|sending\b|creat)", re.I), PLACED),
)
#: If such a request fails, the order stays as it is.
_REQUEST: Final = re.compile(r"\b(cancel|cancellation|amend|modify|modification|replace|edit)\b", re.I)
_CLOSING: Final = re.compile(r"\b(clos|reduc|exit)", re.I)
_ONLY_ORDERS: Final = re.compile(r"\border\b", re.I)


class Facts:
    """An entry read by our names of the fields.

    Args:
        entry: The entry.
        part: The part of it that is meant, such as an exchange's answer; the entry's own fields come first.
    """

    __slots__ = ("_executed", "_known", "_numbers", "_step", "entry")

    def __init__(self, entry: Entry, part: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.entry = entry
        fields = {**part, **entry.fields} if part else entry.fields
        self._known = _form(tuple(fields)).read(fields)
        self._numbers: dict[str, Decimal | None] = {}
        self._step = ""
        self._executed: bool | None = None

    def get(self, name: str) -> Any:
        """Return the value of a field of `FIELDS` under any of its names; None when the entry has none."""
        return self._known.get(name)

    def text(self, name: str) -> str:
        """Return a field as text; empty when there is none."""
        value = self._known.get(name)
        return "" if value is None else str(value)

    def number(self, name: str) -> Decimal | None:
        """Return a field as an exact number; None when there is no finite one."""
        if name not in self._known:
            return None
        if name not in self._numbers:
            self._numbers[name] = number(self._known[name])
        return self._numbers[name]

    @property
    def fees(self) -> tuple[tuple[str, Decimal], ...]:
        """The fees, each with its currency; an empty one where the entry names none (it is the quote currency)."""
        value = self._known.get("fee")
        return () if value is None else tuple(_fees(value, self.text("fee_currency")))

    @property
    def side(self) -> int:
        """1 for buying (long), -1 for selling (short), 0 when unknown."""
        return _SIDE.get(self.text("side").lower(), 0)

    @property
    def has_status(self) -> bool:
        """Whether a field, not the message, says which step it is."""
        return _spaced(self.text("status")) in _STATUS

    @property
    def step(self) -> str:
        """The step of an order, `POSITION` for a change of a position, `NOTE` for anything else."""
        if not self._step:
            known = self._known
            executed = known.get("trade_id") is not None and known.get("price") is not None
            trade = executed or self.entry.data.get("msgid") == schema.MSGID_TRADE
            moved = known.get("position_size") is not None
            text = self.entry.text
            self._step = POSITION if moved else _step(text, self.text("status"), executed=executed, trade=trade)
        return self._step

    @property
    def is_execution(self) -> bool:
        """Whether something was bought or sold, of a known size at a known price."""
        if self._executed is None:
            # "Position opened", side=BUY, size=0.1, price=70000: the only entry about the trade.
            opened = self.step == POSITION and self._known.get("position_size") is None and self.side != 0
            known = opened or self.step in EXECUTIONS  # before the numbers, which take longer
            self._executed = known and self.number("price") is not None and self._executed_size is not None
        return self._executed

    @property
    def executed_side(self) -> int:
        """1 for bought, -1 for sold. Closing a LONG position is selling."""
        closing = self.step == POSITION and _CLOSING.search(self.entry.text) is not None
        return -self.side if closing and self.text("side").lower() in ("long", "short") else self.side

    @property
    def _executed_size(self) -> Decimal | None:
        return self.number("size" if self._known.get("size") is not None else "filled")

    @property
    def executed_size(self) -> Decimal:
        """Size that was executed, if it `is_execution`."""
        return abs(self._executed_size or Decimal())


class _Form:
    """Where the fields of `FIELDS` stand in entries with the same names.

    Args:
        names: The names of all fields of such an entry.
    """

    __slots__ = ("_places", "_plain", "_values")

    def __init__(self, names: tuple[str, ...]) -> None:
        spelled: dict[str, list[str]] = {}
        for name in reversed(names):  # of several spellings of one name the last counts
            spelled.setdefault(folded_name(name), []).append(name)
        places = {field: [one for name in known for one in spelled.get(name, ())] for field, known in _NAMES.items()}
        self._places = {field: place for field, place in places.items() if place}
        #: Fields that may stand in one place only, and what takes the values from there.
        self._plain = [field for field, place in self._places.items() if len(place) == 1]
        wanted = [self._places.pop(field)[0] for field in self._plain]
        self._values = itemgetter(*wanted) if len(wanted) > 1 else lambda fields: [fields[name] for name in wanted]

    def read(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values by our names; of several places the first one with a value counts."""
        found = dict(zip(self._plain, self._values(fields), strict=True))
        for field, places in self._places.items():
            found[field] = next((value for place in places if (value := fields[place]) is not None), None)
        return found


@lru_cache(maxsize=1024)
def _form(names: tuple[str, ...]) -> _Form:
    return _Form(names)


@lru_cache(maxsize=4096)  # messages repeat
def _step(text: str, status: str, *, executed: bool, trade: bool) -> str:
    if _POSITION.search(text) is not None:
        return POSITION
    if (told := _STATUS.get(_spaced(status))) is not None:
        return told
    if not trade and _ONLY_ORDERS.search(text) is None:
        return NOTE
    found = next((step for words, step in _WORDS if words.search(text) is not None), None)
    if found == REJECTED and _REQUEST.search(text):
        return NOTE
    return found or (FILLED if executed else NOTE)


@lru_cache(maxsize=1024)
def _spaced(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text).strip().lower()


def _fees(value: Any, currency: str) -> Iterator[tuple[str, Decimal]]:
    """Yield the fees in the value of a field: an amount, an object of ccxt, a list of such, or amounts by currency."""
    if isinstance(value, list):
        for item in value:
            yield from _fees(item, currency)
    elif isinstance(value, dict):
        if (cost := number(value.get("cost", value.get("amount")))) is not None:
            yield str(value.get("currency") or value.get("asset") or currency).upper(), cost
        else:
            yield from ((str(name).upper(), cost) for name, one in value.items() if (cost := number(one)) is not None)
    elif (cost := number(value)) is not None:
        yield currency.upper(), cost


class Amounts(dict[str, Decimal]):
    """Sums of money by currency; an empty name stands for the quote currency where no entry names it."""

    def add(self, amounts: Iterable[tuple[str, Decimal]], quote: str = "") -> None:
        """Add *amounts*, each to the sum of its currency; those without one to the *quote* currency, if it occurs."""
        for currency, amount in amounts:
            self[currency] = self[currency] + amount if currency in self else amount
        if quote and quote in self and "" in self:
            self[quote] += self.pop("")

    @property
    def single(self) -> Decimal | None:
        """The sum, if all is in one currency; zero for nothing, None for several."""
        return next(iter(self.values()), Decimal()) if len(self) < 2 else None

    def as_dict(self) -> dict[str, str]:
        """Return the sums as exact text."""
        return {currency: plain(amount) for currency, amount in self.items()}


@lru_cache(maxsize=1024)
def currency_of(symbol: str) -> str:
    """Return the currency in which a result in *symbol* is booked: its settlement or quote currency; empty if unknown.

    Understands ``BTC/USDT``, ``BTC/USD:BTC``, ``BTC-USDT-SWAP``, ``BTC_USDT`` and ``BTCUSDT``.
    """
    pair, _, settled = symbol.upper().partition(":")
    parts = re.split(r"[/\-_]", pair)
    if len(parts) > 1:
        return re.sub(r"\W.*", "", settled) or ("" if parts[1] in _NO_CURRENCIES else parts[1])
    return next((quote for quote in _QUOTES if pair.endswith(quote) and pair != quote), "")


def plain(number: Decimal | None) -> str:
    """Return *number* without exponent and without needless zeros, to 12 places; empty for None."""
    if number is None:
        return ""
    text = f"{round(number, 12) + 0:f}"  # adding 0 makes minus zero plain zero
    return text.rstrip("0").rstrip(".") if "." in text else text


def number(value: Any) -> Decimal | None:
    """Return *value* as an exact number; None when it is not a finite one."""
    if value is None or value is True or value is False:
        return None
    try:
        found = Decimal(value if value.__class__ is str else str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


#: `FIELDS`, folded: two names may be one then.
_NAMES: Final = {field: tuple(dict.fromkeys(map(folded_name, names))) for field, names in FIELDS.items()}


def money(number: Decimal | None, *, sign: bool = False) -> str:
    """Return an amount for people; empty when there is none."""
    if number is None:
        return ""
    text = plain(number.quantize(Decimal(1).scaleb(-8)) if abs(number) < 10**15 else number)
    return f"+{text}" if sign and number > 0 else text


def amounts(sums: Amounts) -> str:
    """Return sums of money for people, one figure for each currency."""
    return " + ".join(f"{money(amount)} {currency}".rstrip() for currency, amount in sums.items())


def seconds(span: float | None) -> str:
    """Return a span of time for people, with a sign."""
    if span is None:
        return ""
    size = abs(span)
    text = f"{size * 1000:.1f} ms" if size < 1 else f"{size:.3f} s" if size < 120 else f"{size / 60:.1f} min"
    if size >= 7200:
        text = f"{size / 3600:.1f} h"
    return ("-" if span < 0 else "+") + text


def counted(count: int, noun: str) -> str:
    """Return *count* with its *noun*, in the plural unless it is one."""
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
