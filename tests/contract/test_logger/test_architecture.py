"""The house: imports go downward only, and the public surface is what it says."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import metaexpert.logger

ROOT = Path(metaexpert.__file__).parent
LOGGER = ROOT / "logger"

#: The rooms of the logger from the ground up. A room imports from the layers before its own, and from itself; the
#: modules of the two last layers lie in `logger` itself and are one room each layer.
LAYERS = [
    "system schema",
    "counts entry journal",
    "masking console",
    "config",
    "encoding seal",
    "files remote",
    "hub",
    "factory bound logger_classes lazy children inheritance context decision stdlib uncaught capture testing rfc5424",
]
MOST_MODULES = 14
#: Where the reader meets the writer: what an entry is, what is secret in it, the formats of the seal, and the compiled
#: core, which has the first look at lines. `recovery` is the one part of the writer that it runs, for `logs recover`.
#: `system.host` and `system.processes` tell whether a process of this machine lives.
#: `remote.reasons` are words for what goes wrong on the way to an endpoint, or to a store.
SEAL = ("seal.tree", "seal.note", "seal.keys", "seal.proof")
SYSTEM = ("system.native", "system.host", "system.processes")
SHARED = ("schema", "entry", "masking", "files.recovery", "remote.reasons", *SYSTEM, *SEAL)


@cache
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


def modules(folder: Path) -> list[Path]:
    """Return the modules and sources that lie in *folder* itself."""
    return [path for path in folder.iterdir() if path.suffix in (".py", ".c", ".h") and path.stem != "__init__"]


def room(name: str) -> str:
    """Return the room of a module of the logger: the folder that it lies in, or its own name."""
    return name.removeprefix("metaexpert.logger").lstrip(".").partition(".")[0]


def dotted(path: Path) -> str:
    """Return the dotted name of the module at *path*."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_the_logger_imports_downward_only() -> None:
    """Each room imports from lower layers or from itself, and every room is on a layer."""
    layer = {name: number for number, names in enumerate(LAYERS) for name in names.split()}
    hub = {name for names in LAYERS[-2:] for name in names.split()}
    wrong = []
    for path in LOGGER.rglob("*.py"):
        here = room(dotted(path))
        if not here:  # the package itself hands on what is public
            continue
        assert here in layer, f"{path} is in no room that has a layer"
        for name in imports(path):
            there = room(name)
            if name.startswith("metaexpert.logger.") and there != here and layer[there] >= layer[here]:
                beside = layer[there] == layer[here] and ({here, there} <= hub or there == "schema")
                if not beside:
                    wrong.append(f"{dotted(path)} imports {name}")
    assert wrong == []


def test_a_folder_can_be_seen_at_one_look() -> None:
    """No folder of the package has more than fourteen modules."""
    folders = {path.parent for path in ROOT.rglob("*.py")}
    assert {f.name: len(modules(f)) for f in folders if len(modules(f)) > MOST_MODULES} == {}


def test_private_modules_are_marked_and_stay_private() -> None:
    """Inside the rooms of logger and reader, a module begins with an underscore exactly if no other room imports it."""
    imported = {path: imports(path) for path in ROOT.rglob("*.py")}
    wrong = []
    for folder in {path.parent for path in ROOT.rglob("*/*/*.py") if path.parent.parent != ROOT / "cli"}:
        for path in modules(folder):
            if path.suffix != ".py":
                continue
            name = dotted(path)
            outside = any(name in names for other, names in imported.items() if other.parent != folder)
            if outside == path.stem.startswith("_"):
                wrong.append(f"{name} is imported by {'other rooms' if outside else 'its own room only'}")
    assert sorted(wrong) == [], "\n".join(sorted(wrong))


def test_locks_queues_and_threads_are_of_one_kind() -> None:
    """All come from `system.threads`: a program may put others in their place after the import, as gevent does."""
    makes = re.compile(r"(threading\.(R?Lock|Event|Condition|Thread)|queue\.(Simple)?Queue)(?=[(\[])")
    found = {path.name for path in LOGGER.rglob("*.py") if makes.search(path.read_text("utf-8"))}
    assert found == set()


def test_the_logger_knows_nothing_above_it() -> None:
    """The logger imports neither the reader nor the command line nor the host."""
    for path in LOGGER.rglob("*.py"):
        for name in imports(path):
            assert name.startswith("metaexpert.logger") or name in ("metaexpert", "metaexpert._version"), (path, name)


def is_shared(name: str) -> bool:
    """Return whether reader and writer both use the module *name* of the logger."""
    inside = name.removeprefix("metaexpert.logger.")
    return any(inside == shared or inside.startswith(shared + ".") for shared in SHARED)


def test_reader_and_writer_meet_in_few_rooms() -> None:
    """The reader works when the writer is broken: it imports what an entry is and what is secret in it alone."""
    for path in (ROOT / "logs").rglob("*.py"):
        ours = {name for name in imports(path) if name.startswith("metaexpert.logger.")}
        assert all(map(is_shared, ours)), path


#: Rooms of the logger that the watcher uses: it sends alerts, and looks at journals. It never logs.
WATCHED = (
    "schema",
    "config",
    "encoding.line",
    "entry",
    "files.archive",
    "journal.watched",
    "journal",
    "remote.alerts",
    "system",
)


def test_the_watcher_stands_beside_the_reader() -> None:
    """The watcher imports the reader and few rooms of the logger; only the command line imports it."""
    for path in ROOT.rglob("*.py"):
        names = imports(path)
        if path.parent == ROOT / "watch":
            for name in names:
                inside = name.removeprefix("metaexpert.logger.")
                logger = name in ("metaexpert.logger", "metaexpert") or inside.startswith(WATCHED)
                assert logger or name.startswith(("metaexpert.logs", "metaexpert.watch")), (path, name)
        elif path.parent != ROOT / "cli":
            assert not any(name.startswith("metaexpert.watch") for name in names), path


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
    rooms = ("schema", "entry", "masking", "system")
    code = (
        "import sys, metaexpert.logs\n"
        "loaded = {m.split('.')[2] for m in sys.modules if m.startswith('metaexpert.logger.')}\n"
        f"assert loaded <= {set(rooms)!r}, loaded\n"
    )
    subprocess.run([python, "-c", code], check=True, cwd=tmp_path)
