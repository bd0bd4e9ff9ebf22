"""The house: imports go downward only, and the public surface is what it says."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import metaexpert.logger

ROOT = Path(metaexpert.__file__).parent
LOGGER = ROOT / "logger"

#: Rooms of the logger from the ground up; a room imports only from rooms that stand before it.
FLOORS = [
    ["schema", "compiled", "places", "time_index"],
    ["values", "accounts", "secret_names"],
    ["secret_pairs"],
    ["secret_shapes"],
    ["secret_values"],
    ["masking"],
    ["rfc5424_codec", "rfc5424_parser", "rfc5424", "text", "sources", "tracebacks", "context", "handlers.addresses"],
    ["remote_settings"],
    ["config", "formatters", "processors", "handlers.alert"],
    ["routing", "handlers.base", "handlers.rotation", "handlers.system", "handlers.stderr"],
    ["handlers.locking"],
    ["handlers.http", "handlers.spool", "traces"],
    ["diagnostics", "handlers.file", "handlers.indexer", "handlers.archive", "handlers.console"],
    ["handlers.outbox", "handlers.budget", "handlers.alert_text", "handlers.presence", "handlers.backlog"],
    ["handlers.worker"],
    ["handlers.sender"],
    ["handlers.desks", "handlers.channel", "handlers.repeats", "handlers.dead_letters"],
    ["handlers.delivery", "handlers.telegram", "handlers.discord", "handlers.webhook"],
    ["handlers.forward"],
    ["handlers.syslog", "handlers.otlp", "handlers.metrics"],
    ["alerts", "exports"],
    ["outlets"],
    ["segment"],
    ["journal"],
    ["recovery", "drainer", "fused"],
    ["lanes"],
    ["directory"],
    ["files"],
    ["stamping", "news", "mishaps"],
    ["display"],
    ["pipeline"],
    ["bound"],
    ["lazy", "stdlib"],
    ["factory", "testing"],
    [""],
]
#: Where the reader may meet the writer. `time_index` is there because it is the format of a file that one keeps and
#: the other looks into; like `schema` it imports nothing of ours.
SHARED = {f"metaexpert.logger.{name}" for name in ("schema", "time_index", "text", "rfc5424", "masking", "recovery")}


def imports(path: Path) -> set[str]:
    """Return the modules of ours that the file at *path* imports, wherever it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("metaexpert") and is_module(name)}


def is_module(name: str) -> bool:
    """Return whether *name* is a module of ours rather than a name in one."""
    path = ROOT.parent / Path(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def room(path: Path) -> str:
    """Return the dotted name of a logger module, relative to the logger."""
    parts = path.relative_to(LOGGER).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_the_logger_imports_downward_only() -> None:
    """Each room of the logger imports from lower floors, or its own, and every room has a floor."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    floor["handlers"] = 0
    wrong = []
    for path in LOGGER.rglob("*.py"):
        here = room(path)
        assert here in floor, f"{here} stands on no floor"
        for name in imports(path) - {"metaexpert", "metaexpert.logger", "metaexpert.logger.handlers"}:
            there = name.removeprefix("metaexpert.logger.")
            if name.startswith("metaexpert.logger.") and floor[there] > floor[here]:
                wrong.append(f"{here} imports {there}")
    assert wrong == []


def test_the_logger_knows_nothing_above_it() -> None:
    """The logger imports neither the reader nor the command line nor the host."""
    for path in LOGGER.rglob("*.py"):
        for name in imports(path):
            assert name.startswith("metaexpert.logger") or name in ("metaexpert", "metaexpert._version"), (path, name)


def test_reader_and_writer_meet_in_few_rooms() -> None:
    """The reader works when the writer is broken: it imports schema, time_index, text, rfc5424 and masking alone."""
    for path in (ROOT / "logs").rglob("*.py"):
        ours = {name for name in imports(path) if name.startswith("metaexpert.logger.")}
        assert ours <= SHARED, path


def test_public_names() -> None:
    """`metaexpert.logger` exports what the contract names, each documented."""
    expected = {"MetaLogger", "LoggerConfig", "get_logger", "log_context", "trade_context", "register_secret"}
    assert expected <= set(metaexpert.logger.__all__)
    for name in metaexpert.logger.__all__:
        assert getattr(metaexpert.logger, name).__doc__


def test_importing_the_logger_starts_nothing(python: str, tmp_path: Path) -> None:
    """An import creates no file and no thread, touches no logging, and pulls in no trading."""
    code = (
        "import threading, logging, os, sys, warnings\n"
        "shown = warnings.showwarning\n"
        "import metaexpert.logger\n"
        "assert threading.active_count() == 1\n"
        "assert logging.getLogger().handlers == []\n"
        "assert warnings.showwarning is shown\n"
        "assert os.listdir() == []\n"
        "assert not [m for m in sys.modules if m.startswith(('metaexpert.expert', 'metaexpert.trading', 'typer'))]\n"
    )
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path)


def test_the_reader_loads_none_of_the_writer(python: str, tmp_path: Path) -> None:
    """Importing the reader loads no pipeline, no configuration and no journal, so that it works without them."""
    beneath = {f"metaexpert.logger.{name}" for name in ("values", "rfc5424_codec", "rfc5424_parser")}
    beneath |= {
        f"metaexpert.logger.{name}" for name in ("secret_names", "secret_pairs", "secret_shapes", "secret_values")
    }
    code = (
        "import sys, metaexpert.logs\n"
        "loaded = {m for m in sys.modules if m.startswith('metaexpert.logger.')}\n"
        f"assert loaded <= {SHARED | beneath!r}, loaded\n"
    )
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path)
