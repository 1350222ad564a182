"""The benchmarks work: the cheap ones on small data, as ``python -m bench --quick`` runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.docs.pages import ROOT
from tests.nightly import FULL


def bench(*names: str, seconds: int = 120) -> dict[str, Any]:
    """What it measured, by name; fails when one says that it could not."""
    command = [sys.executable, "-m", "bench", "--quick", "--json", *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["benchmarks"]
    assert not [(name, one["median"]["why"]) for name, one in found.items() if "why" in one["median"]], done.stderr
    return {name: one["median"] for name, one in found.items()}


def test_rendering_segments_and_growth() -> None:
    found = bench("render", "segments", "growth-messages")
    assert found["render"]["microseconds"] > 0
    assert {one["segment"] for one in found["segments"]["segments"]} >= {"dormant"}
    assert [one["n"] for one in found["growth-messages"]["points"]] == [500, 1000]


@pytest.mark.postgresql
def test_unit_costs_on_postgresql_and_valkey() -> None:
    costs = bench("scale")["scale"]
    assert min(costs["bytes"].values()) > 50
    assert costs["messages"] > 4000
    assert costs["redis_requests"] > 0
    assert costs["wal_bytes"] > 100


def test_a_daemon_says_what_it_imports_and_holds() -> None:
    idle = bench("memory-idle")["memory-idle"]
    assert idle["heavy"] == []
    assert 50 < idle["rss_mb"] < 200


def test_a_name_that_there_is_not_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "nope"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "no benchmark nope; there are plan-1" in done.stderr


@pytest.mark.skipif(not FULL, reason="all of them take some minutes: NIGHTLY=1")
@pytest.mark.timeout(1800)
def test_all_of_them() -> None:
    assert bench(seconds=1700)
