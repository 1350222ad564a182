"""What an experiment stands on: a size, a seed, a folder, a PostgreSQL; and what it tells when it is over."""

from __future__ import annotations

import os
import random
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from tests.chaos.checker import Accounting, BrokenPromiseError
from tests.chaos.scene import Scene
from tests.far_end import far_end
from tests.postgres import Postgres

T = TypeVar("T")
SEED = 20261207


class Size(StrEnum):
    """How much of it: ``short`` on every run of the tests, ``medium`` within 20 minutes, ``full`` as promised."""

    SHORT = "short"
    MEDIUM = "medium"
    FULL = "full"


def seed_from_environment() -> int:
    """``CHAOS_SEED``, or the usual one."""
    return int(os.environ.get("CHAOS_SEED", SEED))


class NotPossibleHereError(Exception):
    """What this machine or this clone lacks, so that nothing can be said."""


@dataclass(frozen=True, slots=True)
class Told:
    """What an experiment found: how large it was, its accounting, and figures in words."""

    did: str
    figures: str = ""
    found: Accounting | None = None
    refused: int = 0
    """Messages that were to end unsent: capped, refused, late."""


@dataclass(slots=True)
class Ground:
    """For one experiment."""

    folder: Path
    size: Size
    seed: int
    server: Postgres
    minutes: float = 2.0
    """Of the soak."""
    chance: random.Random = field(init=False)
    _numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def pick(self, short: T, medium: T, full: T) -> T:
        """What belongs to the size."""
        return {Size.SHORT: short, Size.MEDIUM: medium, Size.FULL: full}[self.size]

    @contextmanager
    def scene(self, kind: str = "postgresql", *, speed: float = 1.0, address: str = "") -> Iterator[Scene]:
        """A deployment in a folder of its own, with a sandbox in a process of its own and an empty database.

        ``address``: of a database that is there already.
        """
        folder = self.folder / f"scene-{next(self._numbers)}"
        folder.mkdir(parents=True)
        with far_end(folder / "far") as far:
            if kind == "sqlite" or address:
                yield from _played(Scene(folder, far, speed, address=address))
            else:
                with self.server.database(empty=True) as url:
                    yield from _played(Scene(folder, far, speed, address=url))


def _played(scene: Scene) -> Iterator[Scene]:
    try:
        yield scene
    finally:
        scene.close()


@dataclass(frozen=True, slots=True)
class Experiment:
    """One row of the table. ``catches``: a broken variant, and how the complaint about it begins."""

    promise: str
    name: str
    what: str
    asked: str
    run: Callable[[Ground], Told]
    catches: str = ""
    sizes: frozenset[Size] = frozenset(Size)


EXPERIMENTS: list[Experiment] = []


def experiment(
    promise: str, what: str, asked: str = "", *, catches: str = "", sizes: Iterable[Size] = Size
) -> Callable[[Callable[[Ground], Told]], Callable[[Ground], Told]]:
    """Put a function into the table."""

    def listed(run: Callable[[Ground], Told]) -> Callable[[Ground], Told]:
        EXPERIMENTS.append(Experiment(promise, run.__name__, what, asked, run, catches, frozenset(sizes)))
        return run

    return listed


NOT_SHORT = (Size.MEDIUM, Size.FULL)
"""For what other tests hold on every run."""


@dataclass(frozen=True, slots=True)
class Result:
    """One row, as it is published."""

    promise: str
    name: str
    what: str
    asked: str
    verdict: str
    """``holds``, ``caught`` (a broken variant), ``broken``, or ``not run``."""
    did: str
    figures: str
    seconds: float
    seed: int
    kills: int | None = None
    messages: int | None = None
    requests: int | None = None
    in_doubt: int | None = None
    allowed: int | None = None
    seen: int | None = None
    lost: int | None = None
    problem: str = ""

    @property
    def well(self) -> bool:
        return self.verdict in {"holds", "caught"}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def play(one: Experiment, ground: Ground) -> Result:
    """Run one; whatever it says becomes its row."""
    began = time.monotonic()
    told, problem = Told(""), ""
    try:
        told = one.run(ground)
        verdict = "broken" if one.catches else "holds"
        problem = "the broken variant was not caught" if one.catches else ""
    except NotPossibleHereError as missing:
        verdict, problem = "not run", str(missing)
    except BrokenPromiseError as broken:
        caught = bool(one.catches) and one.catches in str(broken)
        verdict, problem = ("caught", _line_of(one.catches, str(broken))) if caught else ("broken", str(broken))
    except Exception as error:  # noqa: BLE001  # the others are still to be run
        where = "".join(traceback.format_tb(error.__traceback__)[-4:])
        verdict, problem = "broken", f"{type(error).__name__}: {error}\n{where}"
    return _row(one, told, verdict, problem, time.monotonic() - began, ground.seed)


def _line_of(wanted: str, said: str) -> str:
    return next((line for line in said.splitlines() if line.startswith(wanted)), said)


def _row(one: Experiment, told: Told, verdict: str, problem: str, seconds: float, seed: int) -> Result:
    row = Result(one.promise, one.name, one.what, one.asked, verdict, told.did, told.figures, round(seconds, 1), seed)
    found, more = told.found, {"problem": problem}
    if found is None:
        return _with(row, **more)
    return _with(
        row,
        **more,
        kills=found.kills,
        messages=found.messages,
        requests=found.requests,
        in_doubt=found.in_doubt,
        allowed=found.duplicates_allowed,
        seen=found.duplicates_seen,
        lost=found.unsent - found.poisoned - told.refused,
    )


def _with(row: Result, **values: Any) -> Result:
    return Result(**{**asdict(row), **values})


def held(problems: Iterable[str]) -> None:
    """Fail with everything that is wrong.

    Raises:
        BrokenPromiseError: there is something.
    """
    wrong = list(problems)
    if wrong:
        raise BrokenPromiseError("\n".join([f"{len(wrong)} broken promises:", *wrong[:20]]))
