"""Dashboard and alert rules ask for metrics and labels that exist, and every alert says what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter, Gauge, Histogram
from ruamel.yaml import YAML

from orchestrator import metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
BOARD = json.loads((DEPLOY / "grafana/orchestrator.json").read_text(encoding="utf-8"))
RULES = YAML(typ="safe").load((DEPLOY / "prometheus/alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
PROCESS = {"process_resident_memory_bytes": frozenset[str]()}
ALWAYS = {"instance", "job", "le"}


def known() -> dict[str, frozenset[str]]:
    """Every series by its name on the wire, with its labels."""
    found: dict[str, frozenset[str]] = dict(PROCESS)
    for metric in vars(metrics).values():
        if not isinstance(metric, Counter | Gauge | Histogram):
            continue
        [family] = metric.describe()
        endings = ["_total"] if isinstance(metric, Counter) else [""]
        endings = ["_bucket", "_sum", "_count"] if isinstance(metric, Histogram) else endings
        found |= {family.name + ending: frozenset(metric._labelnames) for ending in endings}
    return found


KNOWN = known()
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
ASKED = [(panel["title"], target["expr"], target["legendFormat"]) for panel in PANELS for target in panel["targets"]]
ASKED += [(rule["alert"], rule["expr"], "".join(rule["annotations"].values())) for rule in RULES]


def series_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:orchestrator|process)_\w+", expression))


def labels_in(expression: str, legend: str) -> set[str]:
    by = {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")}
    matched = {
        label for group in re.findall(r"\{([^}]*)\}", expression) for label in re.findall(r"(\w+)[!=]~?\"", group)
    }
    shown = set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", legend))
    return by | matched | shown


@pytest.mark.parametrize(("where", "expression", "legend"), ASKED)
def test_it_asks_for_what_exists(where: str, expression: str, legend: str) -> None:
    series = series_in(expression)
    assert series, where
    assert series <= KNOWN.keys(), f"{where}: no such metric: {sorted(series - KNOWN.keys())}"
    labels = frozenset[str]().union(*(KNOWN[name] for name in series)) | ALWAYS
    asked = labels_in(expression, legend)
    assert asked <= labels, f"{where}: no such label: {sorted(asked - labels)}"


@pytest.mark.parametrize("wrong", ["orchestrator_nothing_total", "sum by (person) (orchestrator_queue_due)"])
def test_what_does_not_exist_is_caught(wrong: str) -> None:
    with pytest.raises(AssertionError):
        test_it_asks_for_what_exists("here", wrong, "")


OF_ALL = ("queue_due", "oldest_due_seconds", "unknown_messages", "workers")
"""Gauges of the whole deployment: for a moment, while the lead changes, two processes may tell of them."""


@pytest.mark.parametrize(("where", "expression", "legend"), ASKED)
def test_several_processes_count_once(where: str, expression: str, legend: str) -> None:
    """Counters are added up over processes; what one tells of all is not."""
    assert not miscounted(expression), f"{where}: {expression}"


def miscounted(expression: str) -> list[str]:
    plain = re.sub(r" by \([^)]*\) ?", "", expression)
    told = "|".join(OF_ALL)
    twice = re.findall(rf"(?<!max\()(?<!absent\()orchestrator_(?:{told})\b", plain)
    return twice + re.findall(r"(?<!sum\()(?:rate|increase)\(orchestrator_\w+", plain)


@pytest.mark.parametrize(
    "wrong",
    [
        "sum by (channel) (max by (channel, instance) (orchestrator_queue_due)) + sum(orchestrator_queue_due)",
        "sum by (channel) (orchestrator_unknown_messages)",
        "increase(orchestrator_lease_steals_total[1h]) + increase(orchestrator_fence_rejects_total[1h]) > 3",
    ],
)
def test_what_would_count_twice_or_apart_is_caught(wrong: str) -> None:
    assert miscounted(wrong)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_the_matter_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "warn"}
    assert set(rule["annotations"]) == {"summary", "action"}


def test_commands_that_alerts_name_exist() -> None:
    from typer.main import get_command

    from orchestrator.cli.app import app

    text = " ".join(rule["annotations"]["action"] for rule in RULES)
    named = {words.split()[0] for words in re.findall(r"`orchestrator ([a-z][^`]*)`", text)}
    assert named
    assert named <= set(get_command(app).commands)  # type: ignore[attr-defined]  # a group has them


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))


def test_every_metric_that_tells_of_trouble_is_watched() -> None:
    asked = {name for _, expression, _ in ASKED for name in series_in(expression)}
    wanted = {"oldest_due_seconds", "unknown_messages", "lease_steals_total", "fence_rejects_total", "holds_total"}
    wanted |= {"breaker_open", "webhook_lag_seconds_bucket", "unknown_codes_total", "queue_age_seconds_bucket"}
    wanted |= {"leads", "clock_skew_seconds", "limiter_away"}
    assert {f"orchestrator_{name}" for name in wanted} <= asked
