"""Experts whose logs go to a fresh directory and which are closed after the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metaexpert import MetaExpert
from metaexpert.trading import Bar

MakeExpert = Callable[..., MetaExpert]
ReadLog = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeExpert]:
    """Build experts that log to ``logs``, without a console."""
    made: list[MetaExpert] = []

    def _make(**options: Any) -> MetaExpert:
        settings = {"log_to_console": False, "log_dir": tmp_path / "logs", **options}
        made.append(MetaExpert("paper-exchange", **settings))
        return made[-1]

    yield _make
    for expert in made:
        expert.close()


@pytest.fixture
def log(tmp_path: Path) -> ReadLog:
    """Read a file of ``logs``: its entries, or those with one message."""

    def _log(file: str = "expert.log", message: str | None = None) -> list[dict[str, Any]]:
        lines = (tmp_path / "logs" / file).read_text("utf-8").splitlines()
        entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
        return [entry for entry in entries if message in (None, entry["message"])]

    return _log


@pytest.fixture
def bars() -> list[Bar]:
    """Five hourly bars that open at 100, 101 … and close half above their open."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return [Bar(start + timedelta(hours=i), 100.0 + i, 102.0 + i, 99.0 + i, 100.5 + i, 10.0) for i in range(5)]
