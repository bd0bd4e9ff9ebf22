"""structlog's own start waits for its first use, and nobody can tell."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.program

LOGGER = "from metaexpert.logger import MetaLogger\nlogger = MetaLogger(log_dir='logs', log_to_console=False)\n"


def run(python: str, code: str, directory: Path) -> str:
    """Return what *code* prints in a fresh interpreter."""
    done = subprocess.run([python, "-c", code], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def messages(directory: Path) -> list[str]:
    """Return the messages in the log."""
    return [json.loads(line)["message"] for line in (directory / "logs" / "expert.log").read_text().splitlines()]


@pytest.mark.parametrize(
    "statement",
    [
        "import structlog; structlog.get_logger().info('x')",
        "import structlog; structlog.stdlib.get_logger().info('x')",
        "from structlog import get_logger; get_logger().info('x')",
        "from structlog import *; get_logger().info('x')",
        "from structlog.stdlib import get_logger; get_logger().info('x')",
        "import structlog._config; structlog._config.get_logger().info('x')",
        "from structlog._config import get_logger; get_logger().info('x')",
        "import structlog.testing; structlog.get_logger().info('x')",
        "from structlog import stdlib; stdlib.get_logger().info('x')",
        "from structlog import dev; import structlog; structlog.get_logger().info('x')",
        "import structlog; vars(structlog); getattr(structlog, 'getLogger')().info('x')",
    ],
)
def test_structlog_finds_the_logger_however_it_is_imported(python: str, tmp_path: Path, statement: str) -> None:
    """The configuration that waits is there before anybody can ask structlog for a logger."""
    run(python, f"{LOGGER}{statement}\nlogger.close()", tmp_path)
    assert messages(tmp_path) == ["x"]


def test_a_later_configuration_of_the_user_wins(python: str, tmp_path: Path) -> None:
    """`structlog.configure` after `MetaLogger` counts, as it does when structlog is loaded already."""
    code = f"{LOGGER}import structlog\nstructlog.configure(processors=[lambda *_: 'mine'])\n"
    assert run(python, f"{code}print(len(structlog.get_config()['processors']))", tmp_path) == "1\n"


def test_the_capture_does_not_open_it(python: str, tmp_path: Path) -> None:
    """Neither a record of logging, nor a look at the capture, nor a processor opens structlog; a change is seen."""
    code = f"""
import logging, sys, time
{LOGGER}
def unopened():
    return type(sys.modules["structlog"]).__name__ == "UnopenedPackage" and "structlog._config" not in sys.modules
look = logger._logger.pipeline.on_serve
logging.getLogger("a").error("record", exc_info=True, stack_info=True)
logging.getLogger().handlers.clear()
look()
MetaLogger(log_dir="other", log_to_console=False, processors=[lambda _, __, event: event]).info("m")
print(unopened(), len(logging.getLogger().handlers))
import structlog
early = structlog.get_logger().bind(a=1)
structlog.reset_defaults()
look()
early.info("early")
structlog.get_logger().info("late")
structlog.configure(logger_factory=structlog.PrintLoggerFactory())
look()
structlog.get_logger().info("later")
logger.close()
"""
    assert run(python, code, tmp_path) == "True 1\n"
    assert messages(tmp_path) == ["record", "early", "late", "later"]


def test_an_earlier_import_is_left_alone(python: str, tmp_path: Path) -> None:
    """A program that has imported structlog itself has the same module, configured at once."""
    code = f"import structlog\nbefore = structlog, type(structlog), set(vars(structlog))\n{LOGGER}import sys\n"
    check = (
        "print(before == (sys.modules['structlog'], type(structlog), set(vars(structlog))), structlog.is_configured())"
    )
    assert run(python, code + check, tmp_path) == "True True\n"


def test_the_package_is_whole_after_its_first_use(python: str, tmp_path: Path) -> None:
    """Names, modules, types and documentation are those of a program that never met the logger."""
    show = """
import sys, structlog
structlog.get_logger
print(sorted(dir(structlog)), type(structlog), structlog.__doc__, structlog.twisted, structlog.__version__)
print(sorted(m for m in sys.modules if m.split('.')[0] in ('structlog', 'rich', 'pygments')))
"""
    assert run(python, f"import metaexpert.logger\nmetaexpert.logger.MetaLogger\n{show}", tmp_path) == run(
        python, show, tmp_path
    )


@pytest.mark.parametrize("first", ["dir(structlog)", "structlog.twisted", "hasattr(structlog, 'nonsense')"])
def test_questions_about_the_package_get_the_usual_answers(python: str, tmp_path: Path, first: str) -> None:
    """`dir`, a module that needs a missing library, and a name that does not exist."""
    code = f"import structlog\nprint({first})"
    assert run(python, f"{LOGGER}{code}", tmp_path) == run(python, code, tmp_path)


def test_a_name_that_is_replaced_stays_replaced(python: str, tmp_path: Path) -> None:
    """A test double that is put into the package before its first use is not overwritten by its start."""
    code = (
        f"{LOGGER}import structlog\nstructlog.get_logger = len\nprint(structlog.configure, structlog.get_logger is len)"
    )
    assert run(python, code, tmp_path).endswith("True\n")


def test_rich_tracebacks_still_work(python: str, tmp_path: Path) -> None:
    """`structlog.dev.ConsoleRenderer` prints tracebacks by rich in a program that wants it."""
    code = f"""{LOGGER}
import structlog
assert type(structlog.dev.default_exception_formatter).__name__ == "RichTracebackFormatter"
structlog.configure(processors=[structlog.dev.ConsoleRenderer()], wrapper_class=structlog.BoundLogger,
                    logger_factory=structlog.PrintLoggerFactory())
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().error("failed", exc_info=True)
"""
    assert "╭" in run(python, code, tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fresh interpreter for each module would take minutes")
def test_every_module_can_be_the_first_one(python: str, tmp_path: Path) -> None:
    """Each module of structlog can be imported alone while the start of the package waits, and the package after it."""
    code = """
import os, pkgutil
from importlib import import_module
from importlib.util import find_spec
import metaexpert.logger.system.lazy_structlog
names = [module.name for module in pkgutil.iter_modules(find_spec("structlog").submodule_search_locations)]
failed = []
for name in names:
    if name in ("twisted", "_greenlets"):  # they need other libraries
        continue
    child = os.fork()
    if child == 0:
        try:
            import_module(f"structlog.{name}")
            import structlog
            structlog.wrap_logger(structlog.ReturnLogger()).bind()
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1] != 0:
        failed.append(name)
print(len(names) > 15, failed)
"""
    assert run(python, code, tmp_path) == "True []\n"


#: What threads do at the same time, in a fresh interpreter.
THREADS = """
import sys, threading
sys.setswitchinterval(1e-6)
found, errors = [], []
def work(statement):
    start.wait()
    try:
        exec(statement)
    except BaseException as error:
        errors.append((statement, error))
start = threading.Barrier(len(statements))
threads = [threading.Thread(target=work, args=(statement,)) for statement in statements]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(50)
import structlog
structlog.get_logger().info("x")
print(errors, len(set(found)), len(found))
"""
OURS = [
    "from metaexpert.logger import MetaLogger; MetaLogger(log_dir='logs', log_to_console=False)",
    "from metaexpert.logger.bound import BoundLogger; found.append(BoundLogger.__base__)",
]
PACKAGE = [
    "import structlog; found.append(structlog.BoundLoggerBase)",
    "from structlog import BoundLoggerBase; found.append(BoundLoggerBase)",
]
MODULES = [
    "from structlog.testing import capture_logs",
    "from structlog.stdlib import BoundLogger; found.append(BoundLogger.__base__)",
    "import structlog.dev; structlog.dev.ConsoleRenderer()",
    "from structlog._base import BoundLoggerBase; found.append(BoundLoggerBase)",
]


@pytest.mark.parametrize("turn", range(4))
def test_threads_may_import_structlog_and_the_logger_at_the_same_time(python: str, tmp_path: Path, turn: int) -> None:
    """Whichever comes first, there is one package, complete for everybody, and it knows the logger."""
    # Plain imports of structlog's modules, without its package, by threads at once fail in structlog alone.
    statements = [*OURS, *PACKAGE]
    code = f"statements = {statements[turn:] + statements[:turn]!r}\n{THREADS}"
    assert run(python, code, tmp_path) == "[] 1 3\n"
    assert messages(tmp_path) == ["x"]


@pytest.mark.parametrize("turn", range(0, 6, 2))
def test_threads_may_use_the_package_that_waits(python: str, tmp_path: Path, turn: int) -> None:
    """Threads that ask the waiting package for names and modules at the same time all get them."""
    statements = [*PACKAGE, *MODULES]
    code = f"{LOGGER}statements = {statements[turn:] + statements[:turn]!r}\n{THREADS}"
    assert run(python, code, tmp_path) == "[] 1 4\n"
    assert messages(tmp_path) == ["x"]
