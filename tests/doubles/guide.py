"""Programs with the lines that `docs/guides/use-with.md` gives for them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/guides/use-with.md"


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip a test unless the libraries *names* are installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)} (group `programs`)")


def blocks(heading: str) -> list[str]:
    """Return the blocks of the guide's section *heading*."""
    section = GUIDE.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```\w*\n(.*?)```", section, re.DOTALL)


def run(code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in *directory*."""
    done = subprocess.run([sys.executable, "-c", code], cwd=directory, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done


def run_with(library: str, code: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a program with a *library* that is too large for our environment: uv keeps one of its own in its cache."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv to install what it needs")
    # Begun from here, where pyenv's shim finds the uv of this project.
    command = [uv, "run", "--quiet", "--no-project", "--directory", str(directory)]
    command += ["--python", sys.executable, "--with", library, "--with", str(ROOT)]
    installed = subprocess.run([*command, "python", "-c", ""], cwd=ROOT, capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"{library} cannot be installed: {installed.stderr[-500:]}")
    (directory / "program.py").write_text(code, "utf-8")
    # As its user does: freqtrade sets up no logging under pytest.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command += ["python", "program.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done
