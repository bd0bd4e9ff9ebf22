"""Experts that end, hang and go on in all ways, and watchers over them, for the tests of `metaexpert watch`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

from scripted_server import ScriptedServer, webhook
from waiting import eventually

#: How a program goes on behind its third entry, by the name of its fate.
FATES = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "crashed": "ctypes.string_at(0)",
    "uncaught": "raise RuntimeError('margin call')",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "busy": "while True: pass",
    "dead lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "socket": "pair = socket.socketpair(); pair[0].recv(1)",
    "closed": "logger.close()",
    "terminated": "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); os.kill(os.getpid(), signal.SIGTERM)",
    "exec": "os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(1)'])",
    "upgraded": "os.environ |= {'FATE': 'closed', 'AGAIN': '1'}; os.execv(sys.executable, [sys.executable, *sys.argv])",
}
HANGS = {"stopped", "busy", "dead lock", "socket"}
#: Ends that are told, with the words that tell them.
ENDS = {"killed": "was killed", "crashed": "crashed", "uncaught": "exception that nobody caught"}
_EXPERT = """
import ctypes, faulthandler, os, select, signal, socket, sys, threading
from metaexpert.logger import MetaLogger
faulthandler.disable()
fate = os.environ["FATE"]
logger = MetaLogger(expert_name=os.environ["NAME"], log_dir=os.environ["DIR"], log_to_console=False)
for number in range(3):
    logger.info("entry", number=number)
for number in range(5):
    logger.debug("recorded", number=number)  # only by an expert with a flight recorder
logger.flush()  # so that a watcher can read its name
print("ready", flush=True)
while "AGAIN" not in os.environ and not select.select([sys.stdin], [], [], 1)[0]:
    logger.info("waiting")  # the test may take its time, and no entry for long would be a hang
logger.info("the last words")
"""


class Expert:
    """A program that logs, and meets its fate when it is told to.

    Args:
        directory: Its log directory.
        fate: One of `FATES`.
        name: Its name.
    """

    def __init__(self, directory: Path, fate: str, name: str) -> None:
        self.directory, self.fate, self.name = directory, fate, name
        script = directory.parent / f"expert-{name}.py"
        branches = "".join(f"if fate == {fate!r}:\n    {code}\n" for fate, code in FATES.items())
        directory.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(_EXPERT + branches)
        environment = {**os.environ, "FATE": fate, "NAME": name, "DIR": str(directory)}
        self.process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment,
        )  # fmt: skip

    def ready(self) -> Self:
        """Wait until it has logged."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        return self

    def go(self) -> float:
        """Let it meet its fate; return when."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n" * 8)
        self.process.stdin.flush()
        return time.monotonic()

    def end(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def messages(self) -> list[str]:
        """Return what it has logged itself, in the order of its file, without that it waited."""
        entries = map(json.loads, (self.directory / "expert.log").read_bytes().splitlines())
        return [one["message"] for one in entries if not one["message"].startswith(("log.", "waiting"))]


class Watch:
    """A watcher: ``metaexpert watch --json``. A context manager.

    Args:
        server: Takes its alerts; None for none.
        arguments: Its arguments.
    """

    def __init__(self, server: ScriptedServer | None, *arguments: str) -> None:
        settings = {"METAEXPERT_WEBHOOK_URL": server.url} if server is not None else {}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "metaexpert", "watch", "--json", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, **settings},
        )  # fmt: skip
        self.events: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def wait_for(self, event: str, count: int = 1, patience: float = 60.0) -> list[dict[str, Any]]:
        """Wait until it has told *count* such events; return them."""
        eventually(lambda: len(self.named(event)) >= count, patience)
        return self.named(event)

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return its events of that name."""
        return [one for one in self.events if one["event"] == event]

    def kill(self) -> None:
        """Kill it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as a supervisor does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()
        self._reader.join(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Hook(ScriptedServer):
    """A web hook that notes when each alert came."""

    def __init__(self, **more: Any) -> None:
        self.times: dict[str, float] = {}
        super().__init__(self._answer, **more)

    def _answer(self, payload: Any) -> Any:
        for alert in payload["alerts"]:
            self.times.setdefault(alert["entry"]["expert_name"], time.monotonic())
        return webhook(payload)

    def entries(self) -> list[dict[str, Any]]:
        """Return the entries that came, one for each time that each was told."""
        return [
            alert["entry"] for payload in self.accepted for alert in payload["alerts"] for _ in range(alert["count"])
        ]

    def about(self, name: str) -> list[dict[str, Any]]:
        """Return those about one expert."""
        return [entry for entry in self.entries() if entry["expert_name"] == name]
