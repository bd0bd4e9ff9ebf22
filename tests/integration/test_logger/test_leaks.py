"""Nothing grows without end and nothing stays behind: memory, descriptors, threads, files, maps.

METAEXPERT_LEAK_ENTRIES says over how many entries memory is watched (see CONTRIBUTING.md).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

NIGHTLY = bool(os.environ.get("METAEXPERT_NIGHTLY"))
ENTRIES = int(os.environ.get("METAEXPERT_LEAK_ENTRIES", 10_000_000 if NIGHTLY else 200_000))


@pytest.mark.soak
@pytest.mark.timeout(3600 if NIGHTLY else 300)
def test_memory_is_flat(program: Any) -> None:
    """Within five per cent from a tenth of the way on, with all kinds of calls, rotation and trades going on."""
    said = program(
        f"""
        import gc, os, sys
        from metaexpert.logger import MetaLogger, log_context
        ENTRIES = {ENTRIES}
        logger = MetaLogger(log_to_console=False, backup_count=2, overflow="block", overflow_timeout=60)
        trade = logger.trade
        def resident():
            gc.collect()
            with open("/proc/self/smaps_rollup") as file:  # exact, as statm is not
                return next(int(line.split()[1]) for line in file if line.startswith("Anonymous:"))
        def work(start, stop):
            for number in range(start, stop, 5):
                logger.info("Tick", number=number, price=number * 0.1)
                trade.info("Order filled", order_id=f"ord-{{number}}", size=1)
                logger.bind(symbol=f"S{{number % 1000}}").warning(f"message {{number}}", values=[1, 2, {{"a": None}}])
                with log_context(strategy_id=number):
                    logger.info("in a context %s", number)
                logger.error("bad", reason=object, **{{f"field{{number % 5000}}": number}})
        work(0, ENTRIES // 10)
        logger.flush()
        before = resident()
        seen = []
        for part in range(1, 10):
            work(ENTRIES // 10 * part, ENTRIES // 10 * (part + 1))
            logger.flush()
            seen.append(resident())
        print(before, seen, file=sys.stderr)
        assert max(seen) <= before * 1.05, (before, seen)
        stats = logger.stats()
        assert stats["written"] >= ENTRIES and stats["dropped"] == stats["failed"] == 0, stats
        logger.close()
        """,
        patience=3500 if NIGHTLY else 280,
    )
    print(said)


LIFE = """
    import gc, os, sys, threading, time
    from pathlib import Path
    from metaexpert.logger import MetaLogger
    def held():
        gc.collect()
        fds = sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if int(fd) > 2
                     and os.path.exists(f"/proc/self/fd/{fd}"))
        maps = [line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".metaexpert" in line]
        deadline = time.monotonic() + 5  # the system forgets a thread a moment after it has ended
        while len(os.listdir("/proc/self/task")) > threading.active_count() and time.monotonic() < deadline:
            time.sleep(0.001)
        return fds, maps, [thread.name for thread in threading.enumerate()], len(os.listdir("/proc/self/task"))
    def life(number, **options):
        logger = MetaLogger(log_to_console=False, **options)
        for turn in range(30):
            logger.trade.error("m", number=turn)
        return logger
"""


@pytest.mark.soak
@pytest.mark.parametrize(
    "options",
    [
        "{}",
        "dict(async_logging=False)",
        "dict(max_file_size=3_000, compress_backups=True, max_total_size=50_000)",
        "dict(fsync='interval', capture_stdlib=False)",
        "dict(log_to_file=False, log_to_console=True, console_level='CRITICAL')",
        "dict(journal_size=4096, overflow='block')",
    ],
)
def test_nothing_is_left_after_close(program: Any, options: str) -> None:
    """No descriptor, thread or map; of the private directory no more than its locks; many lives cost no memory."""
    program(
        LIFE
        + f"""
    options = {{"log_to_console": False, **{options}}}
    def quiet(number):
        logger = MetaLogger(log_dir=f"logs/{{number % 3}}", **options)
        for turn in range(30):
            logger.trade.error("m", number=turn)
        assert logger.close()
    for number in range(6):
        quiet(number)
    before = held()
    assert before[1] == [] and before[2] == ["MainThread"], before
    def resident():
        return next(int(line.split()[1]) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()
                    if line.startswith("Anonymous:"))
    for number in range(60):  # until the allocator has all the room that one life after another takes
        quiet(number)
    memory = resident()
    for number in range(50):
        quiet(number)
    assert held() == before, (before, held())
    assert resident() < memory + 2_000, (memory, resident())
    for place in Path("logs").glob("*/.metaexpert"):
        assert {{path.name for path in place.iterdir()}} <= {{"lock", "archive", "index"}}, list(place.iterdir())
    """,
    )


@pytest.mark.soak
def test_nothing_is_left_after_faults(program: Any) -> None:
    """Directories that vanish, files that cannot be opened, forks and recoveries: as many descriptors as before."""
    program(
        LIFE
        + """
    import shutil
    def quiet(number):
        logger = life(number, max_file_size=3_000)
        if number % 4 == 0:
            shutil.rmtree("logs", ignore_errors=True)
        elif number % 4 == 1:
            files = [Path("logs", name) for name in ("expert.log", "trades.log", "errors.log")]
            for path in files:
                while not path.is_dir():  # the writing thread may make it anew in between
                    path.unlink(missing_ok=True)
                    try:
                        path.mkdir()
                    except FileExistsError:
                        pass
            logger.error("m")
            assert not logger.flush()
            for path in files:
                shutil.rmtree(path, ignore_errors=True)  # a rotation may have moved it
        elif number % 4 == 2:
            child = os.fork()
            if not child:
                logger.error("child")
                os._exit(0)
            os.waitpid(child, 0)
        logger.trade.error("m")
        assert logger.close(5)
    for number in range(8):
        quiet(number)
    before = held()
    for number in range(40):
        quiet(number)
    assert held() == before, (before, held())
    """,
        patience=50,
    )


def test_a_logger_that_is_never_closed_ends_with_the_program(program: Any, logs: Callable[..., Any]) -> None:
    """Dropped without close: its entries are there, and its journal is gone."""
    program(
        """
        from metaexpert.logger import MetaLogger
        def forget():
            logger = MetaLogger(log_to_console=False)
            for number in range(100):
                logger.info("m", number=number)
        forget()
        """
    )
    assert logs().numbers() == list(range(100))
    assert {path.name for path in Path("logs/.metaexpert").iterdir()} == {"lock"}
