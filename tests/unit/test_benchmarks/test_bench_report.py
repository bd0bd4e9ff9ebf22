"""Tables, the block in README, and the targets, from a report made by hand."""

from __future__ import annotations

import json

import pytest

from benchmarks import __main__ as command
from benchmarks import report as pages
from benchmarks import targets
from benchmarks.figures import summarize
from benchmarks.table import render, summary


def subject(title, kind="peer", **changes):
    usual = {"title": title, "kind": kind, "structured": True, "rotates": True, "writes": True, "note": ""}
    return {**usual, "versions": {}, "lacks": [], **changes}


@pytest.fixture
def report():
    subjects = {
        "ours-async": subject("metaexpert", "ours"),
        "structlog-native": subject("structlog", rotates=False, versions={"structlog": "26.1"}),
        "nautilus": subject("nautilus"),
        "spdlog": subject("spdlog", skipped="ModuleNotFoundError: no spdlog"),
        "floor-noop": subject("no-op", "floor", writes=False),
        "floor-mmap": subject("mmap", "floor"),
    }
    figures: dict[str, dict[str, dict[str, float]]] = {
        "burst": {"p50_us": {"ours-async": 2.0, "structlog-native": 8.0, "nautilus": 1.0, "floor-mmap": 1.0}},
        "paced": {"p50_us": {"ours-async": 2.0, "nautilus": 5.0}, "late_p999_us": {"ours-async": 80, "floor-noop": 50}},
        "imports": {"start_cpu_ms": {"ours-async": 120.0, "structlog-native": 100.0}},
        "throughput": {"entries_per_s": {"ours-async": 300_000, "nautilus": 250_000}},
        "kill-burst": {
            "lost": {"ours-async": 0, "nautilus": 7},
            "doubled": {"ours-async": 0, "nautilus": 0},
            "returned": {"ours-async": 1000, "nautilus": 900},
        },
    }
    runs = [
        {"round": 0, "measure": measure, "subject": name, "figures": {figure: value}}
        for measure, by_figure in figures.items()
        for figure, by_subject in by_figure.items()
        for name, value in by_subject.items()
    ]
    machine = dict.fromkeys(("cpu", "cores", "memory", "kernel", "python", "load_before"), "?")
    return {
        "machine": machine,
        "mode": "quick",
        "seed": 1,
        "began": "2026-11-22T10:31:00+00:00",
        "seconds": 300.0,
        "measures": {},
        "subjects": subjects,
        "runs": runs,
        "summary": summarize(runs),
    }


def test_table_shows_figures_ratios_and_losses(report):
    """A row holds medians, the ratios to both references, and the entries that a kill cost."""
    lines = render(report).splitlines()
    assert "| metaexpert | 2.00 | 0.25 | 2.00 | 2.00 | 0.08 | 300 | 0 of 1,000 |" in lines
    assert any(line.startswith("| nautilus |") and line.endswith("| 7 of 900 |") for line in lines)


def test_rows_where_we_lose_are_listed(report):
    """Where a peer is better, it is named with both figures; a floor is no peer."""
    text = render(report)
    assert "- burst p50 µs, ours 2.00: nautilus (1.00)" in text
    assert "mmap (" not in text


def test_skipped_peer_is_named_with_its_reason(report):
    """A peer that did not run stands under the tables with the reason, and has no row."""
    text = render(report)
    assert "- spdlog: skipped: ModuleNotFoundError: no spdlog" in text
    assert "| spdlog |" not in text


def test_busy_machine_is_said(report):
    """When even the no-op floor came late, the tables warn that tails say little."""
    assert "busy" not in render(report)
    report["summary"]["paced"]["floor-noop"]["late_p999_us"]["median"] = 4000
    assert "The machine was busy" in render(report)


def test_readme_block_is_replaced_and_nothing_else(report, tmp_path):
    """What stands between the markers is replaced, however often; the rest of the page stays as it is."""
    file, page = tmp_path / "r.json", tmp_path / "README.md"
    file.write_text(json.dumps(report), "utf-8")
    page.write_text(f"# Top\n{pages.BEGIN}\nold\n{pages.END}\nbottom\n", "utf-8")
    for _ in range(2):
        assert pages.main([str(file), "--readme", str(page)]) == 0
    text = page.read_text("utf-8")
    assert text.startswith(f"# Top\n{pages.BEGIN}\n")
    assert text.endswith(f"{pages.END}\nbottom\n")
    assert "old" not in text
    assert text.count("lost by SIGKILL") == 1


def test_readme_has_the_best_known_rows_and_marks_the_best_figure(report):
    """README's table keeps the rows where we lose, leaves the floors out, and shows in bold who is best."""
    lines = summary(report).splitlines()
    assert "| metaexpert | 2.00 | **2.00** | **300** | 0 of 1,000 |" in lines
    assert "| nautilus | **1.00** | 5.00 | 250 | 7 of 900 |" in lines
    assert not any(line.startswith(("| no-op", "| mmap", "| spdlog")) for line in lines)


def test_results_are_a_page_of_their_own(report, tmp_path):
    """The command writes the page of all results whole: title, machine, a heading for each table."""
    file, page = tmp_path / "r.json", tmp_path / "RESULTS.md"
    file.write_text(json.dumps(report), "utf-8")
    page.write_text("old\n", "utf-8")
    assert pages.main([str(file), "--results", str(page)]) == 0
    text = page.read_text("utf-8")
    assert text.startswith("# Benchmark results\n")
    assert text.count("## Side by side\n") == 1
    assert "old" not in text


def test_page_without_markers_is_refused(report, tmp_path, capsys):
    """A page that has no place for the tables is left alone and named."""
    file, page = tmp_path / "r.json", tmp_path / "README.md"
    file.write_text(json.dumps(report), "utf-8")
    page.write_text("nothing\n", "utf-8")
    assert pages.main([str(file), "--readme", str(page)]) == 2
    assert page.read_text("utf-8") == "nothing\n"
    assert "benchmark: begin" in capsys.readouterr().err


def test_benchmark_does_not_begin_when_its_page_has_no_place(tmp_path, capsys):
    """A run of minutes would otherwise end with a refusal."""
    page = tmp_path / "README.md"
    page.write_text("nothing\n", "utf-8")
    assert command.main(["--readme", str(page)]) == 2
    assert "benchmark: begin" in capsys.readouterr().err


def outcome(report, text):
    return next(found for found in targets.outcomes(report) if found.target.startswith(text))


def test_targets_compare_ours_with_each_limit(report):
    """A target is met, not met, or, when its peer was skipped, neither."""
    assert outcome(report, "burst: p50_us × structlog-native").met is True
    assert outcome(report, "burst: p50_us × nautilus").met is False
    assert outcome(report, "burst: p50_us × spdlog").met is None
    assert outcome(report, "paced: p50_us, lowest").met is True
    assert outcome(report, "paced: main thread").measured == "+0.030 ms"
    assert outcome(report, "throughput: entries_per_s, highest").met is True
    assert outcome(report, "imports: start_cpu_ms × structlog-native").met is True
    assert outcome(report, "kill-burst: entries lost").met is True


#: Where the requirements' table stands in the targets; the reader's rows are of `benchmarks.reader`.
ROWS = [
    "burst: p50_us × floor-c",
    "throughput: entries_per_s, 1.30 × the best of all",
    "burst: ours-sync p50_us × structlog-native",
    "burst: ours-sync p50_us × stdlib-json",
    "disabled: call_ns × structlog-native",
    "locks: writing thread holds the interpreter lock, p99",
    "loop-lag: lag_p99_us × floor-mmap",
    "paced: main thread's lateness",
    "forks: the longest",
    "imports: start_cpu_ms × structlog-native",
    "burst: ours-plain p50_us × stdlib-json",
    "crowd: idle, × one logger",
    "crowd: one more, × the second",
    "seal: a call, × without",
    "seal: a trade call, × without",
]


@pytest.mark.parametrize("row", ROWS)
def test_each_row_of_the_requirements_has_a_target(report, row):
    """A figure that nobody compares with its limit grows in silence."""
    assert outcome(report, row)


def test_best_peer_counts_whatever_it_takes(report):
    """Entries a second are compared with peers that take only texts, too, and have to be well ahead."""
    assert outcome(report, "throughput: entries_per_s, 1.30").met is False
    report["summary"]["throughput"]["ours-async"]["entries_per_s"]["median"] = 326_000
    assert outcome(report, "throughput: entries_per_s, 1.30").met is True
    report["subjects"]["text"] = subject("text", structured=False)
    report["summary"]["throughput"]["text"] = {"entries_per_s": {"median": 300_000}}
    assert outcome(report, "throughput: entries_per_s, 1.30").met is False
    assert outcome(report, "throughput: entries_per_s, highest").met is True


def test_limits_of_forks_and_holds_are_compared(report):
    """Milliseconds and microseconds, with the floor's beside them."""
    for measure, figure, limit in (("forks", "fork_max_ms", 100), ("locks", "lock_p99_us", 50)):
        for value in (limit, limit + 1):
            spread = {"median": value, "rounds": 1, "total": value}
            report["summary"][measure] = {"ours-async": {figure: spread}, "floor-noop": {figure: {"median": 2}}}
            assert outcome(report, f"{measure}: ").met is (value == limit)
    assert outcome(report, "forks: ").measured == "101 ms (the no-op floor: 2)"


def test_figure_of_ours_that_is_missing_is_not_met(report, tmp_path, capsys):
    """What was not measured is not shown: the exit code is 1."""
    assert outcome(report, "imports: import_ms").met is False
    file = tmp_path / "r.json"
    file.write_text(json.dumps(report), "utf-8")
    assert targets.main([str(file)]) == 1
    assert "NOT MET  imports: import_ms" in capsys.readouterr().out


def test_one_lost_entry_in_any_round_is_not_met(report):
    """Losses are summed over the rounds: a median would hide a rare one."""
    spread = report["summary"]["kill-burst"]["ours-async"]["lost"]
    spread.update(median=0, high=1, total=1, rounds=5)
    assert outcome(report, "kill-burst: entries lost").met is False
