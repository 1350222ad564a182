"""How long restarts took, and that a row without a hit says so: what the chaos page tells of R1."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.checker import Accounting, BrokenPromiseError
from tests.chaos.experiments.kills import caught_some
from tests.chaos.scene import People, Scene, Victim


def test_a_restart_took_until_the_process_said_so_and_not_until_somebody_looked(tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.write_text("")
    with subprocess.Popen([sys.executable, "-c", ""], text=True) as process:
        victim = Victim(process, said, tmp_path / "log")
    assert victim.took is None
    said.write_text(f"up 8080 {victim.began + 1.5} 0.4\n")
    assert victim.took == pytest.approx((1.5, 1.1))


@pytest.mark.slow
def test_first_marks_are_those_of_each_process(scene: Scene) -> None:
    scene.populate(People(push=12), holdout="0%")
    first = scene.dies("--die-at", "leaving:3", "--connections", "4")
    second = scene.finish()
    marks, last = scene.first_marks()
    assert marks.keys() == {first.process.pid, second.process.pid}
    assert first.born < marks[first.process.pid] < second.born < marks[second.process.pid] <= last


def test_a_hit_that_finds_nothing_on_its_way_is_no_hit() -> None:
    found = Accounting(
        kills=3, on_the_wire=0, duplicates_allowed=0, duplicates_seen=0, unknown=0, poisoned=0, states={}
    )
    with pytest.raises(BrokenPromiseError, match="nothing was on its way"):
        caught_some(found)
