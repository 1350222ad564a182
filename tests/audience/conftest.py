"""A clock for each test."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.clock import ManualClock

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)
