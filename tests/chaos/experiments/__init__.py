"""All experiments; importing them fills the table."""

from tests.chaos.experiments import (
    answers,
    callbacks,
    crowds,
    disk,
    elsewhere,
    frozen,
    kills,
    rates,
    refusals,
    restored,
    soak,
    upgrade,
    windows,
)
from tests.chaos.ground import EXPERIMENTS, Experiment

__all__ = [
    "answers",
    "callbacks",
    "crowds",
    "disk",
    "elsewhere",
    "frozen",
    "kills",
    "rates",
    "refusals",
    "restored",
    "soak",
    "table",
    "upgrade",
    "windows",
]


def table() -> list[Experiment]:
    """In the order of their promises."""
    return sorted(EXPERIMENTS, key=lambda one: (one.promise[0] != "R", int(one.promise[1:])))
