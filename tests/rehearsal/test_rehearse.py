"""A rehearsal is what will happen: the same members, decisions and instants as really, and nothing is touched."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from orchestrator.campaign.version import Bundle
from orchestrator.clock import ManualClock
from orchestrator.ledger import runs
from orchestrator.ledger.states import CampaignState
from orchestrator.ledger.stops import stop_account
from orchestrator.rehearsal.rehearse import rehearse, staged
from orchestrator.rehearsal.responses import DEFAULTS, SILENT, Rates, Responses
from orchestrator.rehearsal.stage import Stage
from orchestrator.report.values import plain
from orchestrator.store import Store
from tests import world
from tests.rehearsal.theatre import (
    QUIET,
    WEEK,
    ZONES,
    daily,
    decisions,
    ledger,
    order,
    played,
    really,
    reasons,
    terms,
    town,
)

ONE_DAY = timedelta(days=1, hours=14)
MOODY = Responses({"push": SILENT.model_copy(update={"dead": 0.2, "failed": 0.1}), "sms": SILENT}, 0.0, seed=3)


def hashes(folder: Path) -> dict[str, str]:
    """Every file's contents."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "real").mkdir()
    store = world.fresh(tmp_path / "real" / "real.db")
    yield store
    store.close()


def test_it_is_what_the_real_run_does(real: Store) -> None:
    what, until = world.bundle(), world.OPENING + ONE_DAY
    town(real, 15)
    naive = _played_naively(real, what, until)
    with staged(real, order(what, span=ONE_DAY, responses=MOODY), world.OPENING) as ready:
        ready.stage.play(until)
        rehearsed = ledger(ready.store)
    assert ledger(real) == {}
    really(real, what, until, MOODY)
    happened = ledger(real)
    assert rehearsed.keys() == happened.keys()
    assert {state for state, _, _ in happened.values()} >= {"accepted", "failed"}
    for key, (state, reason, sent) in happened.items():
        assert rehearsed[key][:2] == (state, reason), key
        assert (rehearsed[key][2] is None) == (sent is None)
        if sent is not None:
            assert abs((rehearsed[key][2] or 0) - sent) <= 150_000_000, key  # two minutes and a half
    assert {key: row[:2] for key, row in naive.items()} != {key: row[:2] for key, row in happened.items()}


class Naive(Stage):
    """Jumps as far as it likes, deadlines or not."""

    __slots__ = ()

    @override
    def _gathered(self, due: datetime) -> datetime:
        return due + self.grain


def _played_naively(real: Store, what: Bundle, until: datetime) -> dict[tuple[str, int], Any]:
    with staged(real, order(what, span=ONE_DAY, responses=MOODY, grain=timedelta(hours=2)), world.OPENING) as ready:
        ready.stage.__class__ = Naive
        ready.stage.play(until)
        return ledger(ready.store)


def test_nothing_of_the_real_database_changes_and_nothing_stays(
    real: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    world.launch(town(real, 12), daily(), world.OPENING)
    real.close()
    before = hashes(tmp_path / "real")
    found = played(real, order(daily()))
    assert found.sent > 100
    assert hashes(tmp_path / "real").items() >= before.items()
    assert list(spare.iterdir()) == []


def test_nothing_stays_after_an_interruption(real: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spare"))
    (tmp_path / "spare").mkdir()
    store = town(real, 6)

    def interrupt(phase: str, done: float) -> None:
        if phase == "playing" and done > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rehearse(store, order(daily()), world.OPENING, interrupt)
    assert list((tmp_path / "spare").iterdir()) == []


def test_members_add_up_to_the_audience(real: Store) -> None:
    store = town(real, 20)
    world.person(store, "mute", push=None)
    world.person(store, "refused", consents=())
    found = played(store, order(daily(), span=timedelta(days=3)))
    said = decisions(found)
    assert sum(said.values()) == found.tally.audience == sum(run.audience for run in found.runs)
    assert {"accepted", "skipped no_consent", "skipped no_address"} <= said.keys()
    assert sum(cell.messages for cell in found.cells) == sum(load.ours for load in found.loads) == found.sent
    local = {cell.zone: {cell.hour.hour} for cell in found.cells}
    assert set(local) == set(ZONES)


def test_the_same_seed_answers_the_same_and_another_does_not(real: Store) -> None:
    store = town(real, 60)
    lively = Responses({name: Rates(reopened=0.3, dead=0.1) for name in DEFAULTS}, by_themselves=0.1, seed=1)
    first, again, other = (
        plain(replace(played(store, order(daily(), responses=one, span=timedelta(days=2))), took=0.0))
        for one in (lively, lively, replace(lively, seed=2))
    )
    assert first == again
    assert first != other


def test_follow_ups_go_only_to_who_has_not_come_back(real: Store) -> None:
    store = town(real, 40)
    back = SILENT.model_copy(update={"reopened": 1.0})
    late = world.bundle(goal={"event": "app_open", "within": "10m"})  # everybody is back before the second step
    found = played(store, order(late, span=ONE_DAY, responses=Responses(dict.fromkeys(("push", "sms"), back), 0.0)))
    first, second = found.tally.steps
    assert (first.sent, second.sent) == (40, 0)
    assert set(reasons(found)) <= {"came_back", "reopened"}
    quiet = played(store, order(late, span=ONE_DAY))
    assert [step.sent for step in quiet.tally.steps] == [40, 40]


def test_other_campaigns_take_part_unless_it_is_alone(real: Store) -> None:
    store = town(real, 9)
    other = world.bundle({"name": "dinner", "schedule": {"days": "every"}, "window": {"local": "18:00-19:00"}})
    world.launch(store, other, world.OPENING)
    with store.write() as connection:
        runs.set_campaign_state(connection, "dinner", CampaignState.PAUSED, world.OPENING, "operator test")
        runs.set_campaign_state(connection, "dinner", CampaignState.RUNNING, world.OPENING, "operator test")
    together = played(store, order(daily(), span=timedelta(days=3)))
    alone = played(store, order(daily(), span=timedelta(days=3), alone=True))
    assert [one.campaign for one in together.neighbours] == ["dinner"]
    assert together.neighbours[0].sent > 0
    assert alone.neighbours == ()
    assert sum(load.sent for load in together.loads) > sum(load.sent for load in alone.loads)
    assert sum(load.ours for load in together.loads) == sum(load.ours for load in alone.loads)


def test_a_rate_too_small_for_the_window_is_warned_of(real: Store) -> None:
    store = town(real, 60, phones=False)
    narrow = world.bundle(
        window={"local": "10:30-10:40", "late": "skip", "spread": "0%"}, steps=[world.DEFINITION["steps"][0]]
    )
    slow = [replace(one, rate=replace(one.rate, per_second=1 / 60, burst=1)) for one in terms()]
    found = played(store, order(narrow, span=ONE_DAY, accounts=slow))
    said = {one.key: one.facts for one in found.cautions}
    late = sum(reasons(found, "expired").values())
    assert found.sent + late == 60
    assert late >= 20
    assert said["late"]["messages"] == late
    assert all(load.busiest <= 2 for load in found.loads)


def test_a_budget_that_is_used_up_is_warned_of(real: Store) -> None:
    store = town(real, 12)
    found = played(store, order(daily(budget={"sms": 20}), span=timedelta(days=4)))
    said = {one.key: one.facts for one in found.cautions}
    assert found.sms is not None
    assert found.sms.messages == 20
    assert said["budget"]["day"] in {2, 3}
    assert reasons(found)["budget"] == said["budget"]["messages"] != 0


def test_a_brake_and_a_stopped_account_are_warned_of(real: Store) -> None:
    store = town(real, 6)
    with store.write() as connection:
        stop_account(connection, "fcm", "401", world.OPENING, world.OPENING, "daemon")
    found = played(store, order(world.bundle(max_audience=5), span=ONE_DAY))
    assert {one.key for one in found.cautions} == {"run_stopped", "nothing", "stopped"}


def test_real_messages_that_are_due_are_part_of_the_load(real: Store) -> None:
    store = town(real, 9)
    owed = world.bundle({"name": "owed"})
    world.plan(store, owed, ManualClock(world.OPENING))
    found = played(store, order(daily(), span=ONE_DAY))
    assert {one.campaign: one.sent for one in found.neighbours} == {"owed": 18}


def test_months_take_seconds(real: Store) -> None:
    store = town(real, 200, phones=False)
    what = daily(steps=[world.DEFINITION["steps"][0]])
    began = time.process_time()
    found = played(store, order(what, span=timedelta(days=60), grain=timedelta(minutes=10)))
    assert len(found.runs) >= 60
    assert found.sent >= 60 * 190
    assert time.process_time() - began < 25


def test_a_sample_stands_for_everybody(real: Store) -> None:
    store = town(real, 400, phones=False)
    what = daily(steps=[world.DEFINITION["steps"][0]])
    whole = played(store, order(what, span=ONE_DAY, grain=timedelta(minutes=2)))
    part = played(store, order(what, span=ONE_DAY, grain=timedelta(minutes=2), share=0.5))
    assert part.users == pytest.approx(whole.users, rel=0.15)
    assert part.sent == pytest.approx(whole.sent, rel=0.15)
    assert part.tally.audience == sum(one.members for one in part.tally.decisions)
    assert [load.limit for load in part.loads] == [load.limit for load in whole.loads]


def test_quiet_answers_are_no_answers() -> None:
    assert QUIET.of("push") == SILENT
    assert QUIET.draws("message", 5)[0] == QUIET.draws("message", 5)[0]
    assert 0 <= QUIET.draws("message", 5).after(1, WEEK) / WEEK < 1
