"""The short form of ``make chaos``: each experiment of that size, small. ``CHAOS_SEED=…`` replays one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.experiments import table
from tests.chaos.ground import Experiment, Ground, Size, play, seed_from_environment
from tests.nightly import FULL
from tests.postgres import Postgres

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]
SIZE = Size.MEDIUM if FULL else Size.SHORT


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in table() if SIZE in one.sizes])
def test_experiment(one: Experiment, tmp_path: Path, postgres: Postgres) -> None:
    seed = seed_from_environment()
    print(f"CHAOS_SEED={seed}")  # noqa: T201  # shown when it fails
    result = play(one, Ground(tmp_path, SIZE, seed, postgres))
    if result.verdict == "not run":
        pytest.skip(result.problem)
    assert result.verdict == ("caught" if one.catches else "holds"), result.problem
