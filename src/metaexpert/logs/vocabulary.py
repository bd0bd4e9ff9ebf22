"""The field names and words by which entries about orders and trades are understood.

MetaExpert's own entries (`metaexpert.trading.entries`) use the first name of each field; people and exchanges use the
others for the same thing. Upper and lower case are the same, and so are ``_``, ``-`` and a space between words.

The step of an order comes from the field ``status``, otherwise from the words of the message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Context, Decimal, InvalidOperation
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
    "average": ("avg_price", "average_price", "average"),
    "quote": ("cummulative_quote_qty", "cumulative_quote_qty", "cum_quote", "cost"),
    "requested": ("requested_price", "expected_price", "limit_price", "signal_price"),
    "fee": schema.FEE_NAMES,
    "fee_currency": ("fee_currency", "fee_asset", "fee_ccy", "fee_coin", "commission_asset", "commission_currency"),
    "pnl": ("pnl", "realized_pnl", "realised_pnl"),
    "reason": ("reason", "reject_reason", "error"),
    "position_size": ("position_size", "position"),
    "entry_price": ("entry_price",),
}
#: By words without marks between them: Bybit writes PartiallyFilled, others partially_filled.
_STATUS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("submitted", "placed", "sent", "created", "pending", "pendingnew", "initialized"), PLACED),
    **dict.fromkeys(("presubmitted", "pendingsubmit"), PLACED),
    **dict.fromkeys(("accepted", "acknowledged", "ack", "open", "live", "new", "working", "active"), ACKNOWLEDGED),
    **dict.fromkeys(("triggered", "untriggered"), ACKNOWLEDGED),
    **dict.fromkeys(("partiallyfilled", "partial", "partialfill", "partialfilled", "partially"), PARTIALLY_FILLED),
    **dict.fromkeys(("filled", "executed", "closed", "done", "complete", "completed"), FILLED),
    **dict.fromkeys(("cancelled", "canceled", "expired", "expiredinmatch", "cancel", "deactivated"), CANCELLED),
    **dict.fromkeys(("apicancelled", "partiallyfilledcanceled", "partiallyfilledcancelled"), CANCELLED),
    **dict.fromkeys(("rejected", "refused", "failed", "error", "denied"), REJECTED),
    # It may still be executed.
    **dict.fromkeys(("pendingcancel", "cancelling", "canceling", "pendingreplace", "pendingamend"), NOTE),
}
#: Such a status may be that of a position.
_OF_POSITIONS: Final = frozenset({"open", "closed", "new", "live", "active", "done", "complete", "completed"})
_POSITION: Final = re.compile(r"\bposition\b", re.I)
#: What changes a position.
_CHANGES: Final = re.compile(r"\b(open|clos|enter|exit|increas|reduc|revers|flip|add|scal|liquidat)", re.I)
_REFUSED: Final = re.compile(r"\b(reject|refus|fail|denied)", re.I)
#: In this order: "partially filled" before "filled".
_WORDS: Final = (
    (re.compile(r"\bpartial", re.I), PARTIALLY_FILLED),
    (_REFUSED, REJECTED),
    (re.compile(r"\b(cancell?ed|expired)\b|\bcancel\w*\b.*\b(confirmed|accepted|done|succe)", re.I), CANCELLED),
    (re.compile(r"\b(filled|fill(?![ -]+or[ -]+kill)|executed)\b", re.I), FILLED),
    (re.compile(r"\b(accepted|acknowledged|ack|open(ed)?|working)\b", re.I), ACKNOWLEDGED),
    (re.compile(r"\b(plac|submit|sent\b|sending\b|creat)", re.I), PLACED),
)
#: Before such a word: what it tells of has not happened, or not yet.
_NOT_YET: Final = re.compile(
    r"\b(not|never|no|will|would|should|could|may|might|must|cannot|can't|won't|unless|until|till|if|when|waiting"
    r"|to be)(\s+\w+){0,2}[\s-]+$",
    re.I,
)
#: If such a request is sent or fails, the order stays as it is. Not so in an order to fill immediately or cancel.
_REQUEST: Final = re.compile(r"(?<!\bor[ -])\b(cancel|cancellation|amend|modify|modification|replace|edit)\b", re.I)
_FAILED_TO: Final = re.compile(r"\b(?:fail|refus)\w* to (?:cancel|amend|modify|replace|edit)\b", re.I)
_CLOSING: Final = re.compile(r"\b(clos|reduc|exit)", re.I)
_ONLY_ORDERS: Final = re.compile(r"\border\b", re.I)


class Facts:
    """An entry read by our names of the fields.

    Args:
        entry: The entry.
        part: The part of it that is meant, such as an exchange's answer; the entry's own fields come first.

    Attributes:
        step: The step of an order, `POSITION` for a change of a position, `NOTE` for anything else.
        is_execution: Whether something was bought or sold, of a known size at a known price.
    """

    __slots__ = ("_fees", "_known", "_numbers", "_price", "entry", "is_execution", "step")

    def __init__(self, entry: Entry, part: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.entry = entry
        fields = {**part, **entry.fields} if part else entry.fields
        self._known = _form(tuple(fields)).read(fields)
        self._numbers: dict[str, Decimal | None] = {}
        self._fees: tuple[tuple[str, Decimal], ...] | None = None
        self._price: tuple[Decimal | None] | None = None
        # Every question asks for these first, and several times.
        self.step = self._told_step()
        self.is_execution = self._is_executed()

    def get(self, name: str) -> Any:
        """Return the value of a field of `FIELDS` under any of its names; None when the entry has none."""
        return self._known.get(name)

    def text(self, name: str) -> str:
        """Return a field as text; empty when there is none."""
        value = self._known.get(name)
        return "" if value is None else str(value)

    def number(self, name: str) -> Decimal | None:
        """Return a field as an exact number; None when there is no finite one."""
        numbers = self._numbers
        if name in numbers:
            return numbers[name]
        value = self._known.get(name)
        if value is None:
            return None
        found = numbers[name] = number(value)
        return found

    @property
    def fees(self) -> tuple[tuple[str, Decimal], ...]:
        """The fees, each with its currency; an empty one where the entry names none (it is the quote currency)."""
        if self._fees is None:
            value = self._known.get("fee")
            self._fees = () if value is None else tuple(_fees(value, self.text("fee_currency")))
        return self._fees

    @property
    def side(self) -> int:
        """1 for buying (long), -1 for selling (short), 0 when unknown."""
        return _SIDE.get(self.text("side").lower(), 0)

    @property
    def has_status(self) -> bool:
        """Whether a field, not the message, says which step it is."""
        return folded_name(self.text("status")) in _STATUS

    def _told_step(self) -> str:
        known, data = self._known, self.entry.data
        executed = known.get("trade_id") is not None and known.get("price") is not None
        trade = executed or data.get("msgid") == schema.MSGID_TRADE
        moved = known.get("position_size") is not None
        step = _step(data["message"], self.text("status"), executed=executed, trade=trade, moved=moved)
        return PARTIALLY_FILLED if step == ACKNOWLEDGED and self.number("filled") else step

    def _is_executed(self) -> bool:
        known = self.step in EXECUTIONS or self._is_change or self._is_rest  # before the numbers, which take longer
        return known and self._executed_size is not None and self.price is not None

    @property
    def _is_change(self) -> bool:
        """Whether it is "Position opened", side=BUY, size=0.1, price=70000: the only entry about the trade."""
        if self.step != POSITION or self._known.get("position_size") is not None or not self.side:
            return False
        text = self.entry.text
        return _happened(_CHANGES, text) and _REFUSED.search(text) is None

    @property
    def _is_rest(self) -> bool:
        """Whether it is the end of an order that also tells how much of it was executed."""
        return self.step == CANCELLED and self._known.get("trade_id") is None and bool(self.number("filled"))

    @property
    def price(self) -> Decimal | None:
        """Price of an execution; where the entry tells how much was executed so far, rather the average of that."""
        if self._price is None:
            self._price = (self._paid(),)
        return self._price[0]

    def _paid(self) -> Decimal | None:
        total = self.number("filled") if self._known.get("trade_id") is None else None
        first, second = ("price", "average") if total is None else ("average", "price")
        if found := self.number(first) or self.number(second):
            return found
        size, quote = total or self._executed_size, self.number("quote")
        return quote / size if size and quote else self.number("price")

    def growth(self, filled: Decimal, *, done: bool = False) -> Decimal:
        """Return how much this execution adds to what was executed of its order; nothing if it tells that again.

        Args:
            filled: What was executed so far.
            done: Whether an entry has told already that all is.
        """
        total, named = self.number("filled"), self._known.get("trade_id") is not None
        if self.step == POSITION:
            return Decimal() if filled else self.executed_size
        if total is not None and not named:
            return max(Decimal(), total - filled)
        return Decimal() if done and self.step == FILLED and not named else self.executed_size

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
def _step(text: str, status: str, *, executed: bool, trade: bool, moved: bool) -> str:
    word = folded_name(status)
    told, about_order = _STATUS.get(word), _ONLY_ORDERS.search(text) is not None
    position = _POSITION.search(text)
    of_position = position is not None and (not position.start() or not about_order)
    if (of_position or moved) and (told is None or word in _OF_POSITIONS):
        found = _told_by(text) if trade and not of_position and told is None else None
        return found if found in EXECUTIONS else POSITION
    if told is not None:
        return NOTE if told == REJECTED and _is_of_request(text) else told
    if not trade and not about_order:
        return NOTE
    found = _told_by(text)
    if found in (REJECTED, PLACED) and _REQUEST.search(text):
        return NOTE
    return found or (FILLED if executed else NOTE)


def _is_of_request(text: str) -> bool:
    """Return whether what was refused is the request to change an order, not the order."""
    refused = _REFUSED.search(text)
    before = len(text) if refused is None else refused.start()
    return _REQUEST.search(text, 0, before) is not None or _FAILED_TO.search(text) is not None


def _told_by(text: str) -> str | None:
    """Return the step that the words of a message tell; None if they tell none."""
    return next((step for words, step in _WORDS if _happened(words, text)), None)


def _happened(words: re.Pattern[str], text: str) -> bool:
    """Return whether a text has one of some words without `_NOT_YET` before it."""
    return any(_NOT_YET.search(text, 0, found.start()) is None for found in words.finditer(text))


def _fees(value: Any, currency: str) -> Iterator[tuple[str, Decimal]]:
    """Yield the fees in the value of a field: an amount, an object of ccxt, a list of such, or amounts by currency."""
    if isinstance(value, list):
        for item in value:
            yield from _fees(item, currency)
    elif isinstance(value, dict):
        if (cost := number(value.get("cost", value.get("amount", value.get("qty"))))) is not None:
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


@lru_cache(maxsize=1024)
def is_inverse(symbol: str) -> bool:
    """Return whether a contract is settled in its base currency (``BTC/USD:BTC``): its size is in the other one."""
    pair, _, settled = symbol.upper().partition(":")
    return bool(settled) and re.split(r"[/\-_]", pair)[0] == re.sub(r"\W.*", "", settled)


def plain(number: Decimal | None) -> str:
    """Return *number* without exponent and without needless zeros; empty for None.

    It is exact to 18 decimal places, as amounts are. A quotient, which has more, is rounded to 12, and a small one to
    12 digits.
    """
    if not number:
        return "" if number is None else "0"
    if int(number.as_tuple().exponent) < -_MOST_PLACES:
        size = number.adjusted()
        number = _rounded(number, _PLACES if size >= -_SMALL else _PLACES - 1 - size)
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _rounded(number: Decimal, places: int) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-places), context=_EXACT)


def number(value: Any) -> Decimal | None:
    """Return *value* as an exact number; None when it is not a finite one."""
    if value is None or value is True or value is False:
        return None
    try:
        found = Decimal(value if value.__class__ is str else str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


#: Decimal places of exact amounts, and of quotients; below ten to the minus this power those have as many digits.
_MOST_PLACES, _PLACES, _SMALL = 18, 12, 6
#: Rounds without an error, whatever the size.
_EXACT: Final = Context(prec=200)
#: `FIELDS`, folded: two names may be one then.
_NAMES: Final = {field: tuple(dict.fromkeys(map(folded_name, names))) for field, names in FIELDS.items()}


def money(number: Decimal | None, *, sign: bool = False) -> str:
    """Return an amount for people; empty when there is none."""
    if number is None:
        return ""
    # Prices of some coins begin after ten zeros.
    text = plain(_rounded(number, max(8, _PLACES - 8 - number.adjusted()) if number else 0))
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
    plural = f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
