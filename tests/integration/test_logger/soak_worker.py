"""One process of the soak test: several experts on two threads, a signal handler that logs, and forks now and then.

After each call the number of calls is in a mapped file that outlives the process, so that one who was killed can be
held to account too (see `tools/account.py`).
"""

from __future__ import annotations

import atexit
import json
import mmap
import os
import random
import signal
import struct
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from metaexpert.logger import BoundLogger, MetaLogger


class Expert:
    """One expert and its numbers. For one thread at a time."""

    def __init__(self, name: str, run: str, truths: Path, logger: BoundLogger) -> None:
        self.name, self.run, self.logger = name, run, logger
        self._truths = truths
        path = truths / f"{name}.{run}.count"
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._count = mmap.mmap(file.fileno(), 8)
        trade = logger.trade
        self._methods = [logger.error, trade.info, logger.debug, logger.info, logger.warning, logger.info, logger.info]
        self.calls = 0

    def call(self) -> None:
        """Log the next entry."""
        number = self.calls
        self._methods[number % 7]("m", run=self.run, number=number, filler="x" * (number % 50))
        self.calls += 1
        self._count[:] = struct.pack("<Q", self.calls)

    def tell(self, **facts: Any) -> None:
        """Write down what is true of this run."""
        truth = {"expert": self.name, "run": self.run, "procid": str(os.getpid()), "calls": self.calls, **facts}
        part = self._truths / f"{self.name}.{self.run}.part"
        part.write_text(json.dumps(truth))
        part.rename(part.with_suffix(".json"))


def fork(experts: list[Expert], number: int) -> int:
    """Fork a child that logs a little on its parent's loggers and ends well. Returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        for expert in experts[:2]:
            run = f"{expert.run}.{number}"
            own = Expert(expert.name, run, expert._truths, expert.logger)
            for _ in range(20):
                own.call()
            complete = expert.logger.close(60)
            own.tell(killed=False, lossless=True, complete=complete)
    finally:
        os._exit(0)


def main(options: dict[str, Any]) -> None:
    """Log until the file `stop` is there."""
    truths, stop, run = Path(options["truths"]), Path(options["stop"]), options["run"]
    dice = random.Random(run)
    warnings.simplefilter("ignore", DeprecationWarning)  # it forks with threads of its own
    experts = [
        Expert(name, run, truths, MetaLogger(expert_name=name, install=False, **options["logger"]))
        for name in options["experts"]
    ]
    interrupted, *working = experts
    ending = threading.Event()

    def work(mine: list[Expert]) -> None:
        while not ending.is_set():
            for expert in mine:
                expert.call()
            time.sleep(options["pause"])

    inside = [False]

    def handler(number: int, frame: object) -> None:
        if not inside[0]:  # another signal may come while this one is handled, and would take the same number
            inside[0] = True
            interrupted.call()
            inside[0] = False

    signal.signal(signal.SIGALRM, handler)
    atexit.register(signal.signal, signal.SIGALRM, signal.SIG_IGN)  # the last one may be on its way to another thread
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    threads = [threading.Thread(target=work, args=(working[part::2],)) for part in range(2)]
    for thread in threads:
        thread.start()
    print(os.getpid(), flush=True)
    forks = 0
    while not stop.exists():
        time.sleep(dice.uniform(0.2, 0.6))
        working[0].logger.flush(1)
        if options["forks"] and dice.random() < 0.3:
            forks += 1
            os.waitpid(fork(working, forks), 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    ending.set()
    for thread in threads:
        thread.join()
    for expert in experts:
        complete = expert.logger.close(60)
        stats = expert.logger.stats()
        lossless = options["logger"]["overflow"] == "block"
        counts = {"dropped": stats["dropped"], "failed": stats["failed"]}
        expert.tell(killed=False, lossless=lossless, complete=complete, **counts, stats=stats)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
