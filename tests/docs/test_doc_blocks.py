"""The runner of blocks: it must notice a page that is wrong."""

from __future__ import annotations

import json

import doc_blocks
import pytest

ENTRY = {
    "timestamp": "2026-11-22T10:31:00.123456Z",
    "level": "info",
    "severity": 6,
    "facility": 16,
    "version": 1,
    "hostname": "desk",
    "appname": "Bot",
    "procid": "1",
    "msgid": "log",
    "sequence_id": 1,
    "message": "Ready",
    "expert_name": "Bot",
}


@pytest.fixture
def problems(tmp_path):
    """Return a function that runs a page and returns its problems."""

    def run(page):
        runner = doc_blocks.Runner(tmp_path)
        for _, section in doc_blocks.sections(page):
            runner.run(section)
        return runner.problems

    return run


def page(*blocks):
    return "\n\n".join(f"```{language}\n{text}\n```" for language, text in blocks)


def test_a_program_that_fails_is_a_problem_with_its_line(problems):
    """A program that ends with an error is told by line, with what it printed."""
    (problem,) = problems("# Page\n\n" + page(("python", "print('so far')\nraise SystemExit(3)")))

    assert problem == "line 4: exit code 3\nso far\n"


def test_output_that_the_page_shows_otherwise_is_a_problem(problems):
    """A text block must be what the block above it printed."""
    assert problems(page(("python", "print('one')"), ("text", "one"))) == []
    assert len(problems(page(("python", "print('one')"), ("text", "two")))) == 1
    assert len(problems(page(("python", "print('one')\nprint('more')"), ("text", "one")))) == 1


@pytest.mark.parametrize(
    ("shown", "same"),
    [
        ("2001-01-01 00:00:00.000 [info ] Ready", True),
        ("2001-01-01 00:00:00.000 [info ] …", True),
        ("2001-01-01 00:00:00.000 [info ] Read…y", True),
        ("2001-01-01 00:00:00.000 […] Steady", False),
        ("…", True),
        ("…\n2001-01-01 00:00:00.000 [info ] Ready", True),
        ("now [info ] Ready", False),
    ],
)
def test_times_and_dots_stand_for_what_varies(problems, shown, same):
    """Any time is as good as another; dots stand for anything in a line, and alone for any lines."""
    printed = "print('2026-11-22 10:31:00.123 [info ] Ready')"

    assert (problems(page(("python", printed), ("text", shown))) == []) is same


def test_dots_within_a_line_do_not_swallow_lines(problems):
    """Dots behind text stand for the rest of that line only."""
    assert len(problems(page(("python", "print('a b')\nprint('c')"), ("text", "a …")))) == 1


def test_files_are_written_for_the_blocks_below(problems):
    """A toml or ini block becomes the file that it names, and programs find it."""
    program = "print(open('x.toml').read().splitlines()[1])"

    assert problems(page(("toml", "# x.toml\nkey = 1"), ("python", program), ("text", "key = 1"))) == []


def test_a_file_without_a_name_is_a_problem(problems):
    """A toml block must say which file it is."""
    assert "file's name" in problems(page(("toml", "key = 1")))[0]


def test_a_python_block_may_name_its_file(problems):
    """A first line with a file name makes the block that file, for commands below."""
    assert problems(page(("python", "# bot.py\nprint('hi')"), ("console", "$ python bot.py\nhi"))) == []


def test_examples_are_there_for_a_section_that_mentions_them(problems):
    """A reader runs the blocks in a clone, so they find its examples."""
    assert problems(page(("python", "print(open('examples/data/eurusd_1h.csv').readline())"))) == []


def test_a_text_without_a_program_is_only_looked_at(problems):
    """Text with nothing run above it in its section is not compared."""
    assert problems(page(("text", "an example"))) == []


def test_commands_are_compared_one_by_one(problems):
    """Each command of a console block is compared with the lines below it; without any it needs only to succeed."""
    session = (
        "$ python -c 'print(1)'\n1\n$ python -c 'print(2)'\n$ A=5 python -c 'import os; print(os.environ[\"A\"])'\n5"
    )

    assert problems(page(("console", session))) == []
    assert len(problems(page(("console", session.replace("\n1\n", "\n7\n"))))) == 1


def test_a_command_that_fails_or_is_foreign_is_a_problem(problems):
    """A command must end with 0, and be one of ours."""
    assert "exit code 2" in problems(page(("console", "$ python -c 'raise SystemExit(2)'")))[0]
    assert "begins with" in problems(page(("console", "$ rm -rf logs")))[0]


def test_settings_of_the_machine_do_not_reach_the_blocks(problems, monkeypatch):
    """Variables of ours that happen to be set outside are taken away."""
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    monkeypatch.setenv("METAEXPERT_LOG_DIR", "elsewhere")
    program = "import os\nprint('LOG_LEVEL' in os.environ, 'METAEXPERT_LOG_DIR' in os.environ)"

    assert problems(page(("python", program), ("text", "False False"))) == []


def test_an_entry_must_have_been_logged(problems, tmp_path):
    """An entry of the page is one of those in the logs, whatever its time, process and machine."""
    logged = {**ENTRY, "timestamp": "2031-01-01T00:00:00.000000Z", "procid": "77", "sequence_id": 5}
    (tmp_path / "expert.log").write_text(json.dumps(logged) + "\n")

    assert problems(page(("json", json.dumps(ENTRY, indent=2)))) == []
    assert problems(page(("json", json.dumps(ENTRY) + "\n" + json.dumps(ENTRY)))) == []
    assert "does not log" in problems(page(("json", json.dumps({**ENTRY, "message": "Steady"}))))[0]


def test_an_entry_must_obey_the_schema(problems):
    """An entry that is none is told before anything is looked for."""
    assert "not a valid entry" in problems(page(("json", json.dumps({**ENTRY, "severity": 5}))))[0]


def test_other_json_is_only_read(problems):
    """JSON that is no entry need not be in any log."""
    assert problems(page(("json", '{"any": "thing"}'))) == []


def test_the_tool_prints_and_gives_an_exit_code(tmp_path, capsys):
    """As a command it shows what was printed and what is wrong."""
    (tmp_path / "good.md").write_text("## Part\n\n" + page(("python", "print('hello')")))
    (tmp_path / "bad.md").write_text(page(("python", "raise SystemExit(1)")))

    assert doc_blocks.main([str(tmp_path / "good.md")]) == 0
    assert "--- Part, line 4\nhello" in capsys.readouterr().out
    assert doc_blocks.main([str(tmp_path / "bad.md")]) == 1
    assert "bad.md: line 2: exit code 1" in capsys.readouterr().out
