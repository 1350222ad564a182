"""The steps of the door that touch the database, each one transaction, in the order of their functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from sqlalchemy import Connection

from orchestrator import metrics
from orchestrator.campaign.version import read_bundle
from orchestrator.channel.base import Channel
from orchestrator.clock import Clock
from orchestrator.dispatch.compose import Composed, compose
from orchestrator.ledger import claim as queue
from orchestrator.ledger.claim import Lane
from orchestrator.ledger.ids import WorkerId
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.mark import Exit, mark
from orchestrator.ledger.mark import Hold as HoldMessage
from orchestrator.ledger.runs import Run, read_run
from orchestrator.ledger.states import State
from orchestrator.plan.rules import rule_for, terms_of
from orchestrator.policy.gate import Facts, Leave, Readdress, judge, read_facts
from orchestrator.policy.resolver import Hold, Opening, Send, opening
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours

Probe = Callable[[str], None]
"""Told the name of each step as it is reached; tests die there."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A message that may leave until ``until``: its row says ``sending``, and that is committed."""

    composed: Composed
    until: datetime
    marked_at: datetime


@dataclass(frozen=True, slots=True)
class Door:
    """What a worker needs to take messages from the ledger to the threshold."""

    store: Store
    clock: Clock
    quiet: QuietHours
    worker: WorkerId
    probe: Probe

    def holder(self) -> Holder:
        """Who is writing, as of now."""
        return Holder(self.worker, self.clock.machine())

    def claim_and_compose(self, lane: Lane, n: int, channel: Channel) -> tuple[list[Composed], list[Exit]]:
        """Take up to ``n`` due messages of a lane and find their words."""
        with self.store.write() as connection:
            batch = queue.claim(connection, self.holder(), lane.id, n, self.clock.now())
        self.probe("claimed")
        if not batch:
            return [], []
        metrics.claim_size.observe(len(batch))
        with self.store.read() as connection:
            made = compose(connection, lane, batch, channel)
        self.probe("composed")
        return made

    def release(self, ids: Sequence[int]) -> None:
        """Give back what cannot leave now."""
        with self.store.write() as connection:
            queue.release(connection, self.holder(), ids, self.clock.now())

    def mark(self, lane: Lane, admitted: Sequence[Composed], out: Iterable[Exit]) -> list[Ready]:
        """Ask the gate and commit its verdicts; returns what must now be sent."""
        with self.store.write() as connection:
            now = self.clock.now()
            verdicts = self._judge(connection, lane, admitted, now)
            send = [item.message.id for item, verdict in verdicts if isinstance(verdict, Send)]
            exits = [*out, *(Exit(i.message.id, v.state, v.reason) for i, v in verdicts if isinstance(v, Leave))]
            holds = [_hold(i, v, now) for i, v in verdicts if isinstance(v, Hold | Readdress)]
            self.probe("marking")
            mark(connection, self.holder(), now, send=send, out=exits, hold=holds)
        self.probe("marked")
        _count(lane.channel, len(send), exits, holds)
        return [Ready(item, verdict.until, now) for item, verdict in verdicts if isinstance(verdict, Send)]

    def _judge(
        self, connection: Connection, lane: Lane, admitted: Sequence[Composed], now: datetime
    ) -> list[tuple[Composed, Send | Hold | Readdress | Leave]]:
        if not admitted:
            return []
        campaign = read_bundle(connection, lane.version).campaign
        run, step = read_run(connection, lane.run_id), campaign.steps[lane.step - 1]
        terms = terms_of(campaign, step, run.as_of, now)
        facts = read_facts(connection, [item.message.id for item in admitted], terms, now)
        return [
            (item, judge(facts[item.message.id], terms, self._opening(lane, connection, run, item, facts), now))
            for item in admitted
        ]

    def _opening(
        self, lane: Lane, connection: Connection, run: Run, item: Composed, facts: dict[int, Facts]
    ) -> Opening:
        campaign = read_bundle(connection, lane.version).campaign
        known = facts[item.message.id]
        rule = rule_for(campaign, campaign.arm(item.message.arm), campaign.steps[lane.step - 1], run.local_date)
        return opening(rule, known.zone_key, known.country, self.quiet)


def _count(channel: str, sending: int, exits: Sequence[Exit], holds: Sequence[HoldMessage]) -> None:
    """The metrics of one committed mark."""
    metrics.mark_size.observe(sending + len(exits) + len(holds))
    metrics.messages.labels(channel, State.SENDING).inc(sending)
    for item in exits:
        metrics.messages.labels(channel, item.state).inc()
        if item.state is State.SKIPPED:  # a template's own words after the colon are no label
            metrics.skips.labels(channel, item.reason.partition(":")[0]).inc()
    metrics.window_holds.labels(channel).inc(sum(item.reason == "window" for item in holds))


def _hold(item: Composed, verdict: Hold | Readdress, now: datetime) -> HoldMessage:
    match verdict:
        case Hold(until, reason):
            return HoldMessage(item.message.id, until, reason)
        case Readdress(address_id):
            return HoldMessage(item.message.id, now, "next_address", address_id)
        case _:
            assert_never(verdict)
