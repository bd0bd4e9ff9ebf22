"""What recovery leaves for a watcher, and how an owner file tells of a program that was replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted_server import ScriptedServer, webhook
from waiting import eventually

from metaexpert.logger import LoggerConfig
from metaexpert.logger.journal.owner import CRASHED, KILLED, REPLACED, End, description, end_of
from metaexpert.logger.journal.watched import DIRECTORY, END_SUFFIX, note_end
from metaexpert.logger.remote.alerts.alerts import Alerts

END = End(KILLED, 1_800_000_000.0, {"died_procid": "7", "died_hostname": "vm"})


def notes(private: Path) -> list[Path]:
    return sorted((private / DIRECTORY).glob("*"))


def test_an_end_is_noted_where_somebody_watches(tmp_path: Path) -> None:
    """The note has the fields of ``log.died``, and how much was brought in."""
    (tmp_path / DIRECTORY).mkdir()
    note_end(tmp_path, "abc", END, 3)
    (path,) = notes(tmp_path)
    assert path.name == f"abc{END_SUFFIX}"
    assert json.loads(path.read_bytes()) == {**END.fields(), "recovered": 3}


def test_nothing_is_noted_without_a_watcher(tmp_path: Path) -> None:
    """No watcher, no note, no directory."""
    note_end(tmp_path, "abc", END, 3)
    assert list(tmp_path.iterdir()) == []


def test_an_end_is_noted_once(tmp_path: Path) -> None:
    """A second recovery of the same journal, after a kill of the first, does not make a told end new."""
    (tmp_path / DIRECTORY).mkdir()
    note_end(tmp_path, "abc", END, 3)
    (path,) = notes(tmp_path)
    path.write_text('{"told": true}')
    note_end(tmp_path, "abc", END, 0)
    assert json.loads(path.read_bytes()) == {"told": True}


def test_a_good_end_and_a_planted_directory_get_no_note(tmp_path: Path) -> None:
    """A replaced program has not ended badly; a link in place of the directory leads elsewhere."""
    (tmp_path / DIRECTORY).mkdir()
    note_end(tmp_path, "abc", END._replace(reason=REPLACED), 0)
    assert notes(tmp_path) == []
    (tmp_path / DIRECTORY).rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / DIRECTORY).symlink_to(tmp_path / "elsewhere")
    note_end(tmp_path, "abc", END, 0)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def owner_of(path: Path, **changes: Any) -> Path:
    content = {**json.loads(description(forked=False)), "program": "another", **changes}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process began")
class TestReplaced:
    """A process without its journal that goes on has become another program."""

    def test_this_process(self, tmp_path: Path) -> None:
        """The same process id and beginning, another program: an exec."""
        end = end_of(owner_of(tmp_path / "a.owner"), left=False)
        assert end is not None
        assert end.reason == REPLACED

    def test_another_process_that_lives(self, tmp_path: Path) -> None:
        """It is seen from outside too, as long as the process lives; a zombie has ended."""
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
            told = Path(f"/proc/{process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
            facts = {"procid": str(process.pid), "began": f"{boot} {told[19]}"}
            lives = end_of(owner_of(tmp_path / "a.owner", **facts), left=False)
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            zombie = end_of(owner_of(tmp_path / "b.owner", **facts), left=False)
        assert [end.reason if end else None for end in (lives, zombie)] == [REPLACED, KILLED]

    def test_seen_by_a_watcher(self, tmp_path: Path) -> None:
        """What a watcher has seen holds when the process is gone; a crash weighs more."""
        path = owner_of(tmp_path / "a.owner", procid="1", began="long ago", replaced=True)
        end = end_of(path, left=True)
        assert end is not None
        assert end.reason == REPLACED
        path.with_suffix(".crash").write_text("Fatal Python error: Aborted\n")
        end = end_of(path, left=True)
        assert end is not None
        assert end.reason == CRASHED

    @pytest.mark.parametrize("procid", ["../../etc", "", "self", "-1"])
    def test_a_planted_process_id(self, tmp_path: Path, procid: str) -> None:
        """A process id that is no number opens nothing."""
        end = end_of(owner_of(tmp_path / "a.owner", procid=procid), left=True)
        assert end is not None
        assert end.reason == KILLED


def test_told_alerts_are_confirmed_by_endpoint() -> None:
    """An entry told directly goes out uncollapsed; each endpoint confirms it, and those left out do not get it."""
    confirmed: list[tuple[str, Any]] = []
    with ScriptedServer(webhook) as server:
        config = LoggerConfig(webhook_url=server.url, log_to_console=False)
        alerts = Alerts(config, None, lambda *_: None, lambda level, text: {"level": level, "message": text})
        alerts.hasten()
        alerts.on_settled(lambda endpoint, entry: confirmed.append((endpoint, entry["run"])))
        told = [alerts.tell({"level": "critical", "message": "it died", "run": run}) for run in (1, 2)]
        eventually(lambda: len(confirmed) == 2)
        assert alerts.tell({"message": "again"}, without=told[0]) == set()
        alerts.close(5.0)
        sent = [alert for payload in server.accepted for alert in payload["alerts"]]
    assert sorted(run for _, run in confirmed) == [1, 2]
    assert {endpoint for endpoint, _ in confirmed} == told[0]
    assert sorted(alert["entry"]["run"] for alert in sent) == [1, 2]
    assert {alert["count"] for alert in sent} == {1}


def test_what_is_refused_is_settled_too() -> None:
    """An alert that an endpoint refuses for good is not told again and again."""
    from scripted_server import Answer

    confirmed: list[Any] = []
    with ScriptedServer(lambda _: Answer(404)) as server:
        config = LoggerConfig(webhook_url=server.url, log_to_console=False)
        alerts = Alerts(config, None, lambda *_: None, lambda level, text: {"level": level, "message": text})
        alerts.on_settled(lambda _, entry: confirmed.append(entry["message"]))
        alerts.tell({"level": "critical", "message": "it died"})
        eventually(lambda: confirmed == ["it died"])
        alerts.close(1.0)
