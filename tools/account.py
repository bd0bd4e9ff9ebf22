"""Account for every entry of a soak test: none lost, none doubled, none torn, and what was dropped was announced.

    python tools/account.py TRUTH DIRECTORY...

Standard library only and nothing of ours, so that a fault of the logger or of the reader cannot hide itself. The
directories, with all below them, hold log files, backups and compressed backups by the logger's default names. TRUTH
is a directory of JSON files, each about one expert of one run of a process:

    {"expert": "e7", "run": "2", "procid": "123", "calls": 1234, "killed": false, "lossless": true, "dropped": 0}

`calls` have returned; call number *n* had the fields ``run`` and ``number`` = *n*, level ERROR when *n* mod 7 is 0, and
was a trade when it is 1. A run that was killed may have one more. A run that is not `lossless` may miss entries, as
many as its ``log.dropped`` say, and have some, `failed`, that are not in all of their files. Prints what is wrong, one
fact a line, then a summary; exit code 1 if something is.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILES = ("expert.log", "trades.log", "errors.log")
#: Most calls that are under way in a process at once.
UNDER_WAY = 3


class Found:
    """What the files hold."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.entries = 0
        #: By file, run and expert: how often each number is there.
        self.numbers: dict[tuple[str, str, str], Counter[int]] = defaultdict(Counter)
        #: By expert: what its `log.dropped` say.
        self.dropped: Counter[str] = Counter()
        #: By process: the sequence ids of all files; by file and process: how often each is there.
        self.sequences: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.repeats: Counter[tuple[str, str, str, int]] = Counter()

    def read(self, directory: Path) -> None:
        """Read all files below *directory*."""
        for base in FILES:
            for path in sorted(directory.rglob(f"{base}*")):
                for entry in self._lines(path):
                    self._take(base, entry)

    def _lines(self, path: Path) -> Iterator[dict[str, Any]]:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        *lines, rest = data.split(b"\n")
        if rest:
            self.problems.append(f"{path}: ends in a torn line: {rest[:80]!r}")
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
            except ValueError:
                self.problems.append(f"{path}:{number}: no entry: {line[:80]!r}")
            else:
                yield entry

    def _take(self, base: str, entry: dict[str, Any]) -> None:
        self.entries += base == "expert.log"
        if "run" in entry:
            self.numbers[base, entry["run"], entry["expert_name"]][entry["number"]] += 1
        elif entry["message"] == "log.dropped" and base == "expert.log":
            self.dropped[entry["expert_name"]] += entry["dropped"]
        process = (entry["hostname"], entry["procid"])
        self.sequences[process].add(entry["sequence_id"])
        self.repeats[base, *process, entry["sequence_id"]] += 1


def wanted(base: str, number: int) -> bool:
    """Whether call *number* goes to the file *base*."""
    return {"expert.log": True, "errors.log": number % 7 == 0, "trades.log": number % 7 == 1}[base]


def account(truth: dict[str, Any], found: Found) -> Iterator[str]:
    """Yield what is wrong with one expert of one run."""
    expert, run, calls = truth["expert"], truth["run"], truth["calls"]
    who = f"expert {expert} run {run}"
    files = {base: found.numbers[base, run, expert] for base in FILES}
    anywhere = {number for numbers in files.values() for number in numbers if number < calls}
    partly: dict[int, str] = {}
    for base, numbers in files.items():
        doubled = sorted(number for number, times in numbers.items() if times > 1)
        if doubled:
            yield f"{who}: {base}: {len(doubled)} entries doubled, the first is number {doubled[0]}"
        last = calls + bool(truth["killed"])
        strange = sorted(number for number in numbers if number >= last or not wanted(base, number))
        if strange:
            yield f"{who}: {base}: {len(strange)} entries that were never logged there, such as number {strange[0]}"
        source = set(range(calls)) if truth["lossless"] else anywhere
        missing = sorted(number for number in source if wanted(base, number) and number not in numbers)
        if missing and truth["lossless"]:
            yield f"{who}: {base}: {len(missing)} of {calls} lost: {missing[0]} to {missing[-1]}"
        partly.update(dict.fromkeys(missing, base))
    if not truth["lossless"] and not truth["killed"]:
        yield from balance(who, truth, len(anywhere), partly, found.dropped[expert])


def balance(who: str, truth: dict[str, Any], entries: int, partly: dict[int, str], announced: int) -> Iterator[str]:
    """Yield what does not add up for one who may drop: calls, entries, announcements, and its own counts."""
    if entries + announced != truth["calls"]:
        yield f"{who}: {truth['calls']} calls, but {entries} entries and {announced} announced as dropped"
    if truth.get("dropped", announced) != announced:
        yield f"{who}: counts {truth['dropped']} as dropped, but announced {announced}"
    if truth.get("failed", 0) != len(partly):
        some = ", ".join(f"number {number} not in {base}" for number, base in sorted(partly.items())[:3])
        counted = f"counts {truth.get('failed', 0)} as failed"
        yield f"{who}: {counted}, but {len(partly)} are not in all of their files: {some}"


def count_gaps(found: Found, killed: set[str]) -> Iterator[str]:
    """Yield which processes have gaps in their sequence, or an id twice in one file."""
    for (host, procid), ids in found.sequences.items():
        gaps = sorted(set(range(1, max(ids) + 1)) - ids)
        # Each thread of a process that was killed may have taken a number for a call that did not return.
        if len(gaps) > (UNDER_WAY if procid in killed else 0):
            yield f"process {procid} on {host}: {len(gaps)} gaps in its sequence, the first at {gaps[0]}"
    for (base, host, procid, number), times in found.repeats.items():
        if times > 1:
            yield f"process {procid} on {host}: {base}: sequence id {number} is there {times} times"


def main(truths: Path, directories: list[Path]) -> int:
    """Print what is wrong; return the exit code."""
    found = Found()
    for directory in directories:
        found.read(directory)
    known = [json.loads(path.read_bytes()) for path in sorted(truths.glob("*.json"))]
    problems = [*found.problems, *(problem for truth in known for problem in account(truth, found))]
    problems += count_gaps(found, {truth["procid"] for truth in known if truth["killed"]})
    strangers = {(run, expert) for _, run, expert in found.numbers} - {(t["run"], t["expert"]) for t in known}
    problems += [f"nobody knows of run {run} of expert {expert}" for run, expert in sorted(strangers)]
    for problem in problems[:50]:
        print(problem)
    calls, dropped = sum(truth["calls"] for truth in known), sum(found.dropped.values())
    print(f"{calls} calls, {found.entries} entries, {dropped} dropped and announced, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]]))
