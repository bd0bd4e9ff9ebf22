"""`python -m benchmarks.reader.trader`: the questions of a trader, how long they take and how much is typed for them.

Each question is asked of this reader, of grep with jq, and of lnav where it is installed. The commands are the shortest
that answer, typed in the directory of the logs; jq reads trades.log where that suffices. Other tools answer a part of
some questions only, which is noted.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks.reader import data, questions

_LNAV: Final = "lnav -n *.log* -c ';SELECT {what} FROM metaexpert_log {rest}'"


class Ask(NamedTuple):
    """A question to one tool: what is typed, and what the answer lacks."""

    question: str
    tool: str
    typed: str
    lacks: str = ""


def asks(known: dict[str, Any]) -> Iterator[Ask]:
    """Yield the questions."""
    order, day, minute = known["order"], known["since"][:10], known["since"][:16]
    question = "Is it alive, how did it end?"
    yield Ask(question, "metaexpert", "metaexpert logs why .")
    yield Ask(question, "grep, jq", "tail -1 expert.log|jq .timestamp", "how it ended")
    question = "What does it hold?"
    yield Ask(question, "metaexpert", "metaexpert logs why .")
    holds = (
        "jq -n 'reduce inputs as $e({};if $e.position_size then .[$e.symbol]=$e.position_size else . end)' trades.log"
    )
    yield Ask(question, "grep, jq", holds, "positions that follow from fills")
    question = "What were the last errors?"
    yield Ask(question, "metaexpert", "metaexpert logs . -l error -n 20")
    yield Ask(question, "grep, jq", "tail -20 errors.log|jq -c '[.timestamp,.message,.exception.value]'")
    question = "What happened to this order?"
    yield Ask(question, "metaexpert", f"metaexpert logs order {order} .")
    yield Ask(
        question, "grep, jq", f"rg -zIN {order}|jq -c '[.timestamp,.message,.size,.price]'|sort -u", "its other ids"
    )
    yield Ask(question, "lnav", _LNAV.format(what="log_body", rest=f'WHERE order_id="{order}"'))
    question = "Why was there no trade at that time?"
    yield Ask(question, "metaexpert", f"metaexpert logs why . --symbol BTCUSDT --at {minute}")
    yield Ask(question, "grep, jq", f"rg -zIN {minute}|jq -c 'select(.symbol==\"BTCUSDT\")'|grep decision_id")
    question = "What is today's result?"
    yield Ask(question, "metaexpert", f"metaexpert logs trades . -n 0 --since {day}")
    result = f"grep {day} trades.log|jq -s 'group_by(.symbol)|map([.[0].symbol,(map(.pnl//0)|add)])'"
    yield Ask(question, "grep, jq", result, "copies, exact sums, currencies")
    question = "What were the fees, by currency?"
    yield Ask(question, "metaexpert", "metaexpert logs trades . -n 0")
    yield Ask(question, "grep, jq", "jq -n '[inputs.fee//0]|add' trades.log", "copies, exact sums, currencies")
    question = "Where were entries lost?"
    yield Ask(question, "metaexpert", "metaexpert logs stats .")
    yield Ask(question, "grep, jq", "rg -zIN log.dropped|jq .dropped", "gaps in the numbers")


def main() -> None:
    """Make the data, ask, print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reader.trader", description=__doc__)
    parser.add_argument("--size", type=int, default=1000, help="megabytes of logs, inflated (default: 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each command is run; the median counts")
    parser.add_argument("--without", nargs="*", default=[], help="tools that are not asked")
    chosen = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="trader-benchmark-"))
    try:
        known = data.make(place / "logs", chosen.size * 1_000_000)
        for path in (place / "logs").iterdir():
            path.read_bytes()  # all tools read from memory
        sys.stdout.write("| question | tool | seconds | processor seconds | keystrokes | not answered |\n")
        sys.stdout.write("| --- | --- | ---: | ---: | ---: | --- |\n")
        for ask in asks(known):
            if ask.tool in chosen.without or (ask.tool == "lnav" and not shutil.which("lnav")):
                continue
            sys.stdout.write(_row(ask, place / "logs", chosen.rounds))
            sys.stdout.flush()
    finally:
        shutil.rmtree(place)


def _row(ask: Ask, directory: Path, rounds: int) -> str:
    typed = ask.typed.replace("metaexpert ", f"{sys.executable} -m metaexpert ", 1)
    case = questions.Case(ask.question, ask.tool, ["sh", "-c", f"cd {directory} && {typed}"])
    runs = [questions.run(case) for _ in range(rounds)]
    seconds = median(run.seconds if run.seconds is not None else questions.PATIENCE for run in runs)
    told = f"{seconds:.2f}" if seconds < questions.PATIENCE else f"> {seconds:.0f}"
    cpu = median(run.cpu for run in runs)
    return f"| {ask.question} | {ask.tool} | {told} | {cpu:.2f} | {len(ask.typed) + 1} | {ask.lacks} |\n"


if __name__ == "__main__":
    main()
