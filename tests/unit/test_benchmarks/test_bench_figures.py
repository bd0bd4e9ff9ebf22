"""Percentiles, medians over rounds and ratios within a round."""

from __future__ import annotations

from benchmarks.figures import differences, latency, percentile, ratios, summarize


def run(number, subject, value, measure="burst", figure="p50_us"):
    return {"round": number, "measure": measure, "subject": subject, "figures": {figure: value}}


def test_percentile_is_the_nearest_rank():
    """The percentile is a value that was measured, counted from below and rounded up."""
    ordered = list(range(1, 1001))
    assert [percentile(ordered, share) for share in (50, 99, 99.9, 100)] == [500, 990, 999, 1000]
    assert percentile([7], 50) == percentile([7], 99.9) == 7


def test_latency_is_in_microseconds_of_unsorted_samples():
    """Nanoseconds in any order become p50, p99, p99.9 and maximum in microseconds; no samples, no figures."""
    found = latency([3000, 1000, 2000], "late_")
    assert found == {"late_p50_us": 2.0, "late_p99_us": 3.0, "late_p999_us": 3.0, "late_max_us": 3.0}
    assert latency([]) == {}


def test_summary_leaves_out_failed_runs():
    """A run that failed has no figures and changes no median."""
    runs = [run(0, "a", 1.0), run(1, "a", 9.0), run(2, "a", 2.0), {"round": 3, "measure": "burst", "subject": "a"}]
    spread = summarize(runs)["burst"]["a"]["p50_us"]
    assert spread == {"median": 2.0, "low": 1.0, "high": 9.0, "total": 12.0, "rounds": 3}


def test_ratio_is_taken_within_each_round():
    """A round in which the whole machine was ten times slower does not move the ratio."""
    runs = [run(0, "ours", 1.0), run(0, "peer", 2.0), run(1, "ours", 10.0), run(1, "peer", 20.0), run(2, "ours", 99.0)]
    assert ratios(runs, "burst", "p50_us", "peer") == {"ours": 0.5, "peer": 1.0}
    assert differences(runs, "burst", "p50_us", "peer") == {"ours": -5.5, "peer": 0.0}


def test_no_ratio_to_nothing():
    """A reference that was not measured, or is zero, gives no ratio rather than an error."""
    runs = [run(0, "ours", 1.0), run(0, "peer", 0.0)]
    assert ratios(runs, "burst", "p50_us", "peer") == ratios(runs, "burst", "p50_us", "absent") == {}
