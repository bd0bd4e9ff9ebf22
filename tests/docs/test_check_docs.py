"""The check of the pages: clean on ours, and a problem for each thing that can be wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import check_docs
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path):
    """Return a copy of all pages and of what they point to."""
    root = tmp_path / "project"
    unneeded = (".venv*", ".git", ".*_cache", ".hypothesis", "logs", "data", "site")
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*unneeded))
    return root


def replace(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def test_our_pages_are_right():
    """The pages of this repository have no problem."""
    assert check_docs.problems(ROOT) == []


def test_a_link_to_nowhere_is_told(copy):
    """A link to a file that does not exist is told with page and line."""
    (copy / "docs/extra.md").write_text("# Extra\n\n[gone](gone.md) and [well](../README.md)\n")

    assert check_docs.problems(copy) == ["docs/extra.md:3: there is no file gone.md"]


def test_an_anchor_to_nowhere_is_told(copy):
    """An anchor without its heading is told, on the same page and on another."""
    (copy / "docs/extra.md").write_text("# Extra\n[a](#extra) [b](#other)\n[c](README.md#nothing)\n")

    assert check_docs.problems(copy) == [
        "docs/extra.md:2: extra.md has no heading #other",
        "docs/extra.md:3: README.md has no heading #nothing",
    ]


def test_links_to_the_web_are_left_alone(copy):
    """No check depends on the network."""
    (copy / "docs/extra.md").write_text("[web](https://example.invalid/x) [mail](mailto:a@example.invalid)\n")

    assert check_docs.problems(copy) == []


def test_hidden_and_built_directories_are_no_pages(copy):
    """Pages of installed packages are not ours."""
    for name in (".venv-3.13", "dist", "logs", "site"):
        (copy / name).mkdir()
        (copy / name / "page.md").write_text("[gone](gone.md)\n")

    assert check_docs.problems(copy) == []


def test_a_guide_that_the_index_lacks_is_told(copy):
    """Each guide is reached from the index."""
    (copy / "docs/guides/new.md").write_text("# New\n")

    assert check_docs.problems(copy) == ["docs/README.md:1: the index lacks guides/new.md"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("| `backup_count` | `5` |", "| `backup_count` | `7` |", "the default of backup_count is `5`, not `7`"),
        (
            '| `max_file_size` | `"10MB"` |',
            "| `max_file_size` | `10` |",
            'the default of max_file_size is `"10MB"`, not `10`',
        ),
        ("| `rotate_when` | none |", "| `rotate_when` | `0` |", "the default of rotate_when is none, not `0`"),
        ("| `fsync` |", "| `fsink` |", "fsink is no field of LoggerConfig"),
        ("| `fsync` |", "| `overflow` |", "overflow stands in the table twice"),
    ],
)
def test_a_wrong_row_in_the_table_of_settings_is_told(copy, old, new, expected):
    """Defaults and names in the table are those of the model."""
    replace(copy / check_docs.GUIDE, old, new)

    assert any(problem.endswith(expected) for problem in check_docs.problems(copy))


def test_a_missing_setting_is_told(copy):
    """A field without a row is told."""
    replace(copy / check_docs.GUIDE, "| `facility` | `16` |", "| | |")

    assert "docs/guides/logging.md:1: the table of settings lacks facility" in check_docs.problems(copy)


def test_a_public_name_that_the_guide_does_not_mention_is_told(copy):
    """Each name of the public interface stands in the guide, as a word of its own."""
    page = copy / check_docs.GUIDE
    page.write_text(page.read_text("utf-8").replace("trade_context", "trade_contexts"), "utf-8")

    assert check_docs.problems(copy) == ["docs/guides/logging.md:1: the guide does not mention trade_context"]


def test_a_test_that_does_not_exist_is_told(copy):
    """A page may name a test file, a class in it, or a test; each has to be there."""
    (copy / "docs/extra.md").write_text(
        "`test_check_docs.py` `test_check_docs.py::test_our_pages_are_right` `test_failures.py::TestDisk`\n"
        "`test_nothing.py` `test_check_docs.py::test_gone` `test_failures.py::TestDisk::test_gone`\n"
    )

    assert check_docs.problems(copy) == [
        "docs/extra.md:2: there is no test test_nothing.py",
        "docs/extra.md:2: there is no test test_check_docs.py::test_gone",
        "docs/extra.md:2: there is no test test_failures.py::TestDisk::test_gone",
    ]


def test_a_guarantee_without_a_test_is_told(copy):
    """Each section of the guarantees names what proves it."""
    page = copy / "docs/guarantees.md"
    page.write_text(page.read_text("utf-8") + "\n## More\n\n### It never rains\n\nProbably.\n", "utf-8")

    assert check_docs.problems(copy) == ["docs/guarantees.md:1: no test proves 'It never rains'"]


def test_a_command_that_ci_does_not_run_is_told(copy):
    """The README's commands stand in .ci/run as they are."""
    replace(copy / "README.md", "run pytest\n", "run pytest -x\n")

    (problem,) = check_docs.problems(copy)
    assert problem.startswith("README.md:")
    assert problem.endswith(".ci/run does not run this command as it stands here")


def test_a_third_command_is_told(copy):
    """The README has exactly two set-up commands."""
    replace(copy / "README.md", "## What it does\n", "```bash\nmake\n```\n\n## What it does\n")

    assert check_docs.problems(copy)[0] == "README.md:1: 3 set-up commands (bash blocks) instead of 2"


def test_the_tool_prints_one_line_per_problem_and_exits_with_1(monkeypatch, copy, capsys):
    """As a command it prints the problems and its exit code tells whether there are any."""
    assert check_docs.main() == 0
    assert capsys.readouterr().out == ""
    (copy / "docs/extra.md").write_text("[gone](gone.md)\n\n[gone](lost.md)\n")
    monkeypatch.setattr(check_docs, "ROOT", copy)

    assert check_docs.main() == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_set_up_commands_stand_near_the_top():
    """A newcomer finds both commands within the first screen."""
    assert all(block.line < 25 for block in check_docs.setup_commands(ROOT))


def test_the_commands_that_contributing_names_exist():
    """Each `make` target in CONTRIBUTING is one of the Makefile."""
    words = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("`make ")[1:]
    targets = {word.split("`")[0].split()[0] for word in words}
    makefile = (ROOT / "Makefile").read_text("utf-8")

    assert targets
    assert [target for target in targets if f"\n{target}:" not in makefile] == []
