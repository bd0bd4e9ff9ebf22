"""Standard error that leads back into the log: the loop ends, with one report, and the console goes on."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the descriptor of standard error is replaced by a pipe")

#: Redirects standard error into a pipe, and logs what `{take}` makes of each line that is read from there.
PROGRAM = """
    import json, logging, os, queue, sys, threading, time, warnings
    from metaexpert.logger import MetaLogger
    logger = MetaLogger({options})
    reading, writing = os.pipe()
    terminal = os.dup(2)
    os.dup2(writing, 2)
    lines, took, done = queue.Queue(), [], threading.Event()

    def take(line):
        took.append(line)
        {take}
        if "the last" in line:
            done.set()

    class Writer:
        def write(self, text):
            if text.strip():
                logger.info(text)

    def fail():
        try:
            1 / 0
        except ZeroDivisionError:
            logger.exception("it failed")

    def read():
        for line in open(reading, errors="replace"):
            lines.put(line.rstrip())

    def log():
        while True:
            take(lines.get())

    for work in (read, log):
        threading.Thread(target=work, daemon=True).start()
    {call}

    def settle():
        for _ in range(200):
            before = len(took)
            logger.flush(5)
            time.sleep(0.1)
            if len(took) == before and lines.empty():
                return
    settle()
    os.write(2, b"foreign words\\nthe last\\n")
    assert done.wait(10), "the reader has ended"
    settle()
    os.write(terminal, json.dumps(took).encode())
    os.dup2(terminal, 2)
    logger.close()
"""


def outcome(tmp_path: Path, python: str, call: str, take: str, options: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the lines that were printed, and the entries of the file."""
    code = textwrap.dedent(PROGRAM).format(call=call, take=take, options=options)
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    log = tmp_path / "logs" / "expert.log"
    entries = [json.loads(text) for text in log.read_bytes().splitlines()] if log.exists() else []
    return json.JSONDecoder().raw_decode(done.stderr.decode())[0], entries


def reports(tmp_path: Path) -> int:
    """Return how many reports of a loop there are."""
    path = tmp_path / "logs" / "logging_errors.log"
    return path.read_text("utf-8").count('"trouble":"loop"') if path.exists() else 0


ONE = 'logger.info("one call", size=0.1, text="two \\"quoted\\" words")'


@pytest.mark.parametrize(
    ("call", "take", "options"),
    [
        (ONE, "logger.info(line)", ""),
        (ONE, 'logger.warning("stderr: " + line)', "console_format='json'"),
        (ONE, 'logger.info("subprocess", line=line, at={"nested": [line]})', ""),
        (ONE, 'logger.info("subprocess", line=json.dumps(line))', "console_format='json'"),
        (ONE, "logging.getLogger('reader').error(line)", ""),
        (ONE, "logger.error('%s', line)", "async_logging=False"),
        (ONE, "logger.info(line)", "layout='rfc5424', console_format='json'"),
        ("warnings.warn('careful')", "print(line, file=Writer())", ""),
        ("fail()", "logger.info(line)", ""),
        ("logger.close(); logger.error('too late')", "logger.error(line)", ""),
    ],
)
def test_a_reader_of_standard_error_that_logs(tmp_path: Path, python: str, call: str, take: str, options: str) -> None:
    """One call makes a few entries, one report tells why, and lines of others are logged and printed as before."""
    took, entries = outcome(tmp_path, python, call, take, options)
    assert len(took) < 30
    assert len(entries) < 30
    assert sum("foreign words" in line for line in took) >= 2  # read, and printed as an entry
    assert reports(tmp_path) == 1
