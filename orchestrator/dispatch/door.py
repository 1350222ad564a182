"""The steps of the door that touch the database, each one transaction, in the order of their functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import NamedTuple, assert_never

from sqlalchemy import Connection

from orchestrator import metrics
from orchestrator.campaign.spec import Campaign, Step
from orchestrator.campaign.version import read_bundle
from orchestrator.channel.base import Channel
from orchestrator.clock import Clock
from orchestrator.content.links import Links
from orchestrator.dispatch.compose import Composed, compose
from orchestrator.dispatch.quota import Quota, over_quota
from orchestrator.dispatch.rerouting import follow_addresses
from orchestrator.dispatch.restraint import CapsNow, Openings, moved_on, restrained
from orchestrator.dispatch.spending import OVER, over_budget
from orchestrator.dispatch.targets import Targets
from orchestrator.dispatch.warm_up import WarmUp
from orchestrator.dispatch.wordings import Wordings
from orchestrator.ledger import claim as queue
from orchestrator.ledger import lease
from orchestrator.ledger.claim import Lane
from orchestrator.ledger.ids import WorkerId
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.mark import Exit, mark
from orchestrator.ledger.mark import Hold as HoldMessage
from orchestrator.ledger.runs import Occasion, Run, read_run
from orchestrator.ledger.states import State
from orchestrator.plan.rules import members_occasion, rule_for, terms_of
from orchestrator.policy.allowed import OnlyTo
from orchestrator.policy.caps import UNCAPPED
from orchestrator.policy.carriers import UNKNOWN, Routing
from orchestrator.policy.facts import Facts, read_facts
from orchestrator.policy.gate import Leave, Readdress, judge
from orchestrator.policy.resolver import Hold, Opening, Send, opening
from orchestrator.store import Store
from orchestrator.store.dialect import by_user
from orchestrator.timing.quiet import QuietHours

Probe = Callable[[str], None]
"""Told the name of each step as it is reached; tests die there."""

Verdicts = list[tuple[Composed, Send | Hold | Readdress | Leave]]

Marked = Callable[[str, str, datetime], None]
"""Told of each committed mark that lets something leave: campaign, what the run is of, the instant."""


class First(NamedTuple):
    """What is to be written before a claim, in its transaction: the answers to what left before."""

    write: Callable[[Connection], None]
    written: Callable[[], None]
    """Told once it is committed."""


class Ready(NamedTuple):
    """A message that may leave until ``until``: its row says ``sending``, and that is committed."""

    composed: Composed
    until: datetime
    marked_at: datetime


class _Mark(NamedTuple):
    """What was written of the gate's verdicts: who leaves, and until when; links that their messages carry."""

    at: datetime
    occasion: str
    send: Sequence[tuple[Composed, datetime]]
    exits: Sequence[Exit]
    holds: Sequence[HoldMessage]
    links: Sequence[int]


@dataclass(frozen=True, slots=True)
class Door:
    """What a worker needs to take messages from the ledger to the threshold."""

    store: Store
    clock: Clock
    quiet: QuietHours
    worker: WorkerId
    probe: Probe
    only_to: OnlyTo = None
    """Send to these users and addresses alone; None: to everybody."""
    marked: Marked = lambda _campaign, _of, _at: None
    links: Links | None = None
    targets: Targets = field(default_factory=Targets)
    routing: Routing = UNKNOWN
    """Which accounts take what; none: whatever was planned."""
    caps: CapsNow = lambda: UNCAPPED
    """How often people may be sent to, asked at every mark."""
    warm_ups: Mapping[str, WarmUp] = field(default_factory=dict)
    """Of accounts that are being warmed up, by name."""
    wordings: Wordings | None = None
    """Where words are kept, if nothing that is known of users ever changes."""

    def holder(self) -> Holder:
        """Who is writing, as of now."""
        return Holder(self.worker, self.clock.machine())

    def claim_and_compose(
        self, lane: Lane, n: int, channel: Channel, first: First | None = None
    ) -> tuple[list[Composed], list[Exit]]:
        """Take up to ``n`` due messages of a lane and find their words; ``first`` is written with the claim."""
        with self.store.write() as connection:
            if first is not None:
                first.write(connection)
            batch = queue.claim(connection, self.holder(), lane.id, n, self.clock.now())
            self.probe("claiming")
        if first is not None:
            first.written()
        self.probe("claimed")
        if not batch:
            return [], []
        metrics.claim_size.observe(len(batch))
        with self.store.read() as connection:
            made = compose(connection, lane, batch, channel, self.links, self.wordings)
        self.probe("composed")
        return made

    def release(self, ids: Sequence[int]) -> None:
        """Give back what cannot leave now."""
        with self.store.write() as connection:
            queue.release(connection, self.holder(), ids, self.clock.now())

    def hold(self, holds: Sequence[HoldMessage]) -> None:
        """Give back what waits for its domain, each until its instant."""
        with self.store.write() as connection:
            mark(connection, self.holder(), self.clock.now(), send=(), out=(), hold=holds)

    def mark(
        self, lane: Lane, admitted: Sequence[Composed], out: Iterable[Exit], quota: Quota | None = None
    ) -> list[Ready]:
        """Ask the gate and commit its verdicts; returns what must now be sent.

        Again from its beginning when PostgreSQL ended it for the sake of another that waited for the same people.
        """
        gone = list(out)
        done = self.store.again(lambda connection: self._write(connection, lane, admitted, gone, quota))
        if done.send:
            self.marked(lane.campaign, done.occasion, done.at)
        self.targets.remember(done.links)
        self.probe("marked")
        _count(lane.channel, len(done.send), done.exits, done.holds)
        return [Ready(item, until, done.at) for item, until in done.send]

    def _write(
        self, connection: Connection, lane: Lane, admitted: Sequence[Composed], out: Sequence[Exit], quota: Quota | None
    ) -> _Mark:
        by_user(connection, lease.PATIENCE)
        now, run = self.clock.now(), read_run(connection, lane.run_id)
        verdicts = self._judge(connection, lane, run, admitted, now, quota)
        send = [(item, verdict.until) for item, verdict in verdicts if isinstance(verdict, Send)]
        exits = [*out, *(Exit(i.message.id, v.state, v.reason) for i, v in verdicts if isinstance(v, Leave))]
        holds = [_hold(i, v, now) for i, v in verdicts if isinstance(v, Hold | Readdress)]
        self.probe("marking")
        ids = [item.message.id for item, _ in send]
        exits = list(mark(connection, self.holder(), now, send=ids, out=exits, hold=holds))
        follow_addresses(connection, self.routing, [item.id for item in holds if item.address_id is not None])
        links = self.targets.write(connection, (item.targets for item, _ in send))
        return _Mark(now, run.occasion.key, send, exits, holds, links)

    def _judge(  # one value each
        self,
        connection: Connection,
        lane: Lane,
        run: Run,
        admitted: Sequence[Composed],
        now: datetime,
        quota: Quota | None,
    ) -> Verdicts:
        if not admitted:
            return []
        campaign = read_bundle(connection, lane.version).campaign
        step = campaign.steps[lane.step - 1]
        carriers = self.routing.found(step.channel, step.account)
        terms = terms_of(campaign, step, run.as_of, now, self.only_to, carriers)
        facts = read_facts(connection, [item.message.id for item in admitted], terms, now)
        opened = self._openings(run, campaign, step, facts)
        judged: dict[tuple[int, str], Send | Hold | Readdress | Leave] = {}  # alike: the same facts, the same arm

        def verdict(item: Composed) -> Send | Hold | Readdress | Leave:
            like = (id(facts[item.message.id]), item.message.arm)
            if (said := judged.get(like)) is None:
                said = judged[like] = judge(facts[item.message.id], terms, opened(item), now)
            return said

        verdicts: Verdicts = [(item, verdict(item)) for item in admitted]
        verdicts = _amended(verdicts, moved_on(connection, lane, _passing(verdicts), now))
        held = restrained(connection, self.caps(), campaign, step, _passing(verdicts), now, opened)
        return self._within_means(connection, campaign, lane, _amended(verdicts, held), now, quota)

    def _openings(self, run: Run, campaign: Campaign, step: Step, facts: Mapping[int, Facts]) -> Openings:
        """When each of a batch's messages may leave, found once per class."""
        of, rule = run.occasion, cache(lambda arm, occasion: rule_for(campaign, campaign.arm(arm), step, occasion))

        @cache
        def door(arm: str, occasion: Occasion, zone_key: str, country: str) -> Opening:
            return opening(rule(arm, occasion), zone_key, country, self.quiet)

        def opened(item: Composed) -> Opening:
            known = facts[item.message.id]
            occasion = members_occasion(campaign, of, known.anchor)
            return door(item.message.arm, occasion, known.zone_key, known.country)

        return opened

    def _within_means(  # one value each
        self,
        connection: Connection,
        campaign: Campaign,
        lane: Lane,
        verdicts: Verdicts,
        now: datetime,
        quota: Quota | None,
    ) -> Verdicts:
        """What the account's quota, its warm-up and the campaign's budget leave of those who would be sent to."""
        if quota is not None:
            verdicts = _amended(verdicts, over_quota(connection, quota, _leaving(verdicts), now))
        if (warm_up := self.warm_ups.get(lane.account)) is not None:
            verdicts = _amended(verdicts, warm_up.over(connection, _leaving(verdicts), now))
        unpaid = over_budget(connection, campaign, lane, _leaving(verdicts), now)
        return [(i, Leave(State.SKIPPED, OVER) if i.message.id in unpaid else said) for i, said in verdicts]


def _leaving(verdicts: Verdicts) -> list[Composed]:
    return [item for item, said in verdicts if isinstance(said, Send)]


def _passing(verdicts: Verdicts) -> list[Composed]:
    """Those who would be sent to, or would be if they were not held out: both are held to the same."""
    return [
        item
        for item, said in verdicts
        if isinstance(said, Send) or (isinstance(said, Leave) and said.state is State.HELD_OUT)
    ]


def _amended(verdicts: Verdicts, said: Mapping[int, Hold | Leave]) -> Verdicts:
    return [(item, said.get(item.message.id, before)) for item, before in verdicts] if said else verdicts


def _count(channel: str, sending: int, exits: Sequence[Exit], holds: Sequence[HoldMessage]) -> None:
    """The metrics of one committed mark."""
    metrics.mark_size.observe(sending + len(exits) + len(holds))
    metrics.messages.labels(channel, State.SENDING).inc(sending)
    for item in exits:
        metrics.messages.labels(channel, item.state).inc()
        if item.state is State.SKIPPED:  # a template's own words after the colon are no label
            metrics.skips.labels(channel, item.reason.partition(":")[0]).inc()
    for held in holds:
        metrics.holds.labels(channel, held.reason).inc()


def _hold(item: Composed, verdict: Hold | Readdress, now: datetime) -> HoldMessage:
    match verdict:
        case Hold(until, reason):
            return HoldMessage(item.message.id, until, reason)
        case Readdress(address_id):
            return HoldMessage(item.message.id, now, "next_address", address_id)
        case _:
            assert_never(verdict)
