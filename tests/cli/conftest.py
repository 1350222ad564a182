"""What the tests of the demonstration share."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.cli.demo.people import Person, generate
from orchestrator.cli.demo.purchases import History, histories, last_day, read_purchases
from orchestrator.cli.demo.timeline import Timeline, shift_to, timeline

SATURDAY = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def times() -> Timeline:
    return timeline(SATURDAY)


@pytest.fixture(scope="session")
def everybody() -> list[History]:
    return histories(read_purchases())


@pytest.fixture(scope="session")
def people(times: Timeline, everybody: list[History]) -> list[Person]:
    shift = shift_to(times.yesterday, last_day(read_purchases()))
    return generate(everybody, times.yesterday, shift)
