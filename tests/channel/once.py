"""What every channel that asks a server does: one request for one message."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager

from orchestrator.channel.base import Channel, Envelope, Outcome
from tests.channel.far_end import FarEnd


def sent_once(opening: AbstractAsyncContextManager[tuple[Channel, FarEnd]], envelope: Envelope) -> Outcome:
    """The outcome of one message; checks that exactly one request was made, over one connection."""

    async def main() -> Outcome:
        async with opening as (channel, far):
            outcome = await channel.send(envelope)
            assert (len(far.requests), far.connections) == (1, 1)
            return outcome

    return asyncio.run(main())
