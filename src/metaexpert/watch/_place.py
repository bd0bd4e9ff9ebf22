"""One log directory under watch: its processes, what becomes of them, and the incidents to tell."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from metaexpert.logger import schema
from metaexpert.logger.journal.segment import LOCK_SUFFIX
from metaexpert.logger.journal.watched import DIRECTORY, END_SUFFIX, JOB
from metaexpert.logger.system.descriptors import give_to_owner_above, make_private_directory
from metaexpert.logs.library import open_logs
from metaexpert.logs.recover import recover_logs
from metaexpert.watch import _claims as claims
from metaexpert.watch._housekeeping import Housekeeping
from metaexpert.watch._listing import Listing
from metaexpert.watch._process import Process
from metaexpert.watch._report import last_entry, report
from metaexpert.watch._teller import Teller
from metaexpert.watch.rules import LEAST, Rules, Silence

#: Seconds until something is tried again that the file system did not let us do.
_RETRY: Final = 5.0
_STILL, _HUNG, _SILENT = ".still", ".hung", ".silent"
_KINDS: Final = (END_SUFFIX, _STILL, _HUNG, _SILENT)

Tell = Callable[..., None]


class Place:
    """A log directory.

    Args:
        path: The directory.
        rules: What is told beside bad ends.
        teller: Sends the alerts.
        tell: Called with each event: its name, and fields.
        once: Whether this is a single look, which knows nothing of the time before it.
    """

    def __init__(self, path: Path, rules: Rules, teller: Teller, tell: Tell, *, once: bool = False) -> None:
        self.path = path
        self.bad = False
        self._rules, self._teller, self._tell, self._once = rules, teller, tell, once
        self._private = path / schema.PRIVATE_DIRECTORY
        self._watch = self._private / DIRECTORY
        self._housekeeping: Housekeeping | None = None
        self._files, self._incidents = Listing(self._private), Listing(self._watch)
        self._processes: dict[str, Process] = {}
        #: Incidents that were told, as far as is known here; and when a silence can be told next.
        self._told: set[str] = set()
        self._due: dict[str, float] = {}
        self._children: dict[str, set[str]] = {}
        self._next_try = 0.0
        self._looked_at_entries = 0.0
        self._began = False

    @property
    def living(self) -> int:
        """How many processes log here."""
        return sum(bool(process.procid) for process in self._processes.values())

    def look(self, now: float) -> None:
        """Look once; *now* in seconds of a clock that never steps back."""
        if now < self._next_try:
            return
        try:
            self._refresh()
            self._look_at_processes(now)
            self._judge(now)
            self._tell_incidents()
            self._keep_house(now)
        except FileNotFoundError:
            pass  # deleted meanwhile: the next look or search sees to it
        except OSError as error:
            self._next_try = now + _RETRY
            text = f"{self.path} cannot be watched: {error.strerror or error}"
            self._tell("trouble", directory=str(self.path), text=text)

    def prepare(self) -> None:
        """Have ends noted from now on. A look does it too, and tells when it cannot be done."""
        with contextlib.suppress(OSError):
            self._refresh()

    def _refresh(self) -> None:
        self._files.refresh()
        if DIRECTORY not in self._files.names:
            self._prepare()
        self._incidents.refresh()

    def _prepare(self) -> None:
        """Make the directory of the incidents: from now on ends are noted there."""
        make_private_directory(self._watch)
        give_to_owner_above(self._watch)

    # -- processes --------------------------------------------------------------------------------------------

    def _look_at_processes(self, now: float) -> None:
        names = {name for name in self._files.names if name.endswith(LOCK_SUFFIX)}
        gone = self._processes.keys() - names
        for name in names - self._processes.keys():
            self._processes[name] = Process(self._private / name, now)
        dead = False
        for name, process in self._processes.items():
            if name in gone:
                continue
            known, state = bool(process.procid), process.look(now)
            if not known and process.procid and state == "lives" and self._began:
                self._tell("started", directory=str(self.path), **_who(process))
            dead = dead or state == "ended"
        if dead:
            self._recover()
            self._refresh()
            gone |= self._processes.keys() - self._files.names.keys()
        for name in gone:
            self._forget(self._processes.pop(name))
        self._began = True

    def _recover(self) -> None:
        found = recover_logs([self.path])[self.path]
        if found.entries or found.torn:
            self._tell("recovered", directory=str(self.path), entries=found.entries, torn=found.torn)

    def _forget(self, process: Process) -> None:
        end = f"{process.journal}{END_SUFFIX}"
        if process.procid and end not in self._told and end not in self._incidents.names:
            self._tell("ended", directory=str(self.path), **_who(process))
        self._due = {key: due for key, due in self._due.items() if not key.startswith(process.journal)}
        self._children.pop(process.journal, None)

    # -- rules ------------------------------------------------------------------------------------------------

    def _judge(self, now: float) -> None:
        rules = self._rules
        entries = rules.hang is not None and now - self._looked_at_entries >= rules.hang / 20
        if entries:
            self._looked_at_entries = now
        for process in self._processes.values():
            if process.procid:
                if entries:
                    process.look_at_entries(now, self._files.names)
                self._judge_life(process, now)
                self._judge_entries(process, now)
        self._judge_silence(now)

    def _judge_life(self, process: Process, now: float) -> None:
        """Judge by the heartbeat: does the process as a whole stand still?"""
        still = process.silent_for() if self._once else now - process.alive_at
        name = f"{process.journal}{_STILL}"
        if still >= self._rules.still:
            what = f"stands still: no heartbeat for {still:.0f} s although its process exists"
            self._incident(name, process, "hang", _with(what, process.doing(now)))
        elif process.has_shown_life or self._once:
            self._is_over(name, process)

    def _judge_entries(self, process: Process, now: float) -> None:
        """Judge by the entries: does the program hang in a process that shows heartbeats?"""
        hang, name = self._rules.hang, f"{process.journal}{_HUNG}"
        if hang is None or now - process.alive_at > LEAST:
            return
        quiet, seen = now - process.entry_at, process.has_shown_entries
        if self._once:
            quiet, seen = self._since_entry(process, Silence("any", hang), (process.procid,)), True
        if quiet >= hang:
            what = f"hangs: no entry for {quiet:.0f} s although its process lives"
            self._incident(name, process, "hang", _with(what, process.doing(now)))
        elif seen:
            self._is_over(name, process)

    def _judge_silence(self, now: float) -> None:
        described = [process for process in self._processes.values() if process.procid]
        here = {process.procid: process for process in described}
        for process in described if self._rules.silences else ():
            if parent := here.get(process.parent):
                self._children.setdefault(parent.journal, set()).add(process.procid)
                continue  # what a child logs counts as its parent's
            for rule in self._rules.silences:
                name = f"{process.journal}{_SILENT}-{rule.mark}"
                if now < self._due.setdefault(name, now + self._left(process, rule)):
                    continue
                procids = (process.procid, *self._children.get(process.journal, ()))
                silent = self._since_entry(process, rule, procids)
                # Silent: look again when an entry that came now would be too old, or soon, to see that one has come.
                self._due[name] = now + max(min(rule.span - silent, rule.span), min(rule.span / 10, _RETRY))
                if silent >= rule.span:
                    self._incident(name, process, "silence", f"has logged no {rule} for {_minutes(rule.span)}")
                else:
                    self._is_over(name, process)

    def _left(self, process: Process, rule: Silence) -> float:
        """Return how long a silence can last at least that has not been looked for yet."""
        age = process.age()
        return max(rule.span - age, 0.0) if age is not None else 0.0 if self._once else rule.span

    def _since_entry(self, process: Process, rule: Silence, procids: tuple[str, ...]) -> float:
        """Return for how many seconds there has been no entry of a kind, at most a little more than the rule allows."""
        present = datetime.now(UTC)
        logs = open_logs(self.path).filter(since=present - timedelta(seconds=rule.span))
        last = last_entry(rule.narrow(logs), procids, process.host)
        if last is None:
            age = process.age()
            return rule.span if age is None else min(age, rule.span)
        return max((present - last).total_seconds(), 0.0)

    def _incident(self, name: str, process: Process, kind: str, what: str) -> None:
        """Make an incident that goes on, unless there is one."""
        if name in self._told or name in self._teller:
            return
        since = datetime.now(UTC).isoformat()
        facts = {"kind": kind, "what": what, "since": since, "hostname": process.host, "procid": process.procid}
        if (claim := claims.take(self._watch / name, facts)) is not None:
            self._send(claim)
        self._note_told(name)

    def _is_over(self, name: str, process: Process) -> None:
        if name in self._incidents.names and name not in self._teller:
            self._told.discard(name)
            (self._watch / name).unlink(missing_ok=True)
            self._tell("goes on", directory=str(self.path), **_who(process))

    def _keep_house(self, now: float) -> None:
        if self._once:
            return
        if self._housekeeping is None:
            trouble = partial(self._tell, "trouble", directory=str(self.path))
            self._housekeeping = Housekeeping(self.path, self._private, lambda text: trouble(text=text))
        self._housekeeping.look(now, waits=JOB in self._incidents.names)

    def close(self) -> None:
        """Leave the directory to its experts."""
        if self._housekeeping is not None:
            self._housekeeping.close()

    # -- incidents --------------------------------------------------------------------------------------------

    def _tell_incidents(self) -> None:
        names = self._incidents.names
        self._told &= names.keys()
        for name in names:
            journal, dot, kind = name.partition(".")
            if name in self._teller or not f"{dot}{kind}".startswith(_KINDS):
                continue
            is_end, gone = name.endswith(END_SUFFIX), f"{journal}{LOCK_SUFFIX}" not in self._files.names
            if name in self._told or (gone and not is_end):
                if gone:
                    (self._watch / name).unlink(missing_ok=True)
            elif (claim := claims.take(self._watch / name)) is not None:
                self._send(claim)
            else:
                self._note_told(name)

    def _note_told(self, name: str) -> None:
        if claims.read(self._watch / name).get(claims.TOLD):
            self._told.add(name)

    def _send(self, claim: claims.Claim) -> None:
        found = report(self.path, claim.name, claim.facts, self._teller.header, tried=claim.tried)
        self.bad = True
        self._teller.tell(claim, found.entry)
        event = "died" if "reason" in claim.facts else "hangs" if claim.facts.get("kind") == "hang" else "silent"
        shown = {key: found.entry[key] for key in ("reason", "hostname", "procid", "recovered") if key in found.entry}
        self._tell(event, directory=str(self.path), expert=found.expert, text=found.text, **shown)


def _who(process: Process) -> dict[str, Any]:
    return {"hostname": process.host, "procid": process.procid}


def _with(what: str, doing: str) -> str:
    return f"{what} ({doing})" if doing else what


def _minutes(span: float) -> str:
    return f"{span / 60:g} min" if span >= 60 else f"{span:g} s"
