"""Identifiers that embed their run.

A message's id *is* its (run, user, step), so a second row for the same step of the same member cannot exist, whoever
plans it how often.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, NewType

from orchestrator.store import blocks

RunId = NewType("RunId", int)
UserId = NewType("UserId", int)
MessageId = NewType("MessageId", int)
LaneId = NewType("LaneId", int)
WorkerId = NewType("WorkerId", int)

STEP_BITS = 4
USER_BITS = 36
RUN_SHIFT = blocks.RUN_SHIFT
WAY_SHIFT = 32
MAX_STEPS = (1 << STEP_BITS) - 1


class MessageParts(NamedTuple):
    """What a message id is made of."""

    run: RunId
    user: UserId
    step: int


def message_id(run: int, user: int, step: int) -> MessageId:
    """``run << 40 | user << 4 | step``: 23 bits of runs, 36 of users, 15 steps."""
    return MessageId(run << RUN_SHIFT | user << STEP_BITS | step)


def parts(message: int) -> MessageParts:
    """The (run, user, step) of a message id."""
    user = message >> STEP_BITS & (1 << USER_BITS) - 1
    return MessageParts(RunId(message >> RUN_SHIFT), UserId(user), message & MAX_STEPS)


def ids_of_run(run: int) -> dict[str, int]:
    """What :func:`orchestrator.store.dialect.within_sql` asks for: where a run's messages begin and end."""
    return {"first_id": run << RUN_SHIFT, "past_id": run + 1 << RUN_SHIFT}


def ids_among(ids: Collection[int]) -> dict[str, int]:
    """The same of some messages; there is at least one."""
    return {"first_id": min(ids), "past_id": max(ids) + 1}


def lane_id(run: int, step: int, way: int = 0) -> LaneId:
    """``way << 32 | run << 4 | step``: a step has a lane for each account that may carry it, the first is way 0."""
    return LaneId(way << WAY_SHIFT | run << STEP_BITS | step)


def run_of_lane(lane: int) -> RunId:
    """The run whose queue a lane is."""
    return RunId((lane & (1 << WAY_SHIFT) - 1) >> STEP_BITS)
