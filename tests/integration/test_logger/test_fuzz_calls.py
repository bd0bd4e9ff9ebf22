"""Log calls with whatever Hypothesis can think of: none raises, and each leaves one valid line.

METAEXPERT_FUZZ_EXAMPLES says how many (see CONTRIBUTING.md).
"""

from __future__ import annotations

import dataclasses
import decimal
import enum
import json
import math
import os
from collections import OrderedDict, UserDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from metaexpert.logger import BoundLogger, MetaLogger, log_context

NIGHTLY = bool(os.environ.get("METAEXPERT_NIGHTLY"))
EXAMPLES = int(os.environ.get("METAEXPERT_FUZZ_EXAMPLES", 20_000 if NIGHTLY else 300))

FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    derandomize=not NIGHTLY,
    database=None,
)


class Boom(Exception):
    """What hostile values raise."""


class Worse(Exception):
    """Its text cannot be had either."""

    def __str__(self) -> str:
        raise Boom

    __repr__ = __str__


def boom(*_: object, **__: object) -> NoReturn:
    """Raise."""
    raise Boom


def worse(*_: object, **__: object) -> NoReturn:
    """Raise what cannot be shown."""
    raise Worse


def hostile(name: str, bases: tuple[type, ...] = (object,), *methods: str) -> type:
    """Return a class whose *methods* raise."""
    return type(name, bases, dict.fromkeys(methods, boom))


EVERYTHING = (
    "__repr__", "__str__", "__bytes__", "__format__", "__len__", "__iter__", "__bool__", "__hash__", "__eq__",
    "__int__", "__float__", "__index__", "__getattr__", "__getattribute__", "__getitem__", "__contains__", "keys",
    "items", "__dir__", "__sizeof__", "__reduce_ex__", "__array__", "__fspath__", "__call__", "__enter__", "__lt__",
)  # fmt: skip
Silent = hostile("Silent", (object,), *EVERYTHING)
Worst = type("Worst", (), {"__repr__": worse, "__str__": worse})
Liar = type("Liar", (), {"__class__": property(boom), "__repr__": lambda self: 5})
LongText = type(
    "LongText", (str,), {"__str__": boom, "__repr__": boom, "__len__": boom, "__eq__": boom, "__hash__": boom}
)
BadInt = type("BadInt", (int,), {"__repr__": boom, "__str__": boom, "__int__": boom, "__hash__": boom})
BadFloat = type("BadFloat", (float,), {"__repr__": boom, "__float__": boom, "__sub__": boom, "__eq__": boom})
BadDict = type("BadDict", (dict,), {"items": boom, "keys": boom, "__iter__": boom, "__getitem__": boom})
BadList = type("BadList", (list,), {"__iter__": boom, "__len__": boom, "__getitem__": boom})
Endless = type("Endless", (UserDict,), {"__len__": lambda self: 1 << 40, "keys": lambda self: iter(int, 1)})
BadEnum = enum.Enum("BadEnum", {"A": 1})
BadEnum.__repr__ = BadEnum.__str__ = boom  # type: ignore[method-assign]


@dataclasses.dataclass
class Order:
    """A dataclass with a field that raises."""

    price: Any
    bad: Any = dataclasses.field(default_factory=Silent)

    @property
    def value(self) -> NoReturn:
        """Raise."""
        raise Boom


class Circle(list[Any]):
    """Contains itself, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.extend([self, {"me": self}])


def deep(levels: int) -> Any:
    """Return a list in a dict in a list …"""
    value: Any = 1
    for _ in range(levels):
        value = {"k": [value]}
    return value


ODD = st.one_of(
    st.sampled_from(
        [Silent, Liar, LongText, BadInt, BadFloat, BadDict, BadList, Endless, Order, Boom, object, type, print, ...]
    ),
    st.builds(Silent), st.builds(Worst), st.builds(Liar), st.builds(LongText, st.text(max_size=3)),
    st.builds(BadInt, st.integers()), st.builds(BadFloat, st.floats()), st.builds(BadDict, a=st.integers()),
    st.builds(BadList, st.just([1])),
    st.builds(Circle), st.builds(deep, st.integers(0, 3_000)), st.builds(Order, st.floats()),
    st.builds(lambda: BadEnum.A),
    st.builds(Endless), st.builds(Boom), st.builds(lambda: (x for x in [1])),
    st.builds(lambda data: memoryview(data), st.binary()),
    st.builds(lambda: "x" * 300_000), st.builds(lambda: list(range(30_000))), st.builds(lambda: 10**5_000),
    st.builds(OrderedDict, a=st.none()), st.builds(lambda: {Silent.__name__: Silent(), 5: 6, None: 7, (1,): 8}),
    st.builds(lambda: decimal.Decimal("sNaN")), st.just(math.nan), st.just(-math.inf), st.just(complex(1, math.nan)),
    st.builds(lambda: datetime(1, 1, 1)), st.builds(lambda: datetime.max.replace(tzinfo=UTC)),
)  # fmt: skip
TEXT = st.text(st.characters(), max_size=20)
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.binary(max_size=20), st.decimals(), st.datetimes(),
    st.timedeltas(), st.uuids(), st.fractions(), st.complex_numbers(),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(ODD, PLAIN),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(TEXT, inner, max_size=3),
        st.sets(st.integers(), max_size=3),
    ),
    max_leaves=4,
)  # fmt: skip
NAMES = st.one_of(
    TEXT,
    st.sampled_from(
        [
            "event",
            "self",
            "level",
            "message",
            "timestamp",
            "sequence_id",
            "severity",
            "procid",
            "logger",
            "exception",
            "stack",
            "exc_info",
            "stack_info",
            "category",
            "expert_name",
            "symbol",
            "order_id",
            "field_message",
            "alert",
            "_record",
            "__class__",
            "args",
            "msg",
            "method_name",
        ]
    ),
)
MESSAGES = st.one_of(
    TEXT, ODD, st.sampled_from(["%s %s", "%(a)s", "%", "100 %", "%d", "%s" * 40, "{}", "%.999999999f"])
)
METHODS = st.sampled_from(["debug", "info", "warning", "error", "critical", "exception", "msg", "log"])


@pytest.fixture
def loggers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, BoundLogger]]:
    """One asynchronous, one synchronous, one in the other layout; each in a directory of its own."""
    place = tmp_path_factory.mktemp("fuzz")
    kinds: dict[str, dict[str, Any]] = {
        "async": {},
        "sync": {"async_logging": False},
        "rfc5424": {"layout": "rfc5424", "max_entry_size": 20_000},
    }
    common: dict[str, Any] = {"log_level": "DEBUG", "log_to_console": False, "install": False, "capture_stdlib": False}
    made = {
        kind: MetaLogger(log_dir=place / kind, backup_count=0, capture_warnings=False, **common, **options)
        for kind, options in kinds.items()
    }
    yield made
    for logger in made.values():
        logger.close()


class Case:
    """One call. Not a tuple or a dataclass, which Hypothesis would show: these values cannot be shown."""

    def __init__(self, method: str, message: Any, args: list[Any], fields: dict[str, Any], context: dict[str, Any],
                 inside: bool) -> None:  # fmt: skip
        gone = ("category", "alert")
        self.method, self.message, self.args, self.inside = method, message, args, inside
        self.fields = {key: value for key, value in fields.items() if key not in gone}
        self.context = {key: value for key, value in context.items() if key not in gone}

    def __repr__(self) -> str:
        kinds = [*map(type, self.args), *((key, type(value)) for key, value in self.fields.items())]
        bound = [(key, type(value)) for key, value in self.context.items()]
        return f"{self.method}({type(self.message)}, {kinds}) bound {bound} inside {self.inside}"

    def log(self, logger: BoundLogger) -> None:
        """Make the call."""
        levels = [20] if self.method == "log" else []
        method = getattr(logger.bind(**self.context), self.method)
        if not self.inside:
            method(*levels, self.message, *self.args, **self.fields)
            return
        with log_context(strategy_id=1, note=next(iter(self.fields.values()), None)):
            method(*levels, self.message, *self.args, **self.fields)


CASES = st.builds(
    Case, METHODS, MESSAGES, st.lists(VALUES, max_size=3), st.dictionaries(NAMES, VALUES, max_size=4),
    st.dictionaries(NAMES, VALUES, max_size=2), st.booleans(),
)  # fmt: skip


class Tail:
    """What has come into a file since last asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size

    def lines(self) -> list[bytes]:
        """Return the new lines, of which none is torn."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        assert data == b"" or data.endswith(b"\n")
        return data.split(b"\n")[:-1]


@pytest.mark.storm
@pytest.mark.timeout(3600 if NIGHTLY else 120)
@pytest.mark.parametrize("kind", ["async", "sync", "rfc5424"])
def test_no_call_raises_and_each_leaves_a_line(loggers: dict[str, BoundLogger], kind: str) -> None:
    """Message, arguments, fields, context and exc_info of any kind and name: one line, one JSON object."""
    logger = loggers[kind]
    logger.flush()
    tail = Tail(Path(logger.config.log_dir) / "expert.log")

    @FUZZ
    @given(CASES)
    def fuzz(case: Case) -> None:
        case.log(logger)
        assert logger.flush()
        (line,) = tail.lines()
        entry = json.loads(line, parse_constant=boom)
        assert entry["level"] in ("debug", "info", "warning", "error", "critical")
        assert len(line) <= logger.config.max_entry_size + 70_000

    fuzz()
    assert logger.stats()["dropped"] == 0


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_values_that_do_things(loggers: dict[str, BoundLogger], kind: str) -> None:
    """A repr that logs, binds, flushes, changes the level, collects, or changes the dict that it is in."""
    logger = loggers[kind]
    logger.flush()
    tail = Tail(Path(logger.config.log_dir) / "expert.log")
    victim: dict[str, Any] = {}

    def doing(action: Callable[[], object]) -> Any:
        def show(_: object) -> str:
            action()
            return "done"

        return type("Doing", (), {"__repr__": show})()

    actions: list[Callable[[], object]] = [
        lambda: logger.info("inner"),
        lambda: logger.bind(a=object()).error("inner", value={1, 2}),
        lambda: logger.flush(5),
        lambda: logger.set_level("DEBUG"),
        lambda: victim.update({str(len(victim)): 1}),
        victim.clear,
        lambda: logger.stats(),
    ]
    for number, action in enumerate(actions):
        victim.update(first=doing(action), second=[1])
        logger.info("outer", number=number, value=victim)
    assert logger.flush()
    entries = [json.loads(line) for line in tail.lines()]
    assert sorted(entry["number"] for entry in entries if entry["message"] == "outer") == list(range(len(actions)))
    assert sum(entry["message"] == "inner" for entry in entries) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_fault_passes(loggers: dict[str, BoundLogger], error: type[BaseException]) -> None:
    """Ctrl-C and a handler's sys.exit in the middle of a call reach the program: they are not the logger's to keep."""

    def interrupt(_: object) -> str:
        raise error

    value = type("Interrupting", (), {"__repr__": interrupt})()
    with pytest.raises(error):
        loggers["async"].info("m", value=value)
    loggers["async"].info("after")
    assert loggers["async"].flush()
