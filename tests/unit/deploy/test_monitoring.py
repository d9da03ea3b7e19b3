"""Alerts and dashboard: promtool's verdict, an alert that fires in a test for every rule, and panels that fit together."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.monitoring import ALERTS, DASHBOARDS, DEPLOY, alerts, metrics_of, panels, queries

PROMETHEUS = DEPLOY / "prometheus"
RULE_TESTS = sorted(PROMETHEUS.glob("*_test.yaml"))

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed"
)


def promtool(*arguments: object) -> None:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_rules_and_configuration_are_valid() -> None:
    promtool("check", "rules", ALERTS)
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.name)
def test_alerts_fire_when_they_should(path: Path) -> None:
    promtool("test", "rules", path)


THRESHOLD = re.compile(r"([<>] (?:bool )?)(-?(?=[\d.]*[1-9])[\d.]+(?:e\d+)?)")
"""A number that a query compares with, unless it is zero."""
FACTOR = 3


def scaled(text: str, part: str, factor: float) -> tuple[str, set[str]]:
    """The rules with all thresholds, or all times that a condition must last, multiplied; and the alerts that this changes."""
    document = yaml.safe_load(text)
    changed = set()
    for group in document["groups"]:
        for rule in group["rules"]:
            before = dict(rule)
            if part == "expr":
                rule["expr"] = THRESHOLD.sub(
                    lambda found: f"{found[1]}{float(found[2]) * factor!r}", rule["expr"]
                )
            elif "for" in rule:
                minutes = {"m": 1, "h": 60}[rule["for"][-1]] * int(rule["for"][:-1])
                rule["for"] = f"{round(minutes * 60 * factor)}s"
            if rule != before:
                changed.add(rule["alert"])
    return yaml.safe_dump(document, sort_keys=False, width=1000), changed


@needs_promtool
@pytest.mark.parametrize("factor", [FACTOR, 1 / FACTOR], ids=["more", "less"])
@pytest.mark.parametrize("part", ["expr", "for"])
def test_no_threshold_can_change_unnoticed(part: str, factor: float, tmp_path: Path) -> None:
    text, changed = scaled(ALERTS.read_text(encoding="utf-8"), part, factor)
    (tmp_path / ALERTS.name).write_text(text, encoding="utf-8")
    for path in RULE_TESTS:
        shutil.copy(path, tmp_path)
    done = subprocess.run(
        ["promtool", "test", "rules", *(path.name for path in RULE_TESTS)],
        capture_output=True, text=True, check=False, timeout=100, cwd=tmp_path,
    )  # fmt: skip
    noticed: set[str] = set()
    for expected, got in re.findall(
        r"exp:(.*?)got:(.*?)(?=FAILED|Unit Testing|expr:|\Z)", done.stdout + done.stderr, re.S
    ):
        noticed |= set(re.findall(r'alertname="(\w+)"', expected)) ^ set(
            re.findall(r'alertname="(\w+)"', got)
        )
    assert len(changed) > 10
    assert changed - noticed == set()


def test_every_alert_fires_in_a_test_and_is_explained() -> None:
    fired = {
        name
        for path in RULE_TESTS
        for name in re.findall(r'labels: .*alertname="(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert fired == set(alerts())
    explained = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert [name for name in alerts() if f"`{name}`" not in explained] == []
    for rule in alerts().values():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description"}


@needs_promtool
def test_every_query_is_valid(tmp_path: Path) -> None:
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries().values())]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", path)
    assert len(rules) > len(alerts())
    assert [place for place, query in queries().items() if "up{" not in query and not metrics_of(query)] == []


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.name)
def test_panels_fit_together(dashboard: Path) -> None:
    found = panels(dashboard)
    assert len({panel["id"] for panel in found}) == len(found)
    assert {panel["type"] for panel in found} == {"row", "stat", "timeseries"}
    places: set[tuple[int, int]] = set()
    for panel in found:
        grid = panel["gridPos"]
        cells = {
            (column, line)
            for column in range(grid["x"], grid["x"] + grid["w"])
            for line in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & places, panel["title"]
        assert grid["x"] + grid["w"] <= 24
        places |= cells
        if panel["type"] != "row":
            assert panel["targets"], panel["title"]


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text(encoding="utf-8"))["datasources"]  # fmt: skip
    [provider] = yaml.safe_load((provisioning / "dashboards/xiaod.yaml").read_text(encoding="utf-8"))["providers"]  # fmt: skip
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    mounted = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted
    assert "/etc/grafana/provisioning" in mounted
