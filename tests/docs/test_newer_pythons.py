"""The tool that makes environments of newer Pythons: it skips what cannot be had, and a bad build is an error."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import newer_pythons
import pytest
from newer_pythons import Missing


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder into which the Pythons and the tests' packages came without a network."""
    python = tmp_path / "3.14/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setattr(newer_pythons, "unpack", lambda folder, versions: (folder, versions))
    monkeypatch.setattr(newer_pythons, "relocate", lambda *_: python)
    monkeypatch.setattr(newer_pythons, "environment_of", lambda *_: python)
    return tmp_path


def test_packages_that_cannot_be_reached_are_said_and_skipped(tmp_path, monkeypatch, capsys):
    """apt's own words tell why, and nothing is left that looks like an environment."""
    monkeypatch.setattr(shutil, "which", str)
    monkeypatch.setattr(newer_pythons, "archive", lambda: f"file:{tmp_path}/nowhere/")
    assert newer_pythons.main([str(tmp_path), "3.14"]) == 0
    assert capsys.readouterr().out.startswith("SKIPPED: apt-get")
    assert not (tmp_path / "3.14").exists()


def test_a_version_that_is_not_complete_is_not_there(prepared, monkeypatch, capsys):
    """The tests would run in half an environment otherwise."""

    def fail(*_):
        raise Missing("there is no wheel")

    monkeypatch.setattr(newer_pythons, "environment_of", fail)
    assert newer_pythons.main([str(prepared), "3.14"]) == 0
    assert capsys.readouterr().out == "SKIPPED: Python 3.14: there is no wheel\n"
    assert not (prepared / "3.14").exists()


@pytest.mark.parametrize(
    ("wrong", "code", "told"),
    [("", 0, f"Python {sys.version.split()[0]}"), ("nothing was compiled", 1, "Python 3.14: nothing was compiled")],
    ids=["right", "wrong"],
)
def test_a_package_that_is_not_built_as_it_should_be_is_an_error(prepared, monkeypatch, capsys, wrong, code, told):
    """A core that only this Python's headers refuse must not pass as a skip."""
    monkeypatch.setattr(newer_pythons, "build", lambda *_: wrong)
    assert newer_pythons.main([str(prepared), "3.14"]) == code
    assert capsys.readouterr().out.startswith(told)


def test_a_program_that_fails_tells_why_but_not_which_mirror_is_used():
    """The output of CI is public; names of a company's own servers are not."""
    code = "import sys; sys.exit('E: http://mirror.example.com/debian has no release')"
    with pytest.raises(Missing, match=r"does not succeed: E: http://…/debian has no release$"):
        newer_pythons.run(sys.executable, "-c", code)
