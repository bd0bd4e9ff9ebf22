"""The check of the wheel: it tells what is missing and what does not belong there."""

from __future__ import annotations

import zipfile

import check_wheel
import pytest

GOOD = {
    "metaexpert/__init__.py": "",
    "metaexpert/__main__.py": "",
    "metaexpert/py.typed": "",
    "metaexpert-1.0.dist-info/entry_points.txt": "[console_scripts]\nmetaexpert = metaexpert.__main__:main\n",
    "metaexpert-1.0.dist-info/licenses/LICENSE": "MIT",
}


@pytest.fixture
def wheel(tmp_path):
    """Return a function that makes a wheel of files, less some and plus others."""

    def make(*without, **more):
        path = tmp_path / "metaexpert-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in ({name: text for name, text in GOOD.items() if name not in without} | more).items():
                archive.writestr(name, text)
        return path

    return make


def test_a_complete_wheel_has_no_problem(wheel):
    """What we ship passes."""
    assert list(check_wheel.problems(wheel())) == []


@pytest.mark.parametrize("name", GOOD)
def test_each_missing_part_is_told(wheel, name):
    """Nothing that a user needs may be missing."""
    assert len(list(check_wheel.problems(wheel(name)))) == 1


@pytest.mark.parametrize("name", ["tests/test_x.py", "metaexpert/expert.log", "examples/a.py"])
def test_what_does_not_belong_there_is_told(wheel, name):
    """Tests, logs and examples stay out."""
    assert any(name in problem for problem in check_wheel.problems(wheel(**{name: ""})))


def test_the_exit_code_tells_whether_all_is_well(wheel, capsys):
    """As a command it ends with 0 only when a wheel was named and is right."""
    assert check_wheel.main([str(wheel())]) == 0
    assert check_wheel.main([str(wheel("metaexpert/py.typed"))]) == 1
    assert "py.typed is missing" in capsys.readouterr().out
    assert check_wheel.main([]) == 1
