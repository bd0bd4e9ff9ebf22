"""The dashboard and the alert rules in `deploy/` fit the metrics that an expert serves, and Prometheus takes them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from metaexpert.logger import MetaLogger

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = json.loads((DEPLOY / "grafana" / "metaexpert.json").read_text("utf-8"))
#: One series for each alert, and the minute at which it must have fired.
FIRES = {
    "MetaExpertDown": ('up{job="metaexpert",instance="box:1"}', "1 1 0x30", 10),
    "MetaExpertErrors": ('metaexpert_log_entries_total{expert="ema",instance="box:1",level="error"}', "0+3x30", 10),
    "MetaExpertSilent": ('metaexpert_log_entries_total{expert="ema",instance="box:1",level="info"}', "5x60", 30),
    "MetaExpertEntriesDropped": (
        'metaexpert_log_dropped_total{expert="ema",instance="box:1",level="debug"}',
        "0+1x30",
        10,
    ),
    "MetaExpertEntriesFailed": ('metaexpert_log_failed_total{expert="ema",instance="box:1"}', "0+1x30", 10),
    "MetaExpertQueueGrows": ('metaexpert_log_queue_bytes{expert="ema",instance="box:1"}', "5000000x30", 10),
    "MetaExpertSlowCalls": (
        'metaexpert_log_call_seconds_bucket{expert="ema",instance="box:1",le="0.01"}',
        "0+9x60",
        30,
    ),
    "MetaExpertNoTrades": ('metaexpert_trades_total{expert="ema",symbol="BTCUSDT",side="buy"}', "0+1x60 60x100", 150),
}
program = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt-get install prometheus)"
)


def expressions() -> Iterator[str]:
    """Yield the queries of the dashboard's panels on metrics."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            if target["datasource"]["type"] == "prometheus":
                yield target["expr"]


def test_the_metrics_of_rules_and_dashboard_are_those_that_an_expert_serves() -> None:
    """Names and labels are real ones."""
    with MetaLogger(expert_name="ema", metrics=True, log_to_console=False) as logger:
        logger.trade.info("Order filled", symbol="BTCUSDT", side="BUY", size=0.5, price=70000.0, fee=3.5)
        logger.flush()
        served = generate_latest(logger.metrics).decode()
    names = set(re.findall(r"^# TYPE (\S+)", served, re.MULTILINE))
    names |= {name + "_bucket" for name in names}
    asked = " ".join([RULES.read_text("utf-8"), *expressions()])
    assert set(re.findall(r"\bmetaexpert_[a-z_]+", asked)) <= names
    labels = set(re.findall(r"(\w+)=\"", served)) | {"instance", "job"}
    grouped = {name for names in re.findall(r"by \(([^)]*)\)", asked) for name in names.split(", ")}
    assert grouped | set(re.findall(r"[{,](\w+)=", asked)) <= labels


def test_the_dashboard_is_whole() -> None:
    """Each panel has an id of its own, a place where no other is, queries, and a data source that one can choose."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells
        assert all(x < 24 for x, _ in cells)
        taken |= cells
        assert panel["type"] == "row" or panel["targets"]
    chosen = {f"${{{variable['name']}}}" for variable in DASHBOARD["templating"]["list"]}
    assert {panel["datasource"]["uid"] for panel in panels if "datasource" in panel} <= chosen


def run(*words: Any) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.program
@program
def test_prometheus_takes_the_configuration_and_every_query(tmp_path: Path) -> None:
    """promtool finds nothing wrong, also with the queries of the dashboard."""
    checked = run("check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m").replace("$expert", ".*")}
        for number, query in enumerate(expressions())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    checked = run("check", "rules", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(rules)} rules found" in checked.stdout


@pytest.mark.program
@program
def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    """Each of its series makes it fire; without any all are quiet."""
    assert set(re.findall(r"alert: (\w+)", RULES.read_text("utf-8"))) == set(FIRES)
    tests: list[dict[str, Any]] = [
        {
            "interval": "1m",
            "input_series": [
                {"series": one, "values": values} for one in (series, series.replace('le="0.01"', 'le="+Inf"'))
            ][: 1 + ("le=" in series)],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})',
                    "eval_time": f"{minute}m",
                    "exp_samples": [{"labels": "{}", "value": 1}],
                },
                {
                    "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})',
                    "eval_time": "0m",
                    "exp_samples": [],
                },
            ],
        }
        for name, (series, values, minute) in FIRES.items()
    ]
    path = tmp_path / "tests.yml"
    path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    checked = run("test", "rules", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
