"""Many values at once count as they would one by one."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from orchestrator.metrics import Histogram

VALUES = (0.0, 0.5, 1.0, 1.0, 1.5, 2.0, 7.0, 1e9, -1.0)


def samples(at_once: bool) -> list[tuple[str, dict[str, str], float]]:
    registry = CollectorRegistry()
    made = Histogram("x", "says", ["of"], registry=registry, buckets=(1.0, 2.0, 5.0))
    if at_once:
        made.labels("a").observe_all(VALUES)
        made.labels("a").observe_all(())
    else:
        for value in VALUES:
            made.labels("a").observe(value)
    told = [one for metric in registry.collect() for one in metric.samples if not one.name.endswith("_created")]
    return [(one.name, one.labels, one.value) for one in told]


def test_a_histogram_takes_many_values_at_once() -> None:
    assert samples(at_once=True) == samples(at_once=False)
