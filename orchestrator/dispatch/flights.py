"""Requests on their way: begun after their mark, asked about once more before they leave, ended when they hang."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from orchestrator import traces
from orchestrator.audience.refused import just_refused
from orchestrator.channel.base import Envelope, Outcome, OutcomeClass
from orchestrator.clock import Clock
from orchestrator.content.links import ACKNOWLEDGED, Links
from orchestrator.dispatch.account import Account
from orchestrator.dispatch.door import Probe, Ready
from orchestrator.dispatch.outcome import NOT_BEGUN, Answer
from orchestrator.ledger.ids import parts
from orchestrator.store import Store

log = logging.getLogger(__name__)

LOOK_EVERY = 0.5
"""Seconds between looks for requests that hang: a timer for each would cost as much as writing it."""
STALE_SECONDS = 5.0
"""A marked message that has not begun to leave by then does not leave under this mark: the worker was frozen."""


@dataclass(slots=True)
class Flights:
    """The requests of one worker, on its event loop. ``answered`` is told what came of each, in the end."""

    store: Store
    clock: Clock
    links: Links | None
    probe: Probe
    alive: Callable[[], bool]
    """Whether the worker's lease holds."""
    answered: Callable[[Answer], None]
    begin_by: float = math.inf
    """When the lease ends, in ``time.monotonic()``: what asks and waits before it writes must not write later."""
    tasks: dict[asyncio.Task[None], float] = field(default_factory=dict)
    """Requests, and by when (monotonic) each has to be over."""
    _hanging: set[asyncio.Task[None]] = field(default_factory=set)

    def begin(self, account: Account, item: Ready, marked: float) -> None:
        """Start one request; the connection is free again when its task is over, even if that never got to run."""
        task = asyncio.create_task(self.send(account, item, marked))
        limit = account.channel.timeout.total_seconds() + 1
        self.tasks[task] = asyncio.get_running_loop().time() + limit
        task.add_done_callback(partial(self._over, account))

    def _over(self, account: Account, done: asyncio.Task[None]) -> None:
        self.tasks.pop(done, None)
        self._hanging.discard(done)
        account.in_flight -= 1

    async def watch(self) -> None:
        """End requests that hang, whatever their channel thinks of it."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            now = asyncio.get_running_loop().time()
            for task, limit in list(self.tasks.items()):
                if now >= limit and task not in self._hanging:
                    self._hanging.add(task)
                    task.cancel()

    async def send(self, account: Account, item: Ready, marked: float) -> None:
        """Make the request, and tell what was answered."""
        outcome = await self.request(account, item, marked)
        self.probe("sent")
        message = item.composed.message
        done = Answer(message, account.name, outcome, item.marked_at, self.clock.now(), item.composed.payload)
        self.answered(done)

    def _too_late(self, account: Account, item: Ready, marked: float, now: datetime) -> bool:
        """Whether since the mark the window has closed, the worker was frozen, or the person has refused."""
        if now >= item.until or self.clock.monotonic() - marked > STALE_SECONDS or not self.alive():
            return True
        made, channel = item.composed, account.channel.channel
        return just_refused(self.store.writer_engine, channel, made.message.user_id, made.address)

    async def request(self, account: Account, item: Ready, marked: float) -> Outcome:
        """The one request of this attempt; none at all when something has changed since the mark."""
        self.probe("leaving")
        asked, now = time.monotonic(), self.clock.now()
        if self._too_late(account, item, marked, now):
            return Outcome(OutcomeClass.RETRY, NOT_BEGUN, may_have_left=False)
        began = self.clock.monotonic()
        ack = self._ack(item) if account.channel.channel in ACKNOWLEDGED else ""
        span = self.clock.machine_span(item.until - now)
        envelope = envelope_of(item, span, ack, min(self.begin_by, asked + span.total_seconds()))
        outcome = await self._exchange(account, envelope)
        account.heard(outcome, self.clock.monotonic() - began)
        return outcome

    def _ack(self, item: Ready) -> str:
        """What the app acknowledges the message with."""
        return self.links.ack(item.composed.message.id, self.clock.machine()) if self.links else ""

    async def _exchange(self, account: Account, envelope: Envelope) -> Outcome:
        try:
            with traces.span("request", account=account.name, channel=account.channel.channel):
                return await account.channel.send(envelope)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task not in self._hanging:
                raise
            task.uncancel()
            return Outcome(OutcomeClass.AMBIGUOUS, "timeout")
        except Exception as error:  # noqa: BLE001  # a plugin's bug is one message's doubt, not the worker's end
            log.error("channel_raised", extra={"account": account.name, "error": type(error).__name__})  # noqa: TRY400
            return Outcome(OutcomeClass.AMBIGUOUS, type(error).__name__)


def envelope_of(item: Ready, ttl: timedelta, ack: str = "", begin_by: float = math.inf) -> Envelope:
    """What goes to the channel. The collapse key names the member's run, so a resend replaces what it repeats."""
    message = item.composed.message
    run, user, step = parts(message.id)
    return Envelope(
        message_id=str(message.id),
        attempt=message.attempts + 1,
        address=item.composed.address,
        address_kind=item.composed.address_kind,
        payload=item.composed.payload,
        ttl=ttl,
        collapse_key=f"r{run}-{user}-{step}",
        details=item.composed.details,
        ack=ack,
        begin_by=begin_by,
    )
