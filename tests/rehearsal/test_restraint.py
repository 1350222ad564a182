"""What keeps messages back is seen in a rehearsal, with its reason: windows, quiet hours, caps, lateness."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.policy.caps import CapRule, Caps
from orchestrator.rehearsal import words
from orchestrator.rehearsal.cautions import MANY
from orchestrator.rehearsal.counting import CAPPED, is_capped
from orchestrator.report.reasons import LOCALES, REASONS
from orchestrator.store import Store
from tests import world
from tests.rehearsal.theatre import daily, decisions, order, played, reasons, town

PUSH = [world.DEFINITION["steps"][0]]


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Store]:
    store = world.fresh(tmp_path / "real.db")
    yield store
    store.close()


def test_who_can_be_reached_at_no_time_is_named_with_their_zone(real: Store) -> None:
    town(real, 6, phones=False)
    night = daily(window={"local": "02:00-04:00"}, steps=[{"channel": "sms", "template": "lunch"}])
    world.person(real, "lu", "Asia/Shanghai", phone="+8613800000000", country="CN")
    found = played(real, order(night, span=timedelta(days=3)))
    assert decisions(found)["skipped quiet_hours"] >= 1
    said = [words.caution(one, "en") for one in found.cautions if one.key == "nowhere"]
    assert any("Asia/Shanghai" in line and "quiet hours" in line for line in said)


def test_caps_are_seen_across_campaigns(real: Store) -> None:
    town(real, 9, phones=False)
    other = world.bundle(
        {"name": "dinner", "schedule": {"days": "every"}, "window": {"local": "18:00-19:00"}}, steps=PUSH
    )
    world.launch(real, other, world.OPENING)
    caps = Caps((CapRule(1, timedelta(hours=24)),))
    found = played(real, order(daily(steps=PUSH), span=timedelta(days=4), caps=lambda: caps))
    [dinner] = found.neighbours
    assert dinner.capped > 0
    assert dinner.after_ours == dinner.capped
    free = played(real, order(daily(steps=PUSH), span=timedelta(days=4)))
    assert free.neighbours[0].capped == 0
    assert free.neighbours[0].sent > dinner.sent


def test_a_campaign_that_caps_keep_back_is_warned_of(real: Store) -> None:
    town(real, 9, phones=False)
    caps = Caps((CapRule(1, timedelta(days=7)),))
    found = played(real, order(daily(steps=PUSH), span=timedelta(days=5), caps=lambda: caps))
    capped = sum(count for reason, count in reasons(found).items() if is_capped(reason))
    said = {one.key: one.facts for one in found.cautions}
    assert found.sent == 9
    assert said["capped"]["messages"] == capped >= MANY * found.sent


def test_a_launch_after_the_window_is_late_and_says_so(real: Store) -> None:
    town(real, 6, phones=False)
    found = played(real, order(world.bundle(steps=PUSH), span=timedelta(hours=14)), world.MONDAY + timedelta(hours=11))
    assert decisions(found)["skipped late"] == 4  # Vancouver alone still has its lunch before it
    assert found.sent == 2


def test_every_reason_that_a_rehearsal_asks_for_has_words() -> None:
    assert set(CAPPED) <= set(REASONS)
    for phrase in (*words.WORDS.values(), *words.CAUTIONS.values()):
        assert all(phrase.in_(locale).strip() for locale in LOCALES)
