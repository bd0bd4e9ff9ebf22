"""The alert about an incident: one sentence, and below it the page of `metaexpert logs why`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.encoding.line import Clock, Header
from metaexpert.logs.entry import written_by
from metaexpert.logs.library import Logs, open_logs
from metaexpert.logs.runs.ends import marked
from metaexpert.logs.runs.model import Run
from metaexpert.logs.runs.page import ENDS, name_of, reason_lines, time_of
from metaexpert.logs.runs.why import Verdict, reason_of, verdict

#: Of larger logs only what is near the end is read: an alert must not wait for gigabytes.
_MOST_READ: Final = 64 * 1024 * 1024
_NEAR: Final = timedelta(hours=1)


@dataclass(frozen=True)
class Report:
    """What is told of an incident.

    Attributes:
        expert: Name of the expert, or of its directory where no entry tells.
        text: One sentence.
        entry: The entry that the alert consists of.
    """

    expert: str
    text: str
    entry: dict[str, Any]


def report(directory: Path, name: str, facts: Mapping[str, Any], header: Header, *, tried: bool) -> Report:
    """Return what is told of an incident.

    Args:
        directory: The log directory.
        name: The incident.
        facts: Of an end, those of ``log.died``; else ``hostname``, ``procid``, and ``what`` happens.
        header: Header fields of the entry.
        tried: Whether it may have been told before.
    """
    is_end = "reason" in facts
    host, procid = (
        str(facts.get(key, "")) for key in (("died_hostname", "died_procid") if is_end else ("hostname", "procid"))
    )
    alive = str(facts.get("last_alive") or facts.get("since") or "")
    found = _verdict(directory, (host, procid), alive)
    run = found.run
    expert = name_of(run) if run is not None and run.experts else directory.name or str(directory)
    page: list[str] = []
    if run is not None:
        if is_end:
            run.end = marked(facts)
        page = list(reason_lines(found, run, UTC))
    text = _sentence(expert, facts, run, alive) if is_end else f"{expert} {facts.get('what', '')}"
    entry = header.stamp(Clock()(), "critical", "log", 0, text)
    entry |= {"appname": schema.printable_ascii(expert, 48), "hostname": host, "procid": procid, "expert_name": expert}
    entry |= {"reason": str(facts.get("reason", facts.get("kind", ""))), "directory": str(directory), "incident": name}
    if recovered := facts.get("recovered"):
        entry["recovered"] = recovered
    if is_end and found.recorded:
        entry["recorder"] = ", ".join(found.recorded)
    if tried:
        entry["possible_repeat"] = True
    if page:
        entry["verdict"] = "\n".join(page)
    return Report(expert, text, entry)


def _sentence(expert: str, facts: Mapping[str, Any], run: Run | None, alive: str) -> str:
    reason = str(facts["reason"])
    words = ENDS.get(reason, (f"ended: {reason}", ""))[0]
    when = f" at {time_of(datetime.fromisoformat(alive), UTC)}" if alive else ""
    why = reason_of(run) if run is not None else str(facts.get("error") or facts.get("signal") or "")
    return f"{expert} {words}{when}" + (f": {why}" if why else "")


def _verdict(directory: Path, process: tuple[str, str], alive: str) -> Verdict:
    """Return what the log tells of the run of *process* that began last before *alive*; nothing where it tells none."""
    try:
        logs = open_logs(directory)
        if sum(path.stat().st_size for path in directory.glob("*.log*")) > _MOST_READ:
            logs = logs.filter(since=(datetime.fromisoformat(alive) if alive else datetime.now(UTC)) - _NEAR)
        return verdict(logs, _of(process, alive))
    except (OSError, ValueError):  # the files are gone or cannot be read: what the owner file tells remains
        return Verdict()


def _of(process: tuple[str, str], alive: str) -> Callable[[Run], bool]:
    latest = datetime.fromisoformat(alive) + timedelta(seconds=1) if alive else datetime.max.replace(tzinfo=UTC)
    return lambda run: run.process == process and run.start <= latest


def last_entry(logs: Logs, process: tuple[str, ...], host: str) -> datetime | None:
    """Return the time of the last entry of *logs* by one of the processes *process* on *host*."""
    found = logs.filter(grep=written_by(host, *process)).last(1)
    time = getattr(found[-1], "time", None) if found else None
    return time if isinstance(time, datetime) else None
