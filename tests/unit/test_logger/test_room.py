"""Room in the journal: an entry that does not fit is refused before it has a number, and by all of its files."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metaexpert.logger import MetaLogger
from metaexpert.logger.bound import BoundLogger
from metaexpert.logger.encoding.line import encoder, renumbered
from metaexpert.logger.schema import MAX_SEQUENCE_ID

Storm = Callable[[BoundLogger, int], None]


def errors(logger: BoundLogger, size: int, count: int = 30) -> None:
    for number in range(count):
        logger.error("large", number=number, text="ab " * (size // 3))


def flushed(logger: BoundLogger, size: int) -> None:
    for _ in range(10):
        errors(logger, size, 1)
        assert logger.flush()


def threads(logger: BoundLogger, size: int) -> None:
    workers = [threading.Thread(target=errors, args=(logger, size, 15)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def trades(logger: BoundLogger, size: int) -> None:
    for number in range(30):
        logger.trade.error("large", number=number, text="ab " * (size // 3))


def plainly(logger: BoundLogger, size: int) -> None:
    for number in range(30):
        logger.error("large %d", number, text="ab " * (size // 3))


@pytest.mark.parametrize(
    ("storm", "size", "layout"),
    [
        (errors, 60_000, "flat"),
        (threads, 3_000, "rfc5424"),
        (threads, 30_000, "flat"),
        (trades, 60_000, "flat"),
        (plainly, 60_000, "rfc5424"),
        (errors, 200_000, "flat"),
    ],
)
def test_all_files_of_an_entry_have_it_or_none_and_no_number_is_missing(storm: Storm, size: int, layout: Any) -> None:
    """Whatever its size beside a segment and the whole journal; what was refused is counted and announced."""
    limits: dict[str, Any] = {"max_value_length": 300_000, "max_entry_size": 400_000, "max_file_size": "1GB"}
    logger = MetaLogger(log_to_console=False, journal_size="64KB", layout=layout, **limits)
    storm(logger, size)
    while logger.flush() and not all_told(logger):
        pass
    logger.close()
    found = {name: entries(name) for name in ("expert", "trades", "errors")}
    numbers = [entry["sequence_id"] for entry in found["expert"]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    of = {name: {entry["sequence_id"] for entry in each if "large" in entry["message"]} for name, each in found.items()}
    assert of["errors"] == of["expert"]
    assert storm is not trades or of["trades"] == of["expert"]
    assert len(of["expert"]) + logger.stats()["dropped"] == (60 if storm is threads else 30)
    assert logger.stats()["failed"] == 0


def all_told(logger: BoundLogger) -> bool:
    told = sum(entry.get("dropped", 0) for entry in map(flat, entries("expert")))
    return bool(told == logger.stats()["dropped"])


def flat(entry: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = entry.get("structured_data", {}).get("fields@32473", entry)
    return fields


def entries(name: str) -> list[dict[str, Any]]:
    path = Path(f"logs/{name}.log")
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("size", [60_000, 200_000])
@pytest.mark.parametrize("options", [{"async_logging": False}, {"overflow": "block", "overflow_timeout": 60}])
def test_who_may_wait_loses_nothing(size: int, options: dict[str, Any]) -> None:
    """Each entry fits when the others are written, be it larger than the journal."""
    limits: dict[str, Any] = {"max_value_length": 300_000, "max_entry_size": 300_000, "max_file_size": "1GB"}
    logger = MetaLogger(log_to_console=False, journal_size="64KB", **limits, **options)
    errors(logger, size, 10)
    logger.close()
    assert logger.stats()["dropped"] == 0
    assert len(entries("expert")) == len(entries("errors")) == 10


def test_an_entry_of_any_size_fits_when_nothing_waits() -> None:
    """What is drained takes no room, whatever was allocated for it."""
    limits: dict[str, Any] = {"max_value_length": 300_000, "max_entry_size": 300_000, "max_file_size": "1GB"}
    logger = MetaLogger(log_to_console=False, journal_size="64KB", **limits)
    flushed(logger, 200_000)
    logger.close()
    assert logger.stats()["dropped"] == 0


@pytest.mark.parametrize("number", [1, 57, 10**7, MAX_SEQUENCE_ID, MAX_SEQUENCE_ID + 5])
@pytest.mark.parametrize("layout", ["flat", "rfc5424"])
def test_an_entry_with_another_number_is_the_one_made_with_it(layout: Any, number: int) -> None:
    """In either layout; a value that looks like the number stays."""
    encode = encoder(layout, 32473, 10_000)
    entry = {"timestamp": "2026-01-01T00:00:00.000000Z", "level": "info", "severity": 6, "facility": 16, "version": 1}
    entry |= {"hostname": "h", "appname": "a", "procid": "1", "msgid": "log", "sequence_id": 9}
    entry |= {"message": '"sequence_id":9,"', "logger": "x", "inner": {"sequence_id": 9, "meta": {"sequenceId": 9}}}
    assert renumbered(encode(entry), number) == encode({**entry, "sequence_id": number})
