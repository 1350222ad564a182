"""What supervisors and Prometheus see."""

from __future__ import annotations

import re

from orchestrator.metrics import REGISTRY
from tests.web.server import Client


def test_health_is_what_the_daemon_says(client: Client) -> None:
    client.health.update(ok=True, queue=3)
    answer = client.request("GET", "/healthz")
    assert (answer.status, answer.json) == (200, {"ok": True, "queue": 3})
    client.health.update(ok=False)
    assert client.request("GET", "/healthz").status == 503


def test_a_health_check_that_fails_is_not_well(client: Client) -> None:
    client.health[7] = "no text"  # type: ignore[index]  # orjson refuses such a key
    answer = client.request("GET", "/healthz")
    assert (answer.status, answer.json["ok"]) == (503, False)


def test_metrics_are_named_and_explained(client: Client) -> None:
    answer = client.request("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    helps = re.findall(rb"# HELP (orchestrator_\w+) (.+)", answer.body)
    assert len(helps) > 20
    assert all(sentence.endswith(b".") for name, sentence in helps if not name.endswith(b"_created")), helps


def test_no_label_could_hold_an_address() -> None:
    labels = {name for metric in REGISTRY._collector_to_names for name in getattr(metric, "_labelnames", ())}
    ours = {"account", "asked", "campaign", "channel", "decision", "outcome", "provider", "reason", "result", "state"}
    assert labels <= ours | {"status", "verdict", "what", "deed", "confidence", "role"}


def test_the_app_shows_no_more_than_its_doors(client: Client) -> None:
    for path in ("/", "/docs", "/redoc", "/v1/", "/callbacks"):
        assert client.request("GET", path).status == 404
