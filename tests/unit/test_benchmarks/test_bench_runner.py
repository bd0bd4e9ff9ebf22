"""The order of the cases, what a failing subject does to a run, and one real case in a process of its own."""

from __future__ import annotations

import json
import os
import random
from dataclasses import asdict
from types import SimpleNamespace

import pytest

from benchmarks import child, runner
from benchmarks.__main__ import arguments
from benchmarks.host import CaseError, Order, Running, run
from benchmarks.measures import MEASURES, measure_named
from benchmarks.subjects import chosen, subject_class

SUBJECTS = chosen(["ours-async", "floor-noop", "floor-write"])


def plan(**changes):
    measures = [measure_named("burst"), measure_named("idle")]
    usual = {"mode": "quick", "seed": 1, "measures": measures, "subjects": SUBJECTS, "rounds": None, "budget": 60.0}
    return runner.Plan(**{**usual, **changes})


def order_of(seed, **changes):
    cases = runner.cases(plan(**changes), SUBJECTS, random.Random(seed))
    return [(case.round, case.measure.name, case.subject.name) for case in cases]


def test_same_seed_same_order():
    """The seed decides the order, so that a run can be repeated."""
    assert order_of(5) == order_of(5)
    assert len({tuple(order_of(seed)) for seed in range(10)}) > 1


def test_subjects_of_a_measure_follow_one_another():
    """What is compared was measured within seconds: a measure is finished before the next one of the round."""
    found = order_of(3, rounds=2)
    assert len(found) == 2 * 2 * 3
    for start in range(0, len(found), 3):
        group = found[start : start + 3]
        assert len({case[:2] for case in group}) == 1
        assert len({case[2] for case in group}) == 3


def test_measure_takes_part_in_its_own_number_of_rounds():
    """A measure that is slow or steady takes part in fewer rounds than the others."""
    rounds = {measure.name: measure.quick["rounds"] for measure in (measure_named("burst"), measure_named("idle"))}
    assert {name: sum(case[1] == name for case in order_of(1)) / 3 for name in rounds} == rounds


def test_subject_that_does_not_work_is_skipped_with_the_reason(monkeypatch):
    """A peer that cannot be imported is named with the reason and takes no part; the run goes on."""

    def check(subject):
        if subject.name == "floor-write":
            raise CaseError("ModuleNotFoundError: No module named 'peer'")
        return []

    monkeypatch.setattr(runner, "check", check)
    monkeypatch.setattr(type(measure_named("burst")), "outside", lambda *_: {"p50_us": 1.0})
    report = runner.execute(plan(measures=[measure_named("burst")], rounds=1), lambda _: None)
    assert report["subjects"]["floor-write"]["skipped"] == "ModuleNotFoundError: No module named 'peer'"
    assert {run["subject"] for run in report["runs"]} == {"ours-async", "floor-noop"}
    assert report["summary"]["burst"]["ours-async"]["p50_us"]["median"] == 1.0


def test_subject_may_take_part_in_some_measures_only():
    """The chain without the core is compared in a burst, and would only take time elsewhere."""
    plain = subject_class("ours-plain")
    taken = [measure.name for measure in MEASURES if runner.takes_part(plain, measure)]
    assert taken == ["burst"]


def test_variables_of_a_subject_are_set_before_its_library_is_imported(tmp_path, monkeypatch):
    """The child that measures the chain without the core tells the library so."""
    monkeypatch.setenv("METAEXPERT_PURE_PYTHON", "")
    seen = SimpleNamespace(inside=lambda *_: {"pure": os.environ["METAEXPERT_PURE_PYTHON"]})
    monkeypatch.setattr(child, "measure_named", lambda _: seen)
    order = asdict(Order("burst", "ours-plain", str(tmp_path), {}))
    (tmp_path / "order.json").write_text(json.dumps({**order, "result": str(tmp_path / "result")}), "utf-8")
    child.main(str(tmp_path / "order.json"))
    assert json.loads((tmp_path / "result").read_text("utf-8")) == {"pure": "1"}


def test_failed_case_is_reported_and_the_run_goes_on(monkeypatch):
    """A case that fails leaves its reason in the report, and no figure."""

    def outside(self, subject, settings):
        if subject.name == "ours-async":
            raise CaseError("not done after 3 s")
        return {"p50_us": 2.0}

    monkeypatch.setattr(runner, "check", lambda _: [])
    monkeypatch.setattr(type(measure_named("burst")), "outside", outside)
    report = runner.execute(plan(measures=[measure_named("burst")], rounds=1), lambda _: None)
    assert [run["error"] for run in report["runs"] if "error" in run] == ["not done after 3 s"]
    assert set(report["summary"]["burst"]) - {"ours-async"} == {"floor-noop", "floor-write"}


def test_run_ends_with_its_budget(monkeypatch):
    """When the time is used up no further case begins, and the report says so."""
    monkeypatch.setattr(runner, "check", lambda _: [])
    report = runner.execute(plan(budget=-1.0), lambda _: None)
    assert report["runs"] == []
    assert "budget" in report["cut_short"]


def test_case_runs_in_a_process_of_its_own(tmp_path):
    """A real burst: every entry that was logged is found in the rotated files."""
    settings = {"calls": 400, "seconds": 20.0, "max_bytes": 50_000}
    figures = measure_named("burst").outside(subject_class("floor-write"), settings)
    assert (figures["calls"], figures["missing"]) == (400, 0)
    assert 0 < figures["p50_us"] <= figures["p99_us"] <= figures["p999_us"] <= figures["max_us"]


def test_child_that_fails_says_why(tmp_path):
    """The last line of the child's complaint is the reason, not just an exit code."""
    with pytest.raises(CaseError, match="unknown"):
        run(Order("burst", "unknown", str(tmp_path), {}), 30)


def test_no_child_is_left_behind(tmp_path):
    """A child that does not end in time is killed when the case is over."""
    order = Order("burst", "floor-noop", str(tmp_path), {"calls": 10**7, "seconds": 50.0})
    with Running(order) as child, pytest.raises(CaseError, match="not done"):
        child.result(0.05)
    assert child.process.returncode is not None


@pytest.mark.parametrize("wrong", [["--only", "bursts"], ["--subjects", "ours"], ["--quick", "--full"]])
def test_wrong_command_line_is_refused(wrong, capsys):
    """An unknown measure or subject is refused before anything runs."""
    with pytest.raises(SystemExit) as refusal:
        arguments(wrong)
    assert refusal.value.code == 2
    assert capsys.readouterr().err


def test_every_measure_has_both_modes():
    """Each measure says how often and how long it runs in either mode, and can be found by its name."""
    for measure in MEASURES:
        assert measure_named(measure.name) is measure
        assert {"rounds", "seconds"} <= set(measure.quick) & set(measure.full)
