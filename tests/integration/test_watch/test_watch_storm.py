"""Many experts that end and hang in all ways at once, under one watcher that is itself killed in between."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from waiting import eventually
from watched import ENDS, FATES, HANGS, Expert, Hook, Watch

pytestmark = [
    pytest.mark.storm,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX"),
]

#: How many experts; `METAEXPERT_WATCHED=200` is a measurement.
COUNT = int(os.environ.get("METAEXPERT_WATCHED", "14"))
#: So many live at once: each is a process of Python.
GROUP = 14
HANG = 6.0


def test_each_bad_end_is_told_once(tmp_path: Path) -> None:
    """Each bad end is told once and with its reason, no good one is, and the files have every entry once."""
    fates = sorted(FATES, key=lambda fate: fate not in ENDS)
    names = [
        (fates[number % len(fates)], f"{fates[number % len(fates)].replace(' ', '-')}-{number}")
        for number in range(COUNT)
    ]
    experts: list[Expert] = []
    delays: dict[str, float] = {}
    with Hook() as hook:
        for start in range(0, COUNT, GROUP):
            group = [Expert(tmp_path / "all" / name, fate, name) for fate, name in names[start : start + GROUP]]
            experts += group
            try:
                _watched(tmp_path / "all", group, hook, delays)
            finally:
                for expert in group:
                    expert.end()
        told = hook.entries()
    bad = {expert.name: expert for expert in experts if expert.fate in {*ENDS, *HANGS}}
    # One that was under way when the watcher was killed may come again, and says so.
    assert sorted(entry["expert_name"] for entry in told if not entry.get("possible_repeat")) == sorted(bad)
    for entry in told:
        fate = bad[entry["expert_name"]].fate
        assert ENDS.get(fate, "stands still" if fate == "stopped" else "hangs") in entry["message"]
    for expert in experts:
        messages = expert.messages()
        lives = 2 if expert.fate == "upgraded" else 1
        assert messages == (["entry"] * 3 + ["the last words"]) * lives, expert.name
    print(f"\n{COUNT} experts, slowest alerts: {sorted(delays.values())[-3:]}", flush=True)


def _watched(root: Path, group: list[Expert], hook: Hook, delays: dict[str, float]) -> None:
    """Let a group meet its fates under a watcher that is killed and started again in between."""
    arguments = (str(root), "--hang", f"{HANG}s")
    with Watch(hook, *arguments) as first:
        for expert in group:
            expert.ready()
        first.wait_for("watching", len(list(root.glob("*/.metaexpert"))))
        half = group[: len(group) // 2]
        _meet(half, hook, delays)
        first.kill()
    with Watch(hook, *arguments) as second:
        second.wait_for("watching", len(list(root.glob("*/.metaexpert"))))
        _meet(group[len(group) // 2 :], hook, delays)
        wanted = {expert.name for expert in group if expert.fate in {*ENDS, *HANGS}}
        eventually(lambda: wanted <= hook.times.keys(), 120.0)
        for expert in group:
            if expert.fate in HANGS:
                expert.end()  # a kill: told as well, under the same name
        dead = [expert.name for expert in group if expert.fate in HANGS]
        eventually(lambda: all(len(hook.about(name)) == 2 for name in dead), 120.0)
        for expert in group:
            expert.process.wait(60)
        assert second.stop() == 0
    with hook._lock:  # those kills are not counted below
        for request in hook.requests:
            request.payload["alerts"] = [
                alert for alert in request.payload["alerts"]
                if not (alert["entry"]["expert_name"] in dead and "was killed" in alert["entry"]["message"])
            ]  # fmt: skip


def _meet(group: list[Expert], hook: Hook, delays: dict[str, float]) -> None:
    """Let experts meet their fates; note how long the alert about each death took."""
    for expert in group:
        expert.go()
    ended = {}
    for expert in group:
        if expert.fate in ENDS:
            expert.process.wait(60)
            ended[expert.name] = time.monotonic()
    eventually(lambda: ended.keys() <= hook.times.keys(), 60.0)
    delays.update({name: hook.times[name] - moment for name, moment in ended.items()})
