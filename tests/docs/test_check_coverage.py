"""The judge of coverage: lines and branches together count, of our package alone."""

from __future__ import annotations

import json

import check_coverage


def data(**files):
    """Return a report: per file covered lines, lines, covered branches, branches."""
    names = ("covered_lines", "num_statements", "covered_branches", "num_branches")
    return {
        "files": {
            f"src/metaexpert/{name}.py": {"summary": dict(zip(names, c, strict=True))} for name, c in files.items()
        }
    }


def test_enough_of_both_passes():
    """At the mark is enough."""
    assert check_coverage.report(data(**{"logger/a": (95, 100, 19, 20)}))[1] is True


def test_branches_count_with_the_lines_and_are_shown_alone():
    """Branches that no test takes weigh as much as lines, and their own share is printed."""
    lines, enough = check_coverage.report(data(**{"logger/a": (100, 100, 80, 100)}))

    assert not enough
    assert "80.00 % of branches" in lines[0]


def test_a_little_less_is_not_rounded_up():
    """94.99 is below 95."""
    assert check_coverage.report(data(**{"logger/a": (9499, 10000, 0, 0)}))[1] is False


def test_other_packages_do_not_help():
    """Only files of the logger are counted, on Windows too."""
    report = data(**{"logger/a": (50, 100, 0, 0), "cli/b": (1000, 1000, 0, 0)})
    report["files"] = {name.replace("/", "\\"): file for name, file in report["files"].items()}

    assert check_coverage.report(report)[1] is False


def test_weak_files_are_named():
    """The report names the files below the mark."""
    lines, enough = check_coverage.report(data(**{"logger/a": (1000, 1000, 100, 100), "logger/b": (5, 10, 0, 0)}))

    assert enough
    assert [line for line in lines if "logger/b.py" in line] == ["  src/metaexpert/logger/b.py: 50.0 %, 100.0 %"]


def test_a_report_without_the_package_fails():
    """Nothing measured is not a pass."""
    assert check_coverage.report(data(**{"cli/b": (1, 1, 0, 0)}))[1] is False


def test_the_exit_code_tells_the_verdict(tmp_path, capsys):
    """As a command it reads the report and ends with 0 or 1."""
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(data(**{"logger/a": (9, 10, 0, 0)})))

    assert check_coverage.main([str(path)]) == 1
    path.write_text(json.dumps(data(**{"logger/a": (10, 10, 2, 2)})))
    assert check_coverage.main([str(path)]) == 0
    assert "metaexpert/logger" in capsys.readouterr().out
