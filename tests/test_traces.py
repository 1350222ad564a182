"""Spans: none unless asked for, and of what they tell nothing is anybody's own."""

from __future__ import annotations

import asyncio
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from typing_extensions import override

from orchestrator import traces
from orchestrator.channel.base import Outcome, OutcomeClass
from orchestrator.clock import ManualClock
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.states import State
from orchestrator.settings import Settings, traces_endpoint
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.breaking import crowd, told, until, worker
from tests.dispatch.test_worker import LUNCH, Silent, account

CANARIES = ("canary-token", "4915112345678", "u-canary")


@pytest.fixture
def kept() -> Iterator[InMemorySpanExporter]:
    made = InMemorySpanExporter()
    traces.begin_with(SimpleSpanProcessor(made))
    yield made
    traces.end()


def dispatch(store: Store, outcome: Outcome) -> None:
    """Plan for two people and send."""
    clock, channel = ManualClock(world.OPENING), Silent(outcome)
    for n in range(2):
        world.person(store, f"u-canary-{n}", push=f"canary-token-{n}", phone=f"+491511234567{n}")
    world.plan(store, world.bundle(steps=world.DEFINITION["steps"][:1]), clock)
    clock.instant = LUNCH

    async def work() -> None:
        made = Worker(store, clock, QuietHours.load(None), {"fcm": account(channel)}, timedelta(seconds=60))
        made.start()
        running = asyncio.create_task(made.run())
        await asyncio.wait_for(channel.asked.wait(), 20)
        made.stop()
        await asyncio.wait_for(running, 20)

    asyncio.run(work())


@pytest.mark.on("sqlite")
def test_a_message_is_followed_from_its_plan_to_its_settling(store: Store, kept: InMemorySpanExporter) -> None:
    dispatch(store, Outcome(OutcomeClass.ACCEPTED))
    spans = kept.get_finished_spans()
    by_name = {name: [span for span in spans if span.name == name] for name in traces.NAMES}
    assert {name for name, found in by_name.items() if found} == traces.NAMES - {"callback"}
    [batch] = [span for span in by_name["batch"] if children(spans, span)]
    assert {span.name for span in children(spans, batch)} == {"request"}
    assert len(by_name["request"]) == 2
    assert (batch.attributes or {})["orchestrator.campaign"] == "lunch"


@pytest.mark.on("sqlite")
def test_answers_that_are_written_with_a_claim_belong_to_its_batch(store: Store, kept: InMemorySpanExporter) -> None:
    clock, channel = ManualClock(world.OPENING), Silent(Outcome(OutcomeClass.ACCEPTED))
    crowd(store, clock, 25)  # of an account with ten connections

    async def work() -> None:
        made = worker(store, clock, account(channel))
        made.start()
        running = asyncio.create_task(made.run())
        await until(lambda: told(store) == {State.ACCEPTED: 25}, "everybody to be sent to")
        made.stop()
        await running

    asyncio.run(work())
    spans = kept.get_finished_spans()
    within = {child.name for span in spans if span.name == "batch" for child in children(spans, span)}
    assert within == {"request", "settle"}


def children(spans: tuple[ReadableSpan, ...], of: ReadableSpan) -> list[ReadableSpan]:
    parent = of.get_span_context()
    assert parent is not None
    return [span for span in spans if span.parent is not None and span.parent.span_id == parent.span_id]


@pytest.mark.on("sqlite")
def test_they_tell_nothing_of_anybody(store: Store, kept: InMemorySpanExporter) -> None:
    dispatch(store, Outcome(OutcomeClass.RETRY, "canary-token"))
    with pytest.raises(ValueError, match="canary"), traces.span("callback", account="fcm"):
        raise ValueError("canary-token-0 is no token")
    spans = kept.get_finished_spans()
    told = " ".join(span.to_json() for span in spans)
    assert not [canary for canary in CANARIES if canary in told]
    assert "ValueError" in told
    facts = {name for span in spans for name in span.attributes or {}}
    assert facts <= {f"orchestrator.{fact}" for fact in traces.FACTS}
    assert {span.name for span in spans} <= traces.NAMES


def test_off_nothing_is_imported() -> None:
    code = (
        "import sys, orchestrator.daemon.service, orchestrator.traces as t\n"
        "with t.span('batch', run=1): pass\n"
        "assert t.span('batch') is t.span('request', account='fcm')\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk.trace') or 'otlp' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_collector_gets_them() -> None:
    """OTLP over HTTP, as a collector takes it: protobuf, posted to /v1/traces."""
    took: list[tuple[str, str, bytes]] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            took.append((self.path, self.headers["content-type"], body))
            self.send_response(200)
            self.end_headers()

        @override
        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        traces.begin(f"http://127.0.0.1:{server.server_port}/")
        with traces.span("batch", campaign="lunch"):
            pass
        traces.end()
        server.shutdown()
    [(path, kind, body)] = took
    assert (path, kind) == ("/v1/traces", "application/x-protobuf")
    assert b"orchestrator.campaign" in body


def test_the_setting_comes_before_opentelemetrys_own_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert traces_endpoint(Settings()) == ""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    assert traces_endpoint(Settings()) == "http://collector:4318"
    assert traces_endpoint(Settings(traces="http://other:4318")) == "http://other:4318"
