"""The console's line: readable, aligned, and nothing in it that a value could forge."""

from __future__ import annotations

import re
from datetime import timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaexpert.logger.entry.console_text import ConsoleText, escape, value_text

BASE: dict[str, Any] = {"timestamp": "2026-11-22T10:31:00.123456Z", "level": "info", "message": "Position opened"}


def render(**fields: Any) -> str:
    """Return an entry with *fields* as plain text."""
    return ConsoleText(colors=False)({**BASE, **fields})


def test_the_line_of_the_contract() -> None:
    """Time, level, message and fields stand as the contract shows them."""
    assert render(side="BUY", size=0.1) == "2026-11-22 10:31:00.123 [info ] Position opened  side=BUY size=0.1"


def test_without_fields() -> None:
    """Nothing trails the message."""
    assert render() == "2026-11-22 10:31:00.123 [info ] Position opened"


@pytest.mark.parametrize(("level", "shown"), [("debug", "[debug]"), ("error", "[error]"), ("critical", "[critical]")])
def test_levels(level: str, shown: str) -> None:
    """Levels of up to five letters are aligned, the two longer ones are whole."""
    assert f" {shown} Position" in render(level=level)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("BUY", "BUY"),
        ("a b", '"a b"'),
        ("", '""'),
        ("a=b", '"a=b"'),
        ('"', '"\\""'),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
        (10**30, "1" + "0" * 30),
        ({"a": [1]}, '{"a":[1]}'),
        ("Жé", "Жé"),
        ("a\nb", '"a\\nb"'),
        ("\x9b31m", '"\\x9b31m"'),
        ("\u202eevil", '"\\u202eevil"'),
    ],
)
def test_values(value: object, shown: str) -> None:
    """A simple value stands bare, any other as JSON, controls and direction marks escaped."""
    assert value_text(value) == shown


def test_header_fields_are_hidden() -> None:
    """What repeats on each line is left out."""
    text = render(severity=6, hostname="h", procid="1", sequence_id=5, msgid="log", expert_name="Ema", category="trade")
    assert text == render()


def test_the_expert_is_shown_when_asked() -> None:
    """A view over several experts names them."""
    assert "[info ] Ema Position" in ConsoleText(False, show_expert=True)({**BASE, "expert_name": "Ema"})


def test_time_zone() -> None:
    """Times are shown in the wanted zone; what is no time is shown as it is."""
    text = ConsoleText(False, timezone(timedelta(hours=3)))(BASE)
    assert text.startswith("2026-11-22 13:31:00.123 ")
    assert ConsoleText(False)({**BASE, "timestamp": "yester\x1bday"}).startswith("yester\\x1bday [info ]")


def test_traceback_and_stack_stand_below_indented() -> None:
    """Each line of a traceback is indented, so that none looks like an entry."""
    text = render(exception={"type": "E", "value": "x", "text": "Traceback\n2026-11-22 fake\n"}, stack="Stack\n  y")
    assert text.splitlines()[1:] == ["    Stack", "      y", "    Traceback", "    2026-11-22 fake"]


def test_an_exception_without_text() -> None:
    """Type and value are shown when there is no traceback text."""
    assert render(exception={"type": "E", "value": "x"}).splitlines()[1] == "    E: x"


def test_the_other_layout() -> None:
    """An entry of the rfc5424 layout reads the same."""
    data = {"context@1": {"symbol": "X", "expert_name": "Ema"}, "fields@1": {"a": 1}, "meta": {"sequenceId": 3}}
    entry = {**BASE, "logger": "mod", "structured_data": data}
    assert ConsoleText(False)(entry).endswith("Position opened  logger=mod symbol=X a=1")
    assert " Ema " in ConsoleText(False, show_expert=True)(entry)


def test_colours() -> None:
    """Colours only when wanted; without them the text is the same."""
    entry = {**BASE, "side": "BUY", "exc_info": "x", "event": "e"}
    coloured = ConsoleText(colors=True)(entry)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == ConsoleText(colors=False)(entry)


@given(
    st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text()), max_size=4),
    st.text(),
)
def test_nothing_forges_a_line_or_a_code(fields: dict[str, Any], message: str) -> None:
    """Whatever stands in an entry, it is one printable line."""
    text = render(**{k: v for k, v in fields.items() if k not in ("exception", "stack", "structured_data")})
    text += render(message=message)
    assert text.isprintable()


def test_escape_keeps_printable_text() -> None:
    """Printable text, also beyond ASCII, is untouched."""
    assert escape("Жé😀 a") == "Жé😀 a"
