"""A log call does a bounded amount of work, whatever it is given, and one large value costs no other field."""

from __future__ import annotations

import gc
import json
import logging
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest

from metaexpert.logger import BoundLogger, MetaLogger, get_logger
from metaexpert.logger.capture.handlers import StdlibHandler

Read = Callable[..., list[dict[str, Any]]]


class Frame:
    """Stands for a data frame: it has no truth value, and compares by element."""

    def __bool__(self) -> bool:
        raise ValueError("The truth value of a DataFrame is ambiguous")

    def __eq__(self, other: object) -> Any:
        return Frame()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "   a\n0  1"


@pytest.fixture
def logger() -> BoundLogger:
    """A logger that writes synchronously and prints nothing."""
    return MetaLogger(log_to_console=False, async_logging=False)


class TestValuesWithoutATruthValue:
    @pytest.mark.parametrize("name", ["exc_info", "stack_info"])
    def test_as_a_flag(self, logger: BoundLogger, read_log: Read, name: str) -> None:
        """A data frame given as exc_info or stack_info is kept as a field, and so are all others."""
        logger.warning("x", **{name: Frame()}, order_id="o-1")
        (entry,) = read_log("logs/expert.log")
        assert (entry[f"field_{name}"], entry["order_id"]) == ("   a\n0  1", "o-1")
        assert logger.health == "ok"
        assert logger.stats()["failed"] == 0

    def test_as_a_flag_while_an_exception_is_handled(self, logger: BoundLogger, read_log: Read) -> None:
        """The exception is logged, as with any other value that is not False."""
        try:
            raise ValueError("here")
        except ValueError:
            logger.error("x", exc_info=Frame())
            logger.error("y", exc_info="yes", field_exc_info="mine")
        first, second = read_log("logs/expert.log")
        assert first["exception"]["value"] == second["exception"]["value"] == "here"
        assert (second["field_exc_info"], second["field_field_exc_info"]) == ("mine", "yes")

    @pytest.mark.parametrize("value", [False, 0, None, (), (None, None, None)])
    def test_ordinary_flags_leave_nothing(self, logger: BoundLogger, read_log: Read, value: Any) -> None:
        """They ask for nothing, and are no fields."""
        logger.info("x", exc_info=value, stack_info=None)
        assert not read_log("logs/expert.log")[0].keys() & {"exception", "field_exc_info", "stack", "field_stack_info"}

    def test_in_a_record(self, logger: BoundLogger, read_log: Read) -> None:
        """A record of `logging` is taken with them too."""
        record = logging.makeLogRecord({"msg": "r", "levelno": 40, "exc_info": Frame(), "stack_info": Frame(), "a": 1})
        (ours,) = (handler for handler in logging.getLogger().handlers if isinstance(handler, StdlibHandler))
        ours.handle(record)
        (entry,) = read_log("logs/expert.log")
        assert (entry["message"], entry["a"], entry["field_stack_info"]) == ("r", 1, "   a\n0  1")

    @pytest.mark.parametrize("name", ["category", "alert", "logger", "event", "positional_args", "masked"])
    def test_under_a_name_that_means_something(self, logger: BoundLogger, read_log: Read, name: str) -> None:
        """No name makes a call or `bind` fail."""
        logger.warning("x", **{name: Frame()}, a=1)
        logger.bind(**{name: Frame()}).warning("y", a=1)
        get_logger("n").new(**{name: Frame()}).warning("z", a=1)
        assert [entry["a"] for entry in read_log("logs/expert.log")] == [1, 1, 1]
        assert logger.stats()["failed"] == 0

    def test_as_keys_and_values(self, logger: BoundLogger, read_log: Read) -> None:
        """Nothing in a value is compared either."""

        class Key:
            def __eq__(self, other: object) -> Any:
                return Frame()

            def __hash__(self) -> int:
                return 1

            def __repr__(self) -> str:
                return "Key"

        logger.warning(
            "x", d={Key(): 1, "name": "API_KEY", "val": "abcdefgh1234"}, password=Frame(), pair=("a", Frame())
        )
        (entry,) = read_log("logs/expert.log")
        assert entry["d"] == {"Key": 1, "name": "API_KEY", "val": "***"}
        assert entry["password"] == "***"


# -- work -------------------------------------------------------------------------------------------------------------


def chain(length: int, name: str) -> BaseException:
    """Return an exception with so many causes, or contexts."""
    error = ValueError("root")
    for number in range(length):
        following = ValueError(f"number {number}")
        setattr(following, name, error)
        error = following
    return error


def noted(notes: int, size: int = 5) -> BaseException:
    """Return an exception with so many notes of that size."""
    error = ValueError("x")
    for _ in range(notes):
        error.add_note("n" * size)
    return error


def nested(width: int, depth: int) -> BaseException:
    """Return groups in groups."""
    error: Exception = ValueError("leaf")
    for _ in range(depth):
        error = ExceptionGroup("group", [error, *(ValueError("v") for _ in range(width))])
    return error


def deep(frames: int) -> BaseException:
    """Return an exception with so many frames."""
    error = ValueError("deep")
    trace = None
    try:
        raise error
    except ValueError:
        assert error.__traceback__ is not None
        for _ in range(frames):
            last = error.__traceback__
            trace = TracebackType(trace, last.tb_frame, last.tb_lasti, last.tb_lineno)
    return error.with_traceback(trace)


def nest(depth: int) -> Any:
    """Return lists in lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def laughs(levels: int) -> Any:
    """Return a small object with an enormous number of values, each list holding the one before ten times."""
    value: Any = 1
    for _ in range(levels):
        value = [value] * 10
    return value


class Table:
    """Stands for a data frame whose `repr` takes as long as it is large."""

    columns = ("bid", "ask")

    def __init__(self, rows: int) -> None:
        self.rows = rows

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, 2

    def __repr__(self) -> str:
        return "\n".join(f"{row} {row * 1.5}" for row in range(self.rows))


class Short(list[Any]):
    """A list that lies about its length."""

    def __len__(self) -> int:
        return 0


class Names(dict[str, Any]):
    """A dict of another class."""


PAGE = '<tr class="r"><td style="color: red">token: <a href="/p?id=5&amp;sig=1">Ray ID: 7a</a></td></tr>\n'
#: What is logged, by size: a thousand of it costs about as much as a large number.
LARGE: dict[str, Callable[[int], dict[str, Any]]] = {
    "causes": lambda n: {"exc_info": chain(n, "__cause__")},
    "contexts": lambda n: {"exc_info": chain(n, "__context__")},
    "group": lambda n: {"exc_info": ExceptionGroup("g", [ValueError(str(i)) for i in range(n)])},
    "nested groups": lambda n: {"exc_info": nested(n // 20, 20)},
    "notes": lambda n: {"exc_info": noted(n)},
    "a note": lambda n: {"exc_info": noted(1, n * 100)},
    "text of an exception": lambda n: {"exc_info": ValueError("token: abc1 " * (n * 10))},
    "frames": lambda n: {"exc_info": deep(n)},
    "page": lambda n: {"body": PAGE * n},
    "json": lambda n: {"body": json.dumps([{"id": i, "key": f"x{i}", "auth_type": "none"} for i in range(n)])},
    "secrets in a text": lambda n: {"body": "token: abc1 " * n},
    "options": lambda n: {"body": "--api-key x1y2z3 " * n},
    "brackets": lambda n: {"body": "auth: (" * n},
    "sentences": lambda n: {"body": "api key " * n},
    "percent": lambda n: {"body": "%3A%22token" * n},
    "surrogates": lambda n: {"body": "\ud800" * (n * 100)},
    "bytes": lambda n: {"body": b"\xff" * (n * 1000)},
    "names": lambda n: {"d": {f"name_{i}": i for i in range(n)}},
    "names of secrets": lambda n: {"d": {f"{i}_token": "x" for i in range(n)}},
    "names like secrets": lambda n: {"d": {f"{i}_monkey": "x" for i in range(n)}},
    "numbers as names": lambda n: {"d": dict.fromkeys(range(n))},
    "fields": lambda n: {f"name_{i}": i for i in range(n // 6)},
    "fields of texts": lambda n: {f"f{i}": f"a={i}" for i in range(n // 6)},
    "pairs": lambda n: {"d": [(i * 1.5, i) for i in range(n)]},
    "pairs of texts": lambda n: {"d": [(f"{i}.5", "1.2") for i in range(n)]},
    "decimals": lambda n: {"d": [[Decimal(i), Decimal(1)] for i in range(n)]},
    "objects": lambda n: {"d": [object() for _ in range(n)]},
    "texts": lambda n: {"d": [f"a=b{i}" for i in range(n)]},
    "long texts": lambda n: {"d": ["lorem: ipsum " * 400] * (n // 50)},
    "fields of long texts": lambda n: {f"f{i}": PAGE * 500 for i in range(n // 500)},
    "long names": lambda n: {"d": {"k" * 10_000 + str(i): 1 for i in range(n // 50)}},
    "a set": lambda n: {"d": {str(i) for i in range(n)}},
    "a mixed set": lambda n: {"d": {*range(n), *map(str, range(n))}},
    "a dict of another class": lambda n: {"d": Names({f"n{i}": i for i in range(n)})},
    "a list that lies": lambda n: {"d": Short(range(n))},
    "a range": lambda n: {"d": range(n * n)},
    "nested lists": lambda n: {"d": [nest(40) for _ in range(n // 10)]},
    "a lot of laughs": lambda n: {"d": laughs(3 + n // 1000)},
    "integers": lambda n: {"d": [1 << 13_000] * n},
    "an integer": lambda n: {"d": 1 << (n * 10_000)},
    "a table": lambda n: {"d": Table(n * 10)},
    "an array": lambda n: {"d": np.zeros(n * 100)[::2]},
    "an array of objects": lambda n: {"d": np.array([object()] * n)},
    "an array of texts": lambda n: {"d": np.array(["x" * 500] * (n // 10))},
}


def cost(work: Callable[[], object]) -> float:
    """Return how long *work* takes, in seconds of this thread, without the collection of garbage."""
    gc.disable()
    try:
        begin = time.thread_time()
        work()
        return time.thread_time() - begin
    finally:
        gc.enable()


COSTLY: dict[str, dict[str, Any]] = {
    "addresses with passwords": {"proxies": [f"http://user{i}:pw{i}@10.0.0.1:8080" for i in range(1_000)]},
    "fields that exceed an entry": {f"c{i}": "x" * 100 for i in range(5_000)},
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_a_strategy_may_well_log_costs_little(logger: BoundLogger, read_log: Read, name: str) -> None:
    """Some times as much as two thousand fields that fit into an entry."""
    logger.warning("first", **COSTLY[name])
    fitting = {f"c{i}": "x" * 100 for i in range(2_000)}

    def bounded() -> bool:
        call = cost(lambda: logger.warning("x", before=1, **COSTLY[name]))
        return call < 9 * cost(lambda: logger.warning("fits", **fitting))

    assert any(bounded() for _ in range(4))
    cut = [entry for entry in read_log("logs/expert.log") if entry["message"] == "x"]
    assert "…[cut " in json.dumps(cut, ensure_ascii=False)


def test_what_is_left_out_is_not_seen_and_what_stays_is_masked(logger: BoundLogger, read_log: Read) -> None:
    """The domain fields behind too many others are masked as ever, and so is what a cut leaves of a text."""
    many = {f"name_{i}": i for i in range(30_000)}
    for odd in ({}, {"odd": object()}):
        logger.warning("x", **odd, **many, account_id="1234567890", order_id="token=Zk81Lq0ppR7aa")
    page = "token=Zk81Lq0ppR7aa&" * 2000
    logger.warning("y", first=page, second=[page, page], third={"api_key": page})
    assert b"Zk81Lq0pp" not in Path("logs/expert.log").read_bytes()
    *entries, last = read_log("logs/expert.log")
    assert [(entry["account_id"], entry["order_id"]) for entry in entries] == [("***7890", "token=***")] * 2
    assert last["first"].startswith("token=***&token=***&")
    assert last["third"]["api_key"] == "***"


@pytest.mark.parametrize("name", LARGE)
def test_a_call_does_bounded_work(logger: BoundLogger, read_log: Read, name: str) -> None:
    """Ten times as much costs about the same, and the other fields are there."""
    small, large = LARGE[name](5_000), LARGE[name](50_000)
    logger.warning("first", **LARGE[name](100))

    def bounded() -> bool:
        few = cost(lambda: logger.warning("x", before=1, **small, order_id="o-1"))
        many = cost(lambda: logger.warning("x", before=1, **large, order_id="o-1"))
        return many < 5 * max(few, 0.03)

    assert any(bounded() for _ in range(4))
    for entry in read_log("logs/expert.log")[1:]:
        assert (entry["before"], entry["order_id"]) == (1, "o-1")
    text = json.dumps(entry, ensure_ascii=False)
    assert "…[cut " in text or "<integer of" in text or len(entry) > 8_000 or entry["exception"]["truncated"]
    assert logger.stats()["failed"] == 0
