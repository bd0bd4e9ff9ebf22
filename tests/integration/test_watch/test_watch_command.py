"""`metaexpert watch` over real programs: what it tells of their ends, and what it does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import eventually
from watched import ENDS, Expert, Hook, Watch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.mark.program
def test_bad_ends_are_told_and_good_ones_are_not(tmp_path: Path) -> None:
    """A kill is told with its reason and what `logs why` says, and recovered; a normal end is not told."""
    with Hook() as hook, Watch(hook, str(tmp_path / "experts")) as watch:
        experts = [Expert(tmp_path / "experts" / fate, fate, fate) for fate in ("killed", "uncaught", "closed")]
        try:
            for expert in experts:
                expert.ready()
            watch.wait_for("watching", 3)  # they have come after the watcher
            for expert in experts:
                expert.go()
            watch.wait_for("told", 2)
            experts[-1].process.wait(60)
        finally:
            for expert in experts:
                expert.end()
        assert watch.stop() == 0
    told = hook.entries()
    assert {entry["expert_name"] for entry in told} == {"killed", "uncaught"}
    for entry in told:
        assert ENDS[entry["expert_name"]] in entry["message"]
        assert entry["level"] == "critical"
        assert "the last words" in entry["verdict"]
    assert "RuntimeError: margin call" in hook.about("uncaught")[0]["message"]
    assert all(expert.messages()[:4] == ["entry"] * 3 + ["the last words"] for expert in experts)


@pytest.mark.program
def test_an_expert_that_was_restarted_before_the_look_is_told_once(tmp_path: Path) -> None:
    """The next start recovers the journal while no watcher is there; the next watcher tells the end, and no other."""
    logs = tmp_path / "logs"
    with Hook() as hook:
        victim = Expert(logs, "killed", "victim").ready()
        with Watch(hook, str(logs)) as first:
            first.wait_for("watching")
            first.kill()
        victim.go()
        victim.process.wait()
        Expert(logs, "closed", "victim").ready().end()  # starts and recovers, and is killed as well
        with Watch(hook, str(logs)) as second:
            second.wait_for("told", 2)
        with Watch(hook, str(logs)) as third:
            third.wait_for("watching")
            time.sleep(1)  # nothing to wait for: it has nothing to tell
            assert third.named("died") == []
        victim.end()
    procids = [entry["procid"] for entry in hook.about("victim")]
    assert len(procids) == 2
    assert str(victim.process.pid) in procids


def test_once_for_cron(tmp_path: Path) -> None:
    """A single look tells what has ended badly with exit code 1, and nothing at the next look."""
    logs = tmp_path / "logs"
    victim = Expert(logs, "killed", "victim").ready()
    victim.go()
    victim.process.wait()
    victim.end()
    with Hook() as hook:
        environment = {**os.environ, "METAEXPERT_WEBHOOK_URL": hook.url}
        command = [sys.executable, "-m", "metaexpert", "watch", "--once", "--json", str(logs)]
        codes = [subprocess.run(command, env=environment, capture_output=True).returncode for _ in range(2)]
    assert codes == [1, 0]
    assert len(hook.entries()) == 1


def test_an_expert_with_a_flight_recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had recorded is dumped once, and the alert names the file."""
    monkeypatch.setenv("METAEXPERT_RECORDER", "1MB")
    logs = tmp_path / "logs"
    with Hook() as hook, Watch(hook, str(logs)) as watch:
        victim = Expert(logs, "killed", "victim").ready()
        watch.wait_for("watching")
        victim.go()
        watch.wait_for("told")
        victim.end()
        assert watch.stop() == 0
    (dump,) = logs.glob("recorder-*.log")
    recorded = [json.loads(line) for line in dump.read_bytes().splitlines()]
    assert [entry["number"] for entry in recorded if entry["message"] == "recorded"] == list(range(5))
    (alert,) = hook.about("victim")
    assert alert["recorder"] == dump.name
    victim = Expert(logs, "closed", "victim").ready()  # the next start finds nothing left to dump
    victim.go()
    victim.process.wait()
    victim.end()
    assert list(logs.glob("recorder-*.log")) == [dump]


def test_a_program_that_was_replaced_unseen(tmp_path: Path) -> None:
    """No watcher has looked while the other program lived; still it is no bad end."""
    expert = Expert(tmp_path / "logs", "exec", "replaced").ready()
    expert.go()
    expert.process.wait()
    expert.end()
    command = [sys.executable, "-m", "metaexpert", "watch", "--once", "--json", str(tmp_path / "logs")]
    seen = subprocess.run(command, capture_output=True, text=True)
    assert (seen.returncode, '"died"' in seen.stdout) == (0, False)
    assert expert.messages() == ["entry"] * 3 + ["the last words"]


@pytest.mark.program
def test_a_process_that_stands_still(tmp_path: Path) -> None:
    """A stopped process is told by the heartbeat that it does not give, once; it goes on after SIGCONT."""
    logs = tmp_path / "logs"
    with Hook() as hook, Watch(hook, str(logs), "--hang", "3s") as watch:
        expert = Expert(logs, "stopped", "frozen").ready()
        expert.go()
        try:
            watch.wait_for("told")
            (entry,) = hook.about("frozen")
            assert "stands still" in entry["message"]
            if sys.platform == "linux":
                assert "stopped by a signal" in entry["message"]
            expert.process.send_signal(signal.SIGCONT)
            eventually(lambda: watch.named("goes on") or watch.named("ended"))
        finally:
            expert.end()


@pytest.mark.program
def test_a_watcher_beside_one_expert(tmp_path: Path) -> None:
    """`run --watch` starts a watcher that outlives the expert's kill, tells it, and ends by itself."""
    (tmp_path / "expert.py").write_text(
        "import os, signal\n"
        "from metaexpert import MetaExpert\n"
        "expert = MetaExpert('paper-exchange', expert_name='beside', symbol='EURUSD', log_to_console=False)\n"
        "@expert.on_bar\n"
        "def trade(bar):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    (tmp_path / "bars.csv").write_text("timestamp,open,high,low,close,volume\n2026-01-01T00:00:00Z,1,1,1,1,1\n")
    with Hook() as hook:
        words = ["run", "expert.py", "--watch", "--data", "bars.csv", "--log-dir", "logs"]
        process = subprocess.Popen(
            [sys.executable, "-m", "metaexpert", *words], cwd=tmp_path, stderr=subprocess.PIPE,
            env={**os.environ, "METAEXPERT_WEBHOOK_URL": hook.url},
        )  # fmt: skip
        _, errors = process.communicate(timeout=100)  # ends when the watcher has, which has our standard error
        assert process.returncode == -signal.SIGKILL, errors
        (entry,) = [entry for entry in hook.entries() if "verdict" in entry]
    assert entry["reason"] == "killed or power lost"
    assert entry["procid"] == str(process.pid)
