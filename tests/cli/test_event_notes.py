"""Event names that nothing in the database has: noted by `validate`, with the nearest that something has."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.audience.event_names import EventNames, names_of_newest
from orchestrator.cli.app import app
from orchestrator.cli.event_notes import event_notes
from orchestrator.store import Store, upgrade
from tests import world

NAMES = ("app_open", "cart_updated", "order_paid")
STEPS = [
    {"channel": "push", "template": "lunch"},
    {"channel": "push", "template": "lunch", "when": {"not": "order_payed", "after": "1h"}},
    {"channel": "push", "template": "lunch", "when": {"is": "opened", "after": "1h"}},
]
TRIGGER = {"event": "cart_updatd", "after": "45m", "unless": ["order_paid", "order_void"]}
GOAL = {"event": "app_open", "within": "24h", "conversion": {"event": "orderpaid", "within": "72h"}}
SEGMENTS: dict[str, Any] = {
    "everybody": world.SEGMENTS["everybody"],
    "buyers": {
        "name": "buyers",
        "where": {
            "any": [
                {"did": "order_paid"},
                {"did_not": "ap_open", "within": "30d"},
                {"last": "order_paid", "within": "30d"},
                {"sum": "oder_paid", "property": "amount", "at_least": 3},
                {"did": "message_opened"},
            ]
        },
    },
}
DEFINITION = {**world.DEFINITION, "schedule": {"trigger": TRIGGER}, "window": {"expires_after": "6h"}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A campaign with a slip in every place that names an event."""
    files: dict[str, Any] = {
        "orchestrator.yaml": {"database": "o.db"},
        "campaigns/lunch.yaml": {**DEFINITION, "steps": STEPS, "goal": GOAL},
        **{f"campaigns/segments/{name}.yaml": segment for name, segment in SEGMENTS.items()},
        "templates/lunch/push.en.j2": "title: Hello\n\nReady.\n",
    }
    world.write_files(tmp_path, files)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def notes(*words: str) -> list[str]:
    done = CliRunner().invoke(app, ["validate", *words, "--json"])
    assert done.exit_code == 0, done.output
    found: list[str] = json.loads(done.output)["notes"]
    return [note for note in found if "no event" in note]


def filled(path: Path, *names: str) -> None:
    store = Store(str(path / "o.db"))
    upgrade(store)
    world.person(store, "ada")
    for name in names:
        world.did(store, "ada", name, world.OPENING)
    store.close()


def noted(place: str, name: str, near: str) -> str:
    return f"{place}: no event in the database is called {name!r} (did you mean {near!r}?)"


def test_slips_are_noted_with_the_nearest_name(project: Path) -> None:
    filled(project, *NAMES)
    of_campaign = [
        noted("lunch: schedule.trigger.event", "cart_updatd", "cart_updated"),
        noted("lunch: schedule.trigger.unless", "order_void", "order_paid"),
        noted("lunch: goal.conversion.event", "orderpaid", "order_paid"),
        noted("lunch: steps.2.when.not", "order_payed", "order_paid"),
    ]
    assert notes("lunch") == of_campaign
    assert notes() == [
        *of_campaign,
        noted("segment buyers: where.any.2.did_not", "ap_open", "app_open"),
        noted("segment buyers: where.any.4.sum", "oder_paid", "order_paid"),
    ]


def test_nothing_is_said_where_nothing_is_known(project: Path) -> None:
    assert notes() == []
    assert not (project / "o.db").exists()
    filled(project)
    assert notes() == []
    (project / "o.db").write_bytes(b"")  # not made by us
    assert notes() == []


def test_a_server_that_is_away_is_not_waited_for() -> None:
    began = time.monotonic()
    assert event_notes([], {}, "postgresql://nobody@127.0.0.1:1/nothing") == []
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("address", ["postgresql://db:${PORT}/app", "postgresql://[::1/app", "://"])
def test_what_is_no_address_of_a_database_keeps_nobody_from_checking_files(address: str) -> None:
    assert event_notes([], {}, address) == []


def test_the_newest_events_alone_are_looked_at(store: Store) -> None:
    world.person(store, "ada")
    for n, name in enumerate(("rare", "usual", "usual")):
        world.did(store, "ada", name, world.OPENING + timedelta(minutes=n))
    with store.read() as connection:
        some, all_of_them = names_of_newest(connection, 2), names_of_newest(connection, 4)
    assert some == EventNames(frozenset({"usual"}), every=False)
    assert all_of_them == EventNames(frozenset({"rare", "usual"}), every=True)
