"""The page about dates of users' own: its schedules are ones, and what it shows is what the commands say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from sqlalchemy import update

from orchestrator.campaign.load import load_bundle
from orchestrator.clock import ManualClock
from orchestrator.plan.dry_dates import OwnDates
from orchestrator.report.explain import explain
from orchestrator.report.launched import launched
from orchestrator.report.own_dates import run_words
from orchestrator.report.telling import tell
from orchestrator.store import Store
from orchestrator.store.tables import users
from tests import world
from tests.docs.pages import ROOT, blocks, page

PAGE = page("howto/own-dates.md")
PUSH = world.DEFINITION["steps"][:1]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """With Ada and Bob."""
    made = world.fresh(tmp_path / "t.db")
    for name, birthday in (("ada", "1990-12-10"), ("bob", "1988-05-05")):
        user = world.person(made, name)
        with made.write() as connection:
            of_user = update(users).where(users.c.id == user)
            connection.execute(of_user.values(attributes={"birthday": birthday}))
    world.did(made, "ada", "order_paid", datetime(2026, 11, 23, 22, 30, tzinfo=UTC))
    yield made
    made.close()


def example(number: int) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(blocks(PAGE, "yaml")[number])
    return found


def shown(command: str) -> list[str]:
    """What the page shows after a command."""
    [found] = re.findall(rf"^```\n\$ {re.escape(command)}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [line for line in found.splitlines() if line]


@pytest.mark.parametrize(("number", "name", "who"), [(1, "birthdays", ("ada", "bob")), (2, "two-weeks", ("ada",))])
def test_what_it_says_of_people_is_what_explain_says(
    store: Store, number: int, name: str, who: tuple[str, ...]
) -> None:
    fields = example(number)
    fields["schedule"] |= {"from": "2026-12-07", "until": "2026-12-07"}
    clock = ManualClock(world.OPENING)
    world.plan(store, world.bundle({"name": name, "steps": PUSH, **fields}), clock)
    with store.read() as connection:
        for person in who:
            story = explain(connection, person, launched(connection, name), clock.now())
            assert [line for line in tell(story) if line] == shown(f"orchestrator explain {person} {name}")


def test_the_sample_is_as_the_page_has_it() -> None:
    bundle = load_bundle("points-expiring", ROOT / "campaigns", ROOT / "templates")
    written = example(0)["schedule"]
    relative = bundle.campaign.schedule.relative_to
    assert relative is not None
    assert written["relative_to"] == {"attribute": relative.name, "offset": f"{relative.offset.days}d"}
    assert bundle.definition["schedule"]["relative_to"] == written["relative_to"]
    said = run_words(OwnDates(relative.name, False, date(2026, 12, 31), False, -10, 180, 0)).en
    assert said in shown("orchestrator plan points-expiring --dry-run --date 2026-12-21")


def test_the_rows_of_the_calendar_are_of_its_days() -> None:
    found = [line for line in shown("orchestrator calendar --days 2 --from 2026-12-20") if "points-expiring" in line]
    assert [line.split("│")[5].strip() for line in found] == ["0", "29"]
