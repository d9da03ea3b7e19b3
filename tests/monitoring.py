"""What is shipped for Prometheus and Grafana, as the tests read it."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[1] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))

_VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}
_METRIC = re.compile(r"\b(?:xiaod|process)_\w+")


def alerts() -> dict[str, dict[str, Any]]:
    """Alert rules by name."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def panels(dashboard: Path) -> list[dict[str, Any]]:
    """Panels of a dashboard."""
    found: list[dict[str, Any]] = json.loads(dashboard.read_text(encoding="utf-8"))["panels"]
    return found


def queries() -> dict[str, str]:
    """Every query of alerts and dashboards by where it stands, with Grafana's variables filled in."""
    found = {f"alert {name}": str(rule["expr"]) for name, rule in alerts().items()}
    for dashboard in DASHBOARDS:
        document = json.loads(dashboard.read_text(encoding="utf-8"))
        for panel in document["panels"]:
            for target in panel.get("targets", []):
                found[f"{dashboard.name}: {panel['title']} {target['refId']}"] = target["expr"]
        for entry in document["annotations"]["list"]:
            found[f"{dashboard.name}: {entry['name']}"] = entry["expr"]
    for variable, value in _VARIABLES.items():
        found = {place: query.replace(variable, value) for place, query in found.items()}
    return found


def metrics_of(query: str) -> set[str]:
    """Names of metrics in a query."""
    return set(_METRIC.findall(query))
