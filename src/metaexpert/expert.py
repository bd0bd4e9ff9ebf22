"""`MetaExpert`: a strategy's host. It logs, calls the strategy's functions and executes its orders on paper."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncIterable, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, get_args

from pydantic import SecretStr

from metaexpert.logger import LoggerConfig, MetaLogger
from metaexpert.logger.masking.registered import add_secret
from metaexpert.trading import entries
from metaexpert.trading.bars import PathLike, check_bars, read_bars
from metaexpert.trading.events import Events
from metaexpert.trading.orders import Order, Position, Side
from metaexpert.trading.paper import Ids, Number, PaperBroker, PaperConfig
from metaexpert.trading.session import Bars, RunResult, Session

if TYPE_CHECKING:
    from metaexpert.logger import BoundLogger

Mode = Literal["backtest", "paper"]
_BY_STRATEGY: Final = "cancelled by the strategy"


class MetaExpert(Events):
    """One trading expert: its logger, its events, its paper account.

        expert = MetaExpert("binance", symbol="BTCUSDT", log_level="INFO")

        @expert.on_bar
        def trade(bar):
            if bar.close > bar.open:
                expert.buy(0.1)

        expert.run("bars.csv")

    Several experts may live in one process, each with its own log, and run at once in threads or tasks; nothing
    is shared between them. One expert belongs to the thread (or event loop) that runs it; only `stop` and
    `logger` may be used from elsewhere. As a context manager it closes its logger at the end.

    The events are described in `metaexpert.trading.events.Events`, the rules by which orders are filled in
    `metaexpert.trading.paper`.
    """

    def __init__(
        self,
        exchange: str,
        *,
        api_key: str | SecretStr | None = None,
        api_secret: str | SecretStr | None = None,
        api_passphrase: str | SecretStr | None = None,
        symbol: str | None = None,
        strategy_id: str | int | None = None,
        account_id: str | int | None = None,
        expert_name: str | None = None,
        data: PathLike | Bars | None = None,
        paper: PaperConfig | None = None,
        id_prefix: str = "",
        log_level: str | int | None = None,
        log_file: str | None = None,
        log_trade_file: str | None = None,
        log_error_file: str | None = None,
        log_to_file: bool | None = None,
        log_to_console: bool | None = None,
        json_logging: bool | None = None,
        async_logging: bool | None = None,
        **options: Any,
    ) -> None:
        """Check everything, then open the expert's logger.

        Settings of the logger that are left out (or None) come from the environment, ``.env``, ``pyproject.toml`` or
        the default, in this order.

        Args:
            exchange: Name of the exchange. Any name is valid: nothing is connected.
            api_key: Credential, kept as a SecretStr; it is in no repr, log entry or error.
            api_secret: As api_key.
            api_passphrase: As api_key.
            symbol: Traded symbol; on every log entry, as are the next two.
            strategy_id: Your number of the strategy.
            account_id: Your number of the account.
            expert_name: Name on every log entry. When no source gives one, it is the name of the file in
                which the expert is made, without ``.py``.
            data: Bars for a `run` that is called without any: a CSV file or bars.
            paper: Cash, fees, slippage of the paper account; `PaperConfig()` when left out.
            id_prefix: Prefix of order and trade ids, to distinguish experts in one directory: with
                ``"ema-"`` they are ``ema-ord-1``, ``ema-trd-1`` …
            log_level: Lowest level in expert.log.
            log_file: Name of the main file.
            log_trade_file: Name of the trade file; ``trade_log_file`` means the same.
            log_error_file: Name of the error file; ``error_log_file`` means the same.
            log_to_file: Write the files.
            log_to_console: Print entries.
            json_logging: Print them as JSON.
            async_logging: Write on a thread.
            **options: Any other field of `LoggerConfig`, and ``install`` of `MetaLogger`.

        Raises:
            ConfigurationError: for a wrong setting of the logger, naming field, value and source.
            TypeError: for a credential that is not a string, for wrong data, or a wrong paper account.
        """
        super().__init__()
        _check_data(data)
        if not isinstance(paper, PaperConfig | None):
            raise TypeError(f"paper must be a PaperConfig, not {type(paper).__name__}")
        self.exchange = exchange
        self.symbol = symbol
        self.data = data
        self._paper = paper or PaperConfig()
        self._ids = Ids(id_prefix)
        self._broker = PaperBroker(self._paper, symbol, self._ids, lambda _: None)  # until the first run makes another
        #: The run in progress.
        self._session: Session | None = None
        self._closed = False
        self._credentials = _secrets(api_key=api_key, api_secret=api_secret, api_passphrase=api_passphrase)
        settings = _given(
            expert_name=expert_name,
            log_level=log_level,
            log_file=log_file,
            log_trade_file=log_trade_file,
            log_error_file=log_error_file,
            log_to_file=log_to_file,
            log_to_console=log_to_console,
            json_logging=json_logging,
            async_logging=async_logging,
        )
        self._install = options.pop("install", None)
        self._context = _given(symbol=symbol, strategy_id=strategy_id, account_id=account_id)
        self._opening = threading.Lock()
        self._logger: BoundLogger | None = None
        #: The valid configuration of the logger.
        self.config = self._configured({**settings, **options})

    def _configured(self, settings: dict[str, Any]) -> LoggerConfig:
        config = LoggerConfig(**settings)
        file_name = _strategy_file(inspect.currentframe())
        if file_name and config.sources()["expert_name"].source == "default":
            config = config.replace(expert_name=file_name)
        return config

    @property
    def logger(self) -> BoundLogger:
        """The expert's logger, opened at its first use: an expert that is refused leaves no files."""
        with self._opening:
            if self._logger is None:
                self._logger = MetaLogger(self.config, install=self._install, **self._context)
            return self._logger

    @property
    def has_logged(self) -> bool:
        """Whether its logger is open; after that a change of `config` has no effect."""
        return self._logger is not None

    @property
    def bars(self) -> int:
        """How many bars the run in progress has played; 0 outside a run."""
        return self._session.bars if self._session is not None else 0

    @property
    def name(self) -> str:
        """The expert's name, as on its log entries."""
        return self.config.expert_name

    @property
    def position(self) -> Position:
        """The current position; after a run, the one at its end."""
        return self._broker.position

    @property
    def equity(self) -> float:
        """Cash plus the value of the position at the last close, in the quote currency."""
        return self._broker.equity

    @property
    def balance(self) -> float:
        """Cash: starting equity plus the result of closed trades, less all fees."""
        return self._broker.balance

    @property
    def open_orders(self) -> tuple[Order, ...]:
        """The orders that may still be filled, in the order of submission."""
        return self._broker.open_orders

    def order(self, order_id: str) -> Order:
        """Return an order of this run as it stands; LookupError when there is none of that id."""
        return self._broker.order(order_id)

    def buy(self, size: Number, price: Number | None = None, *, reduce_only: bool = False) -> Order:
        """Submit an order to buy and return it, accepted or rejected (then `Order.reason` says why).

        Args:
            size: Units to buy, above zero.
            price: The limit; None for a market order.
            reduce_only: Close a short position at most, never open a long one.

        Raises:
            RuntimeError: outside a run, or after a thousand orders on one bar.
            TypeError: when size or price is not a number.
        """
        return self._account().submit(Side.BUY, size, price, reduce_only=reduce_only)

    def sell(self, size: Number, price: Number | None = None, *, reduce_only: bool = False) -> Order:
        """Submit an order to sell; otherwise as `buy`."""
        return self._account().submit(Side.SELL, size, price, reduce_only=reduce_only)

    def close_position(self, price: Number | None = None) -> Order | None:
        """Submit a reduce-only order over the whole position; None when there is no position."""
        account = self._account()
        held = account.position.size
        if held == 0:
            return None
        return account.submit(Side.SELL if held > 0 else Side.BUY, abs(held), price, reduce_only=True)

    def cancel(self, order_id: str) -> Order:
        """Cancel an open order and return it. One that is final already is returned as it is, with a warning.

        Raises:
            LookupError: when there is no such order.
            RuntimeError: outside a run.
        """
        account = self._account()
        before = account.order(order_id)
        if not before.is_open:
            self.logger.trade.warning(
                entries.CANCEL_REFUSED,
                order_id=order_id,
                status=before.status.value,
                reason="the order is final already",
            )
        return account.cancel(order_id, _BY_STRATEGY)

    def stop(self, reason: str = "stopped by the strategy") -> None:
        """End the run after the current event. Without a run, do nothing. May be called from any thread."""
        if self._session is not None:
            self._session.stop(reason)

    def run(self, data: PathLike | Bars | None = None, *, mode: Mode = "backtest") -> RunResult:
        """Run the expert over bars, with a fresh paper account, until they end; return its own record.

        When it returns, all entries are in the files. The logger stays open until `close`.

        Args:
            data: A CSV file (see `metaexpert.trading.bars`), read bar by bar after it was checked as a whole;
                or bars from anywhere, also asynchronous; the expert's own ``data`` when left out.
            mode: ``backtest``, or ``paper`` for bars that arrive while time passes. Orders are filled by the
                same rules; the log and the result say which it was.

        Raises:
            BarError: for a file with a wrong row, before anything has begun; or for a wrong bar on the way.
            ValueError: without data, or for an unknown mode.
            TypeError: for data that is neither a file nor bars.
            RuntimeError: when it runs already, is closed, or an event loop runs here (await `arun` there).
            Exception: any exception of the source of the bars; on_deinit has run and the log is complete.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise RuntimeError("run() cannot work inside a running event loop; use `await expert.arun(...)`")
        return asyncio.run(self.arun(data, mode=mode))

    async def arun(self, data: PathLike | Bars | None = None, *, mode: Mode = "backtest") -> RunResult:
        """Do what `run` does, as a coroutine. It lets other tasks in after each bar."""
        bars, described = self._source(data, mode)
        session = Session(self.name, mode, self, self.logger)
        broker = PaperBroker(self._paper, self.symbol, self._ids, session.record)
        self._session, self._broker = session, broker
        try:
            return await session.run(
                broker,
                bars,
                exchange=self.exchange,
                **described,
                starting_equity=self._paper.starting_equity,
                fee_bps=self._paper.fee_bps,
                slippage_bps=self._paper.slippage_bps,
                spread_bps=self._paper.spread_bps,
            )
        finally:
            self._session = None
            await asyncio.to_thread(self.logger.flush)

    def close(self) -> None:
        """Flush and close the logger. May be called more than once."""
        self._closed = True
        if self._logger is not None:
            self._logger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        traded = f" {self.symbol}" if self.symbol else ""
        return f"<MetaExpert {self.name!r} on {self.exchange!r}{traded}>"

    def _account(self) -> PaperBroker:
        if self._session is None:
            raise RuntimeError("orders are possible only while the expert runs, from its event handlers")
        return self._broker

    def _source(self, data: PathLike | Bars | None, mode: str) -> tuple[Bars, dict[str, Any]]:
        """Check that a run can begin; return its bars and what is to be logged about them."""
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
        if self._closed:
            raise RuntimeError(f"{self!r} is closed")
        if self._session is not None:
            raise RuntimeError(f"{self!r} is running already")
        data = self.data if data is None else data
        if data is None:
            raise ValueError("run() needs data: a CSV file of bars, or bars")
        _check_data(data)
        if isinstance(data, (str, os.PathLike)):
            check_bars(data)
            return read_bars(data), {"data": os.fspath(data)}
        return data, {}


def _check_data(data: object) -> None:
    if not isinstance(data, str | os.PathLike | Iterable | AsyncIterable | None):
        raise TypeError(f"data must be a CSV file or bars, not {type(data).__name__}")


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _secrets(**values: str | SecretStr | None) -> Mapping[str, SecretStr]:
    """Wrap the credentials that were given. All of them pass here, before any of them can reach a log entry."""
    secrets: dict[str, SecretStr] = {}
    for name, value in values.items():
        if isinstance(value, SecretStr):
            secrets[name] = value
        elif isinstance(value, str):
            secrets[name] = SecretStr(value)
        elif value is not None:
            raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    for secret in secrets.values():
        add_secret(secret)  # a secret too short to be masked everywhere is still a SecretStr
    return secrets


def _strategy_file(frame: FrameType | None) -> str | None:
    """Return the stem of the file whose code makes the expert; None in a shell or a notebook."""
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    file = frame.f_globals.get("__file__") if frame is not None else None
    if not isinstance(file, str):
        return None
    path = Path(file)
    return path.parent.name if path.stem in ("__main__", "__init__") else path.stem
