"""Identifiers that embed their run.

A message's id *is* its (run, user, step), so a second row for the same step of the same member cannot exist, whoever
plans it how often.
"""

from __future__ import annotations

from typing import NamedTuple, NewType

RunId = NewType("RunId", int)
UserId = NewType("UserId", int)
MessageId = NewType("MessageId", int)
LaneId = NewType("LaneId", int)
WorkerId = NewType("WorkerId", int)

STEP_BITS = 4
USER_BITS = 36
RUN_SHIFT = STEP_BITS + USER_BITS
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


def lane_id(run: int, step: int, way: int = 0) -> LaneId:
    """``way << 32 | run << 4 | step``: a step has a lane for each account that may carry it, the first is way 0."""
    return LaneId(way << WAY_SHIFT | run << STEP_BITS | step)
