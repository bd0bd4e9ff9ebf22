"""`metaexpert control` asks a process that logs ten thousand entries a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from datetime import datetime
from pathlib import Path
from typing import Any

from waiting import PATIENCE, eventually

from metaexpert.logger import schema
from metaexpert.logger.config import control
from metaexpert.logger.config.control import Request

BOT = """
    import sys, threading, time
    from metaexpert.logger import MetaLogger
    logger = MetaLogger(expert_name="EmaBot", log_to_console=False, backup_count=99)
    stop, number, begun = threading.Event(), 0, time.monotonic()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    while not stop.is_set():
        for _ in range(100):
            logger.info("tick", n=number)
            number += 1
        logger.debug("detail", n=number)
        time.sleep(max(number / 10_000 - (time.monotonic() - begun), 0))
    logger.close()
    print(number, logger.stats()["dropped"])
"""


def own_entries(messages: set[str]) -> list[dict[str, Any]]:
    entries = []
    for path in Path("logs").glob("expert.log*"):
        for line in path.read_bytes().splitlines():
            if any(b'"message":"%s"' % message.encode() in line for message in messages):
                entries.append(json.loads(line))
    return sorted(entries, key=lambda entry: entry["sequence_id"])


def seconds_between(first: dict[str, Any], last: dict[str, Any]) -> float:
    return (datetime.fromisoformat(last["timestamp"]) - datetime.fromisoformat(first["timestamp"])).total_seconds()


def test_a_busy_process_takes_it_goes_back_and_loses_nothing(tmp_path: Path) -> None:
    """DEBUG comes between the two entries that tell of it and at no other time; nobody else's request has an effect."""
    (tmp_path / "bot.py").write_text(textwrap.dedent(BOT))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    bot: Any = subprocess.Popen([sys.executable, "bot.py"], **pipes)  # type: ignore[call-overload]
    try:
        log, private = Path("logs/expert.log"), Path("logs") / schema.PRIVATE_DIRECTORY
        eventually(lambda: log.exists() and log.stat().st_size)
        before = log.stat()
        eventually(lambda: log.stat() != before)  # a second pass: what stands there before the first was for another
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            with control.asked(private, Request(control.new_id(), "status", "tester")) as answers:
                eventually(answers)
            forged, name = Request("f" * 32, "level", "somebody", level="critical", seconds=60), f"{'f' * 32}.json"
            path = private / control.DIRECTORY / "unfinished"
            path.write_text(json.dumps({key: value for key, value in forged._asdict().items() if value is not None}))
            os.chown(path, 65534, 65534)
            path.rename(private / control.DIRECTORY / name)
            errors = Path("logs") / schema.DIAGNOSTICS_FILE
            eventually(lambda: errors.exists() and b"another user" in errors.read_bytes())
        asked = Request(control.new_id(), "level", "tester", "EmaBot", level="debug", seconds=1)
        with control.asked(private, asked) as answers:
            eventually(answers)
        eventually(lambda: any(entry.get("action") == "end" for entry in own_entries({"log.control"})))
        said, _ = bot.communicate("stop", timeout=PATIENCE)
    finally:
        bot.kill()
    begun, *details, ended = own_entries({"log.control", "detail"})[-1000:]
    told = [entry for entry in (begun, *details, ended) if entry["message"] == "log.control"]
    assert [entry["action"] for entry in told] == ["level", "end"]
    assert (begun["message"], ended["message"]) == ("log.control", "log.control")
    assert details
    assert {entry["level"] for entry in details} == {"debug"}
    assert 1.0 <= seconds_between(begun, ended) < PATIENCE
    numbers = [entry["n"] for entry in own_entries({"tick"})]
    assert [len(numbers), 0] == [int(word) for word in said.split()]
