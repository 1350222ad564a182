"""Every metric is set somewhere, shown at ``/metrics``, and documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram

from orchestrator import metrics

ROOT = Path(__file__).parents[2]
DOCUMENTED = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
CODE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "orchestrator").rglob("*.py"))
Metric = Counter | Gauge | Histogram


def found() -> Iterator[tuple[str, Metric]]:
    for name, value in vars(metrics).items():
        if isinstance(value, Metric):
            yield name, value


def shown(metric: Metric) -> str:
    """The name on the wire."""
    [family] = metric.describe()
    return f"{family.name}_total" if isinstance(metric, Counter) else family.name


METRICS = dict(found())


@pytest.mark.parametrize("name", METRICS)
def test_something_sets_it(name: str) -> None:
    uses = re.findall(rf"\bmetrics\.{name}\b(?:\.labels\([^\n]*\))?\.(?:inc|dec|set|observe|observe_all|time)\(", CODE)
    assert uses, f"nothing in the package sets metrics.{name}"


@pytest.mark.parametrize("name", METRICS)
def test_it_is_documented_with_its_kind_labels_and_words(name: str) -> None:
    metric = METRICS[name]
    labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "–"
    row = f"| `{shown(metric)}` | {type(metric).__name__.lower()} | {labels} | {metric._documentation} |"
    assert row in DOCUMENTED, f"docs/reference/metrics.md wants this line:\n{row}"


def test_it_is_shown() -> None:
    text, content_type = metrics.exposition()
    assert content_type.startswith("text/plain")
    helped = set(re.findall(r"^# HELP (orchestrator_\w+) ", text.decode(), re.MULTILINE))
    assert {shown(metric) for metric in METRICS.values()} <= helped


def test_nothing_is_documented_that_does_not_exist() -> None:
    known = {shown(metric) for metric in METRICS.values()}
    assert set(re.findall(r"`(orchestrator_\w+)`", DOCUMENTED)) == known


def test_no_label_could_name_a_person() -> None:
    labels = {label for metric in METRICS.values() for label in metric._labelnames}
    assert labels <= {
        *("campaign", "channel", "account", "provider"),
        *("decision", "reason", "state", "outcome", "result", "status", "verdict", "asked", "what"),
        *("deed", "confidence", "role"),
    }
