"""What every channel does that waits for nothing after it was asked: nothing, when it is too late."""

from __future__ import annotations

import time
from dataclasses import replace

from orchestrator.channel.base import Channel, Envelope, OutcomeClass
from tests.channel.far_end import FarEnd


async def begins_nothing_late(channel: Channel, far: FarEnd, envelope: Envelope, path: str) -> None:
    """The lease is over, or the window: whoever has the message now may be sending it. The next one leaves."""
    late = await channel.send(replace(envelope, begin_by=time.monotonic()))
    assert (late.kind, late.may_have_left, far.seen(path)) == (OutcomeClass.RETRY, False, [])
    assert (await channel.send(envelope)).kind is OutcomeClass.ACCEPTED
