"""The watcher's files in `deploy/`: systemd and compose understand them, and the commands in them are ours."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEPLOY = Path(__file__).parents[3] / "deploy"
UNIT = DEPLOY / "systemd" / "metaexpert-watch.service"
COMPOSE = DEPLOY / "containers" / "compose.yaml"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command; return what became of it."""
    return subprocess.run(command, capture_output=True, text=True)


def commands() -> dict[str, str]:
    """Return the commands of the files, by where they stand."""
    (start,) = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStart=")]
    services = yaml().safe_load(COMPOSE.read_text())["services"]
    return {"unit": start.partition("=")[2], **{name: service["command"] for name, service in services.items()}}


def yaml() -> Any:
    """Return PyYAML."""
    return pytest.importorskip("yaml", reason="needs PyYAML")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs Debian's systemd")
def test_systemd_verifies_the_unit(tmp_path: Path) -> None:
    """It knows every key and value; only the program is elsewhere on this machine."""
    program = shlex.split(commands()["unit"])[0]
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(f"ExecStart={program}", "ExecStart=/bin/true"))
    verified = run("systemd-analyze", "verify", str(unit))
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs Debian's systemd")
def test_systemd_would_find_a_mistake(tmp_path: Path) -> None:
    """The check above can fail."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("RestrictNamespaces=true", "RestrictNamespace=true"))
    assert "RestrictNamespace" in run("systemd-analyze", "verify", str(unit)).stderr


def test_the_services_fit_together() -> None:
    """Named volumes and services exist, and both see the same logs under the same host name."""
    found = yaml().safe_load(COMPOSE.read_text())
    expert, watch = found["services"]["expert"], found["services"]["watch"]
    assert watch["pid"].removeprefix("service:") in found["services"]
    assert {one.partition(":")[0] for one in expert["volumes"] + watch["volumes"]} == found["volumes"].keys()
    assert (expert["hostname"], expert["user"]) == (watch["hostname"], watch["user"])


def test_compose_understands_the_services() -> None:
    """Docker's own reader takes the file."""
    if shutil.which("docker") is None or run("docker", "compose", "version").returncode:
        pytest.skip("needs docker with its plugin compose")
    checked = run("docker", "compose", "--file", str(COMPOSE), "config", "--quiet")
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("place", ["unit", "watch"])
def test_the_watcher_takes_its_command(place: str, tmp_path: Path) -> None:
    """The options of the command are those that `metaexpert watch` has."""
    program, command, directory, *options = shlex.split(commands()[place])
    assert (Path(program).name, command, directory[0]) == ("metaexpert", "watch", "/")
    looked = run(sys.executable, "-m", "metaexpert", command, str(tmp_path), "--once", *options)
    assert looked.returncode == 0, looked.stderr


def test_the_expert_takes_its_command(tmp_path: Path) -> None:
    """The options of the command are those that `metaexpert run` has."""
    program, command, path, *options = shlex.split(commands()["expert"])
    assert (program, command, Path(path).suffix) == ("metaexpert", "run", ".py")
    expert = tmp_path / "expert.py"
    expert.write_text(
        "from metaexpert import MetaExpert\nexpert = MetaExpert('paper-exchange', log_to_console=False)\n"
        "@expert.on_bar\ndef trade(bar):\n    pass\n"
    )
    options[options.index("--log-dir") + 1] = str(tmp_path / "logs")
    bars = tmp_path / "bars.csv"  # an expert of one's own brings its bars along
    bars.write_text("timestamp,open,high,low,close,volume\n2026-01-01 00:00:00,1,2,1,2,10\n")
    ran = run(sys.executable, "-m", "metaexpert", command, str(expert), *options, "--data", str(bars))
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "logs" / "expert.log").exists()
