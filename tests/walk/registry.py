"""The list of operations. One is added by a function with :func:`operation` above it, in the module of its kind.

An operation is done on both sides, the thing (``walk.town``) and the oracle (``walk.book``), from a few numbers. It
does nothing where there is nothing to do it with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))


@dataclass(frozen=True, slots=True)
class Kind:
    """An operation: how often it is drawn, how many numbers it takes, what it does, and what mostly comes next."""

    weight: int
    picks: int
    act: Callable[..., None]
    then: tuple[str, ...] = ()


OPERATIONS: dict[str, Kind] = {}
AT_WORK = (*("a_worker_works",) * 4, "a_worker_marks", "a_worker_dies", "something_happens_at_the_door")
BEGINNING = ("begin", *("join",) * 6, "the_caps_change", *("launch",) * 3, "launch_follow_ups", "tick")
"""Somebody arrives and something is launched before chance begins."""


def operation(weight: int, picks: int, *then: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function an operation of the walk; ``then``: one of these follows more often than not."""

    def add(act: Callable[..., None]) -> Callable[..., None]:
        OPERATIONS[act.__name__] = Kind(weight, picks, act, then)
        return act

    return add
