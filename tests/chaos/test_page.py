"""The page of the chaos runs: what was run again by itself takes the place of what it was, and the page says so."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.chaos import page
from tests.chaos.ground import Result, Size

DAY = datetime(2026, 12, 7, tzinfo=UTC)
BROKEN = Result("R3", "frozen", "daemons stand still", "100 times", "broken", "", "", 1.0, 7, problem="I9 too late")
KILLED = Result(
    "R1", "kills", "daemons are killed", "200 kills", "holds", "40 kills", "0 lost", 2.0, 7, kills=40, lost=0
)


def test_a_row_that_was_run_again_takes_the_place_of_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE", tmp_path / "reliability.md")
    monkeypatch.setattr(page, "DATA", tmp_path / "reliability.json")
    monkeypatch.setattr(page, "ROOT", tmp_path)
    page.write([KILLED, BROKEN], Size.MEDIUM, 7, DAY)
    before = page.PAGE.read_text()
    assert "| **broken**: I9 too late |" in before
    assert "Run again" not in before
    page.write_again([replace(BROKEN, verdict="holds", did="17 freezes", problem="", figures="17 leases given up")])
    after = page.PAGE.read_text()
    assert "broken" not in after.split("## How to read it")[0]
    assert "since then, as the code had changed: `frozen`." in after
    assert [line for line in after.splitlines() if "| R1 |" in line] == [
        line for line in before.splitlines() if "| R1 |" in line
    ]
    assert json.loads(page.DATA.read_text())["again"] == ["frozen"]
