"""SIGKILL while a trade log is written, rotated and sealed: what nobody has changed always verifies."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from sealed_log import checked

from metaexpert.logger import MetaLogger
from metaexpert.logger.seal.note import VerifierKey

pytestmark = [
    pytest.mark.storm,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL"),
]

KILLS = int(os.environ.get("METAEXPERT_SEAL_KILLS", 300 if os.environ.get("METAEXPERT_NIGHTLY") else 60))
#: Two processes die in each round.
ROUNDS = -(-KILLS // 2)

#: Trades for ever. It looks at the log and seals it far more often than a second, so that a kill meets that.
VICTIM = """
    import json, sys, time
    from metaexpert.logger.seal import sealer
    sealer._LOOK, sealer._COURTESY = 0.0, 0.00001
    from metaexpert.logger import MetaLogger
    logger = MetaLogger(**json.loads(sys.argv[1]))
    sink = logger._logger.pipeline.directory.files["trades.log"].sink
    sink.sealer._epoch = 0.05
    print("ready", flush=True)
    number = 0
    while True:
        logger.trade.info("Order filled", order_id=f"ord-{number}", size=number)
        number += 1
        if number % 20 == 0:
            time.sleep(0.002)
"""


def options(seed: random.Random) -> dict[str, object]:
    return {
        "log_to_console": False,
        "seal": True,
        "max_file_size": seed.choice([8_000, 60_000, 10_000_000]),
        "backup_count": 3,
        "compress_backups": seed.random() < 0.5,
        "async_logging": seed.random() < 0.7,
        "overflow": "block",
    }


@pytest.mark.timeout(1800)
def test_an_untouched_log_verifies_after_kills_at_any_moment(python: str, tmp_path: Path) -> None:
    """Of two processes in one directory, in bursts, with small and large files, compressed or not."""
    seed = random.Random(os.environ.get("METAEXPERT_SOAK_SEED", "1"))
    program = tmp_path / "victim.py"
    program.write_text("\n".join(line[4:] for line in VICTIM.splitlines()), "utf-8")
    seals = killed = 0
    for number in range(ROUNDS):
        if number % 5 == 0:
            directory, settings = tmp_path / f"logs-{number}", options(seed)
        own = {**settings, "log_dir": str(directory)}
        victims = [
            subprocess.Popen(
                [python, str(program), json.dumps({**own, "expert_name": f"Bot{which}"})],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for which in range(2)
        ]
        for victim in victims:
            assert victim.stdout is not None
            assert victim.stdout.readline() == b"ready\n"
        for victim in victims:
            time.sleep(seed.random() * 0.25)
            victim.kill()
            victim.wait()
            assert victim.stdout is not None
            victim.stdout.close()
            killed += 1
        key = VerifierKey.parse((directory / ".metaexpert/seal/vkey").read_text("ascii"))
        report = checked(directory, key)
        assert report.ok or not report.counts["seal"] or not (directory / ".metaexpert/seal/seals.jsonl").exists()
        assert [problem for problem in report.problems if problem.kind != "seal"] == [], (number, settings)
        if number % 5 == 4:  # recovery brings in what the journals hold, and all of it is sealed
            MetaLogger(install=False, **own).close()
            report = checked(directory, key)
            assert report.problems == [], (number, settings)
            assert "not sealed yet" not in report.remarks[-1]
            seals += int(report.remarks[-1].split(" ")[0])
        errors = directory / "logging_errors.log"
        assert not errors.exists() or "seal" not in errors.read_text("utf-8"), errors.read_text("utf-8")
    assert killed >= KILLS
    assert seals > ROUNDS // 5
