"""A million entries of a store, streamed in bounded memory."""

import gc
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from victorialogs import VictoriaLogs

from metaexpert.logs import Entry, open_logs
from metaexpert.logs.store import store

FEW = 100_000
#: More than the window holds that recognises repeats.
NIGHTLY = bool(os.environ.get("METAEXPERT_NIGHTLY"))
MANY = 1_000_000 if NIGHTLY else 200_000
#: Megabytes by which ten times the entries may raise the peak. Those alone would take over a gigabyte.
GROWTH = 16
START = datetime(2026, 11, 22, tzinfo=UTC)
STEP = timedelta(milliseconds=7)
#: Tells the peak at the end, on standard error; `getrusage` would tell that of the process it was forked from.
PEAK = """
import atexit, re, sys
from pathlib import Path
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
atexit.register(lambda: print(f"peak: {peak()} MB", file=sys.stderr))
"""
PROGRAMS = {
    "open_logs": f"{PEAK}\nfrom metaexpert.logs import open_logs\n"
    "for entry in open_logs(sys.argv[1]):\n    sys.stdout.write(f'{entry.sequence_id}\\n')",
    "metaexpert logs": f"{PEAK}\nfrom metaexpert.__main__ import main\n"
    "sys.exit(main(['logs', sys.argv[1], '--limit', 'all', '--format', 'json']))",
}
NUMBER = re.compile(rb'(?:"sequence_id":)?([0-9]+)')


class Long(VictoriaLogs):
    """A store with so many entries, each made when it is asked for: their times are known from their numbers.

    Attributes:
        asked: How many it has sent.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count, self.asked = count, 0

    def lines(self, query: str) -> Iterator[bytes]:
        """Yield the first rows of the stretch that a query names."""
        if query.endswith("as first"):
            yield b'{"first":"%b"}\n' % _time(0)
            return
        low, high = (re.search(rf"_time:{sign}(\S+)", query) for sign in (">=", "<"))
        limit = re.search(r"limit (\d+)", query)
        assert limit is not None
        first = 0 if low is None else _number(low[1])
        end = self.count if high is None else min(self.count, _number(high[1]))
        for number in range(first, min(end, first + int(limit[1]))):
            self.asked += 1
            yield (
                b'{"_time":"%b","_msg":"Tick","level":"info","hostname":"box","procid":"1","appname":"EmaBot",'
                b'"sequence_id":"%d","price":"70000.5","order_id":"ord-%d"}\n' % (_time(number), number + 1, number)
            )


def _time(number: int) -> bytes:
    return (START + number * STEP).isoformat(timespec="microseconds").replace("+00:00", "Z").encode()


def _number(time: str) -> int:
    """Return the number of the first entry at *time* or after it."""
    return max(0, -((START - datetime.fromisoformat(time)) // STEP))


def read(program: str, count: int) -> tuple[int, float]:
    """Have a program read so many entries, check that it gives each in its place, and return its peak and the rate."""
    began = time.monotonic()
    with Long(count) as server:
        words = [sys.executable, "-c", program, server.address]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stderr is not None
            seen = 0
            for line in child.stdout:
                seen += 1
                found = NUMBER.search(line, max(line.find(b'"sequence_id":'), 0))
                assert found is not None
                assert int(found[1]) == seen
            told = child.stderr.read().decode()
        assert child.returncode == 0, told
        assert seen == count
        assert server.asked < count * 1.2  # pages overlap by the entries of a microsecond
    peak = re.fullmatch(r"peak: (\d+) MB\n", told)
    assert peak is not None, told
    return int(peak[1]), count / (time.monotonic() - began)


def test_a_page_goes_before_the_next_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store is asked, the entries of the page before are gone."""
    alive: list[int] = []

    class Watched(Long):
        def lines(self, query: str) -> Iterator[bytes]:
            gc.collect()
            alive.append(sum(isinstance(thing, Entry) for thing in gc.get_objects()))
            return super().lines(query)

    before = sum(isinstance(thing, Entry) for thing in gc.get_objects())
    monkeypatch.setattr(store, "PAGE", 500)
    with Watched(5000) as server:
        assert sum(1 for _ in open_logs(server.address)) == 5000
    assert len(alive) > 10
    assert max(alive) - before < 10


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a program's memory is told by /proc")
# By day the command alone, which takes in all that `open_logs` does, and writes it besides.
@pytest.mark.parametrize("name", PROGRAMS if NIGHTLY else ["metaexpert logs"])
def test_a_long_answer_takes_bounded_memory(name: str) -> None:
    """A million entries take a program as much memory as a hundred thousand; each comes once, in order."""
    few, _ = read(PROGRAMS[name], FEW)
    most, rate = read(PROGRAMS[name], MANY)
    print(f"{name}: {MANY} entries, {rate:.0f} entries/s, peak {most} MB; {few} MB for {FEW}")
    assert most <= few + GROWTH
