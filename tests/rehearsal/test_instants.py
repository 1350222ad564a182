"""A rehearsal of runs at instants: each at its own, several on one date, by the members' own clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.campaign.version import Bundle
from orchestrator.rehearsal.rehearse import rehearse
from orchestrator.store import Store
from tests import world
from tests.rehearsal.theatre import decisions, order, town

PUSH = world.DEFINITION["steps"][:1]
SUNDAY = datetime(2026, 12, 6, 9, 30, tzinfo=UTC)


def of(schedule: dict[str, Any], window: dict[str, Any] | None = None) -> Bundle:
    return world.bundle({"schedule": schedule, "window": window or {}, "steps": PUSH})


def test_every_firing_is_played_at_its_instant(store: Store) -> None:
    town(store, 9, phones=False)  # three each in Shanghai, Berlin and Vancouver
    found = rehearse(store, order(of({"cron": "0 9,17 * * mon-tue", "zone": "Europe/Berlin"})), SUNDAY)
    names = [f"2026-12-0{day}T{hour}:00" for day in (7, 8) for hour in ("09", "17")]
    assert [(one.local_date, one.audience) for one in found.runs] == [(name, 9) for name in names]
    # at 09:00 in Berlin it is night in Vancouver, and at 17:00 in Shanghai
    assert decisions(found) == {"accepted": 24, "skipped quiet_hours": 12}
    assert found.sent == 24
    assert {cell.hour.hour for cell in found.cells} == {8, 16}  # in UTC


def test_an_instant_before_the_start_or_beyond_the_end_is_not_rehearse(store: Store) -> None:
    town(store, 3, phones=False)
    instants = [SUNDAY - timedelta(hours=1), SUNDAY + timedelta(days=2), SUNDAY + timedelta(days=8)]
    found = rehearse(store, order(of({"at": [one.isoformat() for one in instants]}, {"expires_after": "3h"})), SUNDAY)
    assert [one.local_date for one in found.runs] == ["2026-12-08T09:30"]


def test_a_window_is_kept_by_each_members_clock(store: Store) -> None:
    town(store, 9, phones=False)
    noon = {"local": "10:30-11:45"}
    found = rehearse(store, order(of({"at": "2026-12-07T18:00:00+08:00"}, noon)), SUNDAY)  # 18:00, 11:00, 03:00
    assert decisions(found) == {"accepted": 6, "skipped late": 3}
    waits = rehearse(store, order(of({"at": "2026-12-07T18:00:00+08:00"}, {**noon, "late": "next"})), SUNDAY)
    assert (waits.sent, decisions(waits)) == (9, {"accepted": 9})
