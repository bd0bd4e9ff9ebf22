"""Standard streams that are closed, broken, full, hung up or odd: the files have everything, the program goes on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX descriptors and terminals")

BURST = """
from metaexpert.logger import MetaLogger
import os, sys
logger = MetaLogger()
for number in range(200):
    logger.error("Preis 5 € → 日本 \\U0001f680", number=number)
    if number == 100:
        {fault}
assert logger.close()
stats = logger.stats()
assert stats["written"] >= 200 and stats["failed"] == 0, stats
{after}
"""


@pytest.mark.parametrize(
    "fault",
    [
        "sys.stderr.close()",
        "os.close(2)",
        "os.close(1); os.close(2); sys.stdout = sys.stderr = None",
        "sys.stderr = object()",
        "sys.stderr.detach()",
        "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)",
        "os.dup2(os.pipe()[1], 2)",
        "os.close(2); os.open('mine', os.O_CREAT | os.O_WRONLY)",
    ],
)
def test_a_stream_that_breaks_while_it_is_used(program: Any, logs: Callable[..., Any], fault: str) -> None:
    """Nothing is raised, nothing waits, every entry is in the files."""
    program(BURST.format(fault=fault, after="os._exit(0)"))  # Python itself fails to flush such a stream at exit
    assert logs().numbers() == logs().numbers("errors.log") == list(range(200))


@pytest.mark.parametrize(
    "kind", ["RuntimeError('mine')", "ValueError('closed')", "OSError(5, 'gone')", "MemoryError()"]
)
def test_a_stream_of_ones_own_that_raises(program: Any, logs: Callable[..., Any], kind: str) -> None:
    """Whatever its write raises, the call does not; the console is switched off, or goes on at the next text."""
    fault = f"sys.stderr = type('Mine', (), dict(write=lambda *_: (_ for _ in ()).throw({kind})))()"
    program(BURST.format(fault=fault, after="sys.stderr = sys.__stderr__"))
    assert logs().numbers() == list(range(200))


@pytest.mark.parametrize("encoding", ["ascii:strict", "cp1252", "utf-16", "shift_jis", "utf-8:strict"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_an_encoding_that_cannot_hold_it(program: Any, logs: Callable[..., Any], encoding: str, form: str) -> None:
    """What the terminal cannot show is escaped there; lone surrogates too; the files have it as it was."""
    code = f"""
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(console_format={form!r})
        logger.info("Preis 5 € → 日本", number=1, odd="\\ud83d", name="\\x85")
        assert logger.close()
        assert logger.stats()["dropped_by_route"] == {{}}
        """
    with Path("console").open("wb") as console:
        program(code, env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}, stderr=console)
    (entry,) = logs().entries()
    assert (entry["message"], entry["odd"]) == ("Preis 5 € → 日本", "\ufffd")
    shown = Path("console").read_bytes()
    assert shown.count("Preis".encode(encoding.partition(":")[0]).removeprefix(b"\xff\xfe")) == 1


def test_a_terminal_that_hangs_up(program: Any, logs: Callable[..., Any]) -> None:
    """The window is closed, SIGHUP is ignored as under nohup: EIO from then on; the files go on."""
    main, side = os.openpty()
    process = program.start(
        """
        import signal, sys
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        from metaexpert.logger import MetaLogger
        logger = MetaLogger()
        logger.info("m", number=0)
        logger.flush()
        print("ready", flush=True)
        sys.stdin.read()
        for number in range(1, 300):
            logger.error("m", number=number)
        assert logger.close()
        """,
        stderr=side,
        stdin=-1,
    )
    os.close(side)
    process.stdout.readline()
    os.close(main)
    process.stdin.close()
    process.stdin = None
    program.finish(process)
    assert logs().numbers() == list(range(300))


@pytest.mark.parametrize("options", ["", "console_format='json'", "json_logging=True, async_logging=False"])
def test_only_a_console_and_it_is_broken(program: Any, options: str) -> None:
    """log_to_file=False and a reader that has gone: no exception, and what was not shown is counted."""
    program(
        f"""
        import os, sys
        reader, writer = os.pipe()
        os.dup2(writer, 2)
        os.close(writer)
        os.close(reader)
        from metaexpert.logger import MetaLogger
        logger = MetaLogger(log_to_file=False, {options})
        for number in range(100):
            logger.error("m", number=number)
        logger.flush(1)
        assert logger.stats()["written"] >= 0
        logger.close()
        os._exit(0)
        """
    )
    assert not Path("logs").exists()
