"""Fixtures: a far end that speaks as APNs does."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from orchestrator.clock import ManualClock
from tests.channel.push.apns_end import Place


@pytest.fixture
def place(tls: ssl.SSLContext, ca_file: Path, clock: ManualClock) -> Place:
    return Place(tls, ca_file, clock)
