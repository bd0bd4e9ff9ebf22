"""A log call does a bounded amount of work, whatever it is given, and one large value costs no other field."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from metaexpert.logger import BoundLogger, MetaLogger, get_logger
from metaexpert.logger.stdlib import StdlibHandler

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
        assert (entry["message"], entry["a"], entry["field_exc_info"]) == ("r", 1, "   a\n0  1")

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
