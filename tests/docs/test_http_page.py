"""Every endpoint is documented, with the fields and answers it has."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from starlette.routing import Route

from orchestrator.clock import SystemClock
from orchestrator.sandbox.app import _routes
from orchestrator.sandbox.faults import Kind
from orchestrator.store import Store
from orchestrator.tracking.ingest import EventIn, read_events
from orchestrator.web.app import create_app
from tests.docs.pages import blocks, documented, page, rows, section

HTTP = page("reference/http.md")


def test_every_endpoint_is_documented_and_no_other(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "t.db"))
    try:
        app = create_app(
            store, SystemClock(), api_keys=[], public_url="", callbacks={}, account_channels={}, health=dict
        )
    finally:
        store.close()
    served = {
        f"{min((route.methods or set()) - {'HEAD'})} {route.path}" for route in app.routes if isinstance(route, Route)
    }
    listed = {cells[0].strip("`") for cells in rows(HTTP.partition("\n## ")[0])} - {"endpoint"}
    headed = set(re.findall(r"^## `(.+)`$", HTTP, re.MULTILINE))
    assert listed == served
    assert headed == served


def test_every_endpoint_of_the_sandbox_is_documented() -> None:
    own = {route.path for route in _routes() if route.path.startswith("/sandbox/") and "{" not in route.path}
    told = {name.split(" ")[1] for name in documented(section(HTTP, "## The sandbox's own"))}
    assert own <= told


def test_every_kind_of_fault_is_documented() -> None:
    said = section(HTTP, "## The sandbox's own").partition("Kinds of faults:")[2]
    assert {str(kind) for kind in Kind} <= set(re.findall(r"`(\w+)`", said))


def test_every_field_of_an_event_is_documented() -> None:
    told = documented(section(HTTP, "## `POST /v1/events`"))
    assert {name for name in told if not name.isdigit()} == set(EventIn.model_fields)


def test_the_events_of_the_example_are_taken() -> None:
    example = blocks(section(HTTP, "## `POST /v1/events`"), "")[0]
    body = example.partition("-d '")[2].rpartition("'")[0]
    read = read_events(body.encode(), datetime(2027, 1, 1, tzinfo=UTC))
    assert isinstance(read, list)
    assert [event.name for event in read] == ["app_open", "order_paid", "message_opened"]
