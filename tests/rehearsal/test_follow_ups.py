"""Follow-ups in a rehearsal: what is waited for comes back there too, and what nobody can know is the past again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from orchestrator.campaign.version import Bundle
from orchestrator.rehearsal.rehearse import staged
from orchestrator.rehearsal.responses import SILENT, Responses
from orchestrator.rehearsal.words import caution
from orchestrator.store import Store
from tests import world
from tests.dispatch.journey import ALL_DAY, bundle
from tests.rehearsal.theatre import QUIET, order, played, reasons, town

ONE_DAY = timedelta(days=1, hours=14)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Store]:
    store = town(world.fresh(tmp_path / "real.db"), 30)
    yield store
    store.close()


def a_push_and(**when: Any) -> Bundle:
    return bundle({name.rstrip("_"): value for name, value in when.items()}, channels=("push", "sms"), window=ALL_DAY)


def test_who_opens_gets_the_second_step_right_then(real: Store) -> None:
    some = Responses({"push": SILENT.model_copy(update={"opened": 0.5}), "sms": SILENT}, 0.0, seed=3)
    what = a_push_and(wait_for="opened", within="5h")
    with staged(real, order(what, span=ONE_DAY, responses=some), world.OPENING) as ready:
        ready.stage.play(world.OPENING + ONE_DAY)
        with ready.store.read() as connection:
            waits = [row.wait for row in connection.execute(_WAITS)]
            sent = connection.execute(
                text("SELECT count(*) FROM message WHERE step = 2 AND sent_at IS NOT NULL")
            ).scalar()
    assert sent == len(waits) > 5
    assert all(0 <= wait <= 60_000_000 for wait in waits)  # a grain or two of ten seconds
    found = played(real, order(what, span=ONE_DAY, responses=some))
    assert reasons(found) == {"not_opened": 30 - sent}


_WAITS = text("""
    SELECT message.sent_at - min(event.at) AS wait FROM message JOIN event ON event.message_id = message.id - 1
    WHERE message.step = 2 AND message.sent_at IS NOT NULL GROUP BY message.id, message.sent_at""")


def test_events_that_nobody_can_know_are_the_past_again(real: Store) -> None:
    what = a_push_and(wait_for="cart_updated", within="5h")
    for n in range(7):  # two days later nothing has opened yet
        world.did(real, f"u{n}", "cart_updated", world.OPENING - timedelta(hours=47) + n * MINUTE)
    lunch = world.MONDAY + timedelta(hours=9, minutes=30)
    for n in (1, 4, 7, 10):  # in Berlin: two days before, an hour after the push
        world.did(real, f"u{n}", "cart_updated", lunch - timedelta(days=2) + 60 * MINUTE)
    found = played(real, order(what, span=ONE_DAY, responses=QUIET))
    assert found.tally.steps[1].sent == 4
    [said] = [one for one in found.cautions if one.key == "asked_again"]
    assert "cart_updated" in caution(said, "en")
    assert "cart_updated" in caution(said, "zh")


def test_a_campaign_that_waits_for_nothing_stops_nowhere_else(real: Store) -> None:
    """The clock of a rehearsal without waits makes no more jumps than it needs."""
    lively = Responses({"push": SILENT.model_copy(update={"opened": 1.0}), "sms": SILENT}, 0.0)
    jumps = []
    for what in (a_push_and(not_="opened", after="6h"), a_push_and(wait_for="clicked", within="6h")):
        with staged(real, order(what, span=ONE_DAY, responses=lively), world.OPENING) as ready:
            seen: list[Any] = []
            ready.stage.play(world.OPENING + ONE_DAY, seen.append)
            jumps.append(len(seen))
    assert jumps[0] + 20 < jumps[1]
