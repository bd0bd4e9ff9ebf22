"""The start of a logger: import, set-up and first entry load only what they need."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from metaexpert.logger.entry.patterns import lazy_pattern

#: Each of these takes longer than a usual module, or belongs to a part that a plain logger does not have.
UNNEEDED = [
    *("rich", "pygments", "attr", "httpx", "httpcore", "anyio", "typer", "pydantic_settings", "dotenv", "twisted"),
    *("asyncio", "concurrent", "ssl", "http", "email", "importlib.metadata", "importlib.resources", "subprocess"),
    *("tempfile", "shutil", "zipfile", "tomllib", "difflib", "socket"),
    *("structlog.dev", "structlog.processors", "structlog.stdlib", "structlog._config"),
    *("metaexpert.logs", "metaexpert.trading", "metaexpert.expert", "metaexpert.cli", "metaexpert.logger.remote"),
]
FIRST_ENTRY = """
import sys
from metaexpert.logger import MetaLogger, get_logger
logger = MetaLogger(expert_name="EmaBot", symbol="BTCUSDT", log_dir="logs")
logger.info("Expert started", exchange="binance")
get_logger("strategy").bind(side="BUY").warning("Slippage", bps=14)
"""


def run(python: str, code: str, directory: Path) -> str:
    """Return what *code* prints in a fresh interpreter."""
    done = subprocess.run([python, "-c", code], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_entry_needs_no_heavy_module(python: str, tmp_path: Path) -> None:
    """Until the first entry is logged, no module is loaded that only other programs need."""
    code = f"""{FIRST_ENTRY}
unneeded = {UNNEEDED!r}
print([name for name in sys.modules if any(name == n or name.startswith(n + ".") for n in unneeded)])
"""
    assert run(python, code, tmp_path) == "[]\n"


def test_plug_ins_of_pydantic_see_the_models_of_others(python: str, tmp_path: Path) -> None:
    """The logger's own model is completed without plug-ins of pydantic; later models get them as ever."""
    info = tmp_path / "watcher-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: watcher\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pydantic]\nwatcher = watcher:plugin\n")
    (tmp_path / "watcher.py").write_text("""
seen = []
class Plugin:
    def new_schema_validator(self, schema, schema_type, *_):
        seen.append(schema_type.__name__)
        return None, None, None
plugin = Plugin()
""")
    code = f"""{FIRST_ENTRY}
from pydantic import BaseModel
class Order(BaseModel):
    price: float
Order(price=1.0)
import watcher
print(watcher.seen, logger.config.model_dump()["log_level"])
"""
    assert run(python, code, tmp_path) == "['Order'] INFO\n"


def test_a_lazy_pattern_is_compiled_at_its_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lazy pattern behaves like the compiled one, and an attribute is looked up in that one only once."""
    pattern = lazy_pattern(r"(\w+)=(\d+)", re.IGNORECASE)
    match = pattern.fullmatch("size=12")
    assert match is not None
    assert match.groups() == ("size", "12")
    assert (pattern.groups, pattern.flags, repr(pattern)) == (
        2,
        re.compile(r"(\w+)=(\d+)", re.IGNORECASE).flags,
        "re.compile('(\\\\w+)=(\\\\d+)', re.IGNORECASE)",
    )
    assert pattern.fullmatch is pattern.fullmatch
    with pytest.raises(re.error):
        lazy_pattern("(").search("text")
