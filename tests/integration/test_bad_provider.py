"""A provider that answers what it never should: the message waits, nothing is lost, nobody gets it twice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestrator.ledger.states import State
from orchestrator.store.tables import attempt
from tests import world
from tests.integration.conftest import Rig
from tests.integration.test_dispatch import LUNCH, ONE_STEP, planned, settled, states


def test_a_page_of_html_is_no_answer_and_is_asked_again(rig: Rig) -> None:
    for n in range(3):
        world.person(rig.store, f"u{n}")
    planned(rig, **ONE_STEP)
    rig.far.fault(provider="fcm", kind="html", times=3)
    rig.clock.instant = LUNCH
    with pytest.raises(TimeoutError):
        rig.work(lambda: settled(rig), seconds=1)
    assert states(rig) == {State.PLANNED: 3}
    with rig.store.read() as connection:
        rows = connection.execute(select(attempt)).all()
    assert len(rows) == 3
    assert all(row.outcome == "retry" and row.code for row in rows)
    assert not [row for row in rows if "<" in (row.detail or "")]
    rig.clock.instant = LUNCH + timedelta(minutes=1)
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.ACCEPTED: 3}
    assert len(rig.far.accepted()) == 3


def test_html_from_the_sms_provider_is_doubt_or_a_retry_but_never_two_messages(rig: Rig) -> None:
    world.person(rig.store, "ada", push=None, phone="+4915112345600")
    planned(rig, steps=[{"channel": "sms", "template": "lunch"}])
    rig.far.fault(provider="twilio", kind="html", times=1)
    rig.clock.instant = LUNCH
    rig.work(lambda: bool(rig.far.accepted()) or settled(rig) or _later(rig), seconds=5)
    assert len(rig.far.accepted()) <= 1
    assert states(rig)[State.ACCEPTED] == len(rig.far.accepted())


def _later(rig: Rig) -> bool:
    rig.clock.instant = min(rig.clock.instant + timedelta(seconds=1), LUNCH + timedelta(minutes=29))
    return False
