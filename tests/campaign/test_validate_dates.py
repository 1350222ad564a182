"""What ``validate`` notes about dates that cannot come."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from orchestrator.cli.campaign import _holidays_only, _never
from tests import world

TODAY = date(2026, 12, 1)


@pytest.mark.parametrize(
    ("schedule", "fires"),
    [
        ({"days": "every"}, True),
        ({"days": "every", "until": "2026-11-01"}, False),
        ({"dates": ["2026-11-30"]}, False),
        ({"dates": ["2029-01-01"]}, True),
        ({"days": "every", "calendar": "DE", "holidays": "only"}, True),
        ({"dates": ["2026-12-02"], "calendar": "DE", "holidays": "only"}, False),
        ({"days": "every", "from": "2029-01-01"}, True),
    ],
)
def test_a_schedule_that_never_fires_is_noted(schedule: dict[str, Any], *, fires: bool) -> None:
    found = _never(world.bundle(schedule=schedule).campaign, TODAY)
    assert found == ([] if fires else ["lunch: fires on no date within a year from 2026-12-01: see its schedule"])


def test_holidays_only_leaves_out_who_has_none() -> None:
    [note] = _holidays_only(world.bundle(schedule={"days": "every", "holidays": "only"}).campaign)
    assert "country is not known, or has no known holidays (" in note
    assert " more)" in note
    for holidays in ({"holidays": "skip"}, {"holidays": "only", "calendar": "CN"}):
        assert _holidays_only(world.bundle(schedule={"days": "every", **holidays}).campaign) == []
