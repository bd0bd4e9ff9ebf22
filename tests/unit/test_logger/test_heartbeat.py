"""Heartbeats: an expert that died is found once; one that lives, or has stopped, is not."""

from __future__ import annotations

import time
from pathlib import Path

from scripted_server import ScriptedServer, webhook

from metaexpert.logger import MetaLogger
from metaexpert.logger.remote.alerts._heartbeat import Heartbeat, dead


def die(heartbeat: Heartbeat) -> None:
    """Do what the system does when a process dies: its locks are gone, its files stay."""
    heartbeat.after_fork()


def test_the_dead_are_found_once(tmp_path: Path) -> None:
    """An expert whose lock is free without its file taken away has died; one finder tells it."""
    gone, living, stopped = (Heartbeat(tmp_path, {"expert": name}) for name in ("gone", "living", "stopped"))
    stopped.end()
    die(gone)
    assert [content["expert"] for content in dead(tmp_path)] == ["gone"]
    assert list(dead(tmp_path)) == []
    living.end()
    living.end()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".running"] == []


def test_a_file_that_was_cut_short_is_taken_away(tmp_path: Path) -> None:
    """A process that died while it began leaves nothing to tell."""
    (tmp_path / "1-a.running").write_bytes(b'{"expert": ')
    (tmp_path / "2-b.running").write_bytes(b"[1]")
    assert list(dead(tmp_path)) == []
    assert not list(tmp_path.glob("*.running"))


def test_the_channels_are_told(tmp_path: Path) -> None:
    """With heartbeats, start, stop, and the death of an earlier process reach the owner."""
    directory = tmp_path / "logs/.metaexpert/alerts"
    directory.mkdir(parents=True)
    gone = Heartbeat(directory, {"expert": "OldBot", "procid": "7", "timestamp": "2026-11-24T12:00:00Z"})
    die(gone)
    with ScriptedServer(webhook) as server:
        logger = MetaLogger(log_to_console=False, expert_name="NewBot", alert_heartbeat=True, webhook_url=server.url)
        deadline = time.monotonic() + 20
        while not server.accepted:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        logger.close()
        texts = "\n".join(payload["text"] for payload in server.accepted)
    assert "OldBot died without stopping (process 7, started 2026-11-24T12:00:00Z)" in texts
    assert texts.count("NewBot started") == 1
    assert texts.count("NewBot stopped") == 1
    assert not list(directory.glob("*.running"))
