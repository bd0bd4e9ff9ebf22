"""The package installs by pip from its sdist, on a machine without a working C compiler too, and logs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NEEDED = ("hatchling", "pip", "setuptools")
COMPILER = (sysconfig.get_config_var("CC") or "cc").split()[0]
PROGRAM = """
from metaexpert.logger import MetaLogger, system
from metaexpert.logger.system.native import core, why_pure
MetaLogger(log_dir="logs", log_to_console=False).info("installed", note="p4ssw0rd", password="p4ssw0rd")
print(system.__path__[0], "compiled" if core else why_pure(), sep="\\n")
"""
pytestmark = [
    pytest.mark.program,
    pytest.mark.skipif(not all(map(find_spec, NEEDED)), reason=f"needs {', '.join(NEEDED)}"),
]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the archive that a release has."""
    folder = tmp_path_factory.mktemp("sdist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("metaexpert-*.tar.gz"))


@pytest.mark.parametrize(
    ("compiler", "told"),
    [
        ("/nowhere/cc", "nothing was compiled when the package was installed"),
        ("false", "nothing was compiled when the package was installed"),
        pytest.param(
            COMPILER,
            "compiled",
            marks=pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"there is no {COMPILER}"),
        ),
    ],
    ids=["none", "one that fails", "one that works"],
)
def test_pip_installs_from_source_whatever_the_compiler_does(sdist: Path, compiler: str, told: str) -> None:
    """Without a compiler the package is pure Python, says so when it is asked, and writes the same entry."""
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--no-compile", "--no-cache-dir", "--target", "site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *options, str(sdist)]
    done = subprocess.run(pip, env={**os.environ, "CC": compiler}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    site = Path("site").resolve()
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert (program.returncode, program.stderr) == (0, "")
    assert program.stdout.splitlines() == [str(site / "metaexpert/logger/system"), told]
    assert bool(list(site.rglob("_core.*"))) == (told == "compiled")
    entry = json.loads(Path("logs/expert.log").read_text("utf-8").splitlines()[0])
    assert (entry["message"], entry["password"]) == ("installed", "***")
