"""Every rule that a member's message is held to, with its verdict, from the functions that decide at the mark.

For a message that waits: as of now. For one that is over: what windows, caps and the deadline said at the instant at
which it was sent or left; what is known of the person may have changed since, so that nothing else is asked again. If
it was none of these that stopped it, the reason in the ledger follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Label, Row, literal_column, select

from orchestrator.audience.aliases import family
from orchestrator.audience.people import user_ids
from orchestrator.campaign.occasions import named
from orchestrator.campaign.spec import Campaign, Step
from orchestrator.campaign.version import read_bundle
from orchestrator.dispatch.quota import OVER as QUOTA
from orchestrator.dispatch.quota import Quota, day_of, sent_today
from orchestrator.dispatch.restraint import MOVED_ON, no_longer
from orchestrator.dispatch.spending import OVER as BUDGET
from orchestrator.ledger.lanes import VERSION
from orchestrator.ledger.runs import read_run
from orchestrator.ledger.spend import spent
from orchestrator.ledger.states import State
from orchestrator.plan.rules import members_occasion, rule_for, terms_of
from orchestrator.policy.allowed import OnlyTo
from orchestrator.policy.caps import BACKOFF, CAPPED, Caps, Restraint
from orchestrator.policy.caps_sql import Sender, read_records
from orchestrator.policy.carriers import Routing
from orchestrator.policy.facts import Facts, read_facts
from orchestrator.policy.gate import Leave, Readdress, Verdict, consult
from orchestrator.policy.resolver import Drop, Hold, Opening, Send, opening, resolve
from orchestrator.report.triggers import Forestalled
from orchestrator.store.tables import lane, message, run
from orchestrator.timing.quiet import NEVER_QUIET, QuietHours

PASSES, HOLDS, DROPS = "passes", "holds", "drops"
ENDED = "ended"
"""The rule of a story whose message was skipped by one that is not asked again; the reason follows after a colon."""
NEEDLESS = "needless"
_LATER = frozenset({"window", "quiet_hours", "late", CAPPED})
"""What can be said of a message that is over."""


@dataclass(frozen=True, slots=True)
class Around:
    """What the mark knows beside the ledger; ``quota`` gives an account's."""

    quiet: QuietHours
    caps: Caps
    routing: Routing
    only_to: OnlyTo
    quota: Callable[[str], Quota | None]


@dataclass(frozen=True, slots=True)
class RuleStory:
    """One rule. ``rule`` is a reason of the ledger, after a colon which one; ``figures``: how far it is used up."""

    rule: str
    verdict: str
    until: datetime | None = None
    figures: str = ""


@dataclass(frozen=True, slots=True)
class RulesStory:
    """The rules of one message, in the order in which they are asked. ``over``: it waits no more.

    ``message_id`` is None, with no date, step 0 and no channel, where there is no message since nobody joined.
    """

    message_id: int | None
    local_date: str
    step: int
    channel: str
    zone_key: str
    at: datetime
    over: bool
    rules: tuple[RuleStory, ...]


def consulted(connection: Connection, user: str, campaign: str, now: datetime, around: Around) -> list[RulesStory]:
    """The rules of each of a user's messages of a campaign; none when there are none."""
    known = user_ids(connection, [user])
    ids = family(connection, known[user]) if user in known else ()
    version: Label[str] = literal_column(VERSION).label("version")
    query = select(message, lane.c.channel, lane.c.account, version).join(lane, lane.c.id == message.c.lane_id)
    of_user = query.join(run, run.c.id == message.c.run_id).where(
        run.c.campaign == campaign, message.c.user_id.in_(ids)
    )
    rows = connection.execute(of_user.order_by(run.c.local_date, run.c.fires_at, run.c.id, message.c.step)).all()
    return [_Asking(connection, row, now, around).story() for row in rows]


def consulted_to_join(found: Forestalled) -> RulesStory:
    """The rule that kept somebody from joining a triggered campaign, as of the event that did so."""
    return RulesStory(None, "", 0, "", "", found.by_at, True, (RuleStory(f"{NEEDLESS}:{found.by}", DROPS),))  # noqa: FBT003  # a value


class _Asking:
    """One message, and what its rules are asked with."""

    def __init__(self, connection: Connection, row: Row[Any], now: datetime, around: Around) -> None:
        self.connection, self.row, self.around = connection, row, around
        self.over = row.state not in {State.PLANNED, State.CLAIMED}
        self.at = (row.sent_at or row.state_at) if self.over else now
        self.bundle = read_bundle(connection, row.version)
        self.run = read_run(connection, row.run_id)
        self.campaign: Campaign = self.bundle.campaign
        self.step: Step = self.campaign.steps[row.step - 1]

    def story(self) -> RulesStory:
        """All of it."""
        carriers = self.around.routing.found(self.step.channel, self.step.account)
        terms = terms_of(self.campaign, self.step, self.run.as_of, self.at, self.around.only_to, carriers)
        facts = read_facts(self.connection, [self.row.id], terms, self.at)[self.row.id]
        asked = [
            *self._windows(facts),
            *consult(replace(facts, held_out=False), terms, self._door(facts), self.at)[:-1],
        ]
        rules = [_told(name, said) for name, said in asked]
        rules += [*self._segment(), *self._restraint(), *self._quota(), *self._budget()]
        shown = tuple(rule for rule in rules if not self.over or rule.rule.partition(":")[0] in _LATER)
        if self.row.state == State.SKIPPED and all(rule.verdict == PASSES for rule in shown):
            shown += (RuleStory(f"{ENDED}:{self.row.reason}", DROPS),)
        place = (self.row.id, named(self.connection, self.run), self.row.step, self.row.channel, facts.zone_key)
        return RulesStory(*place, self.at, self.over, shown)

    def _door(self, facts: Facts, quiet: QuietHours | None = None) -> Opening:
        occasion = members_occasion(self.campaign, self.run.occasion, facts.anchor)
        rule = rule_for(self.campaign, self.campaign.arm(self.row.arm), self.step, occasion)
        return opening(rule, facts.zone_key, facts.country, self.around.quiet if quiet is None else quiet)

    def _windows(self, facts: Facts) -> Iterator[tuple[str, Verdict | None]]:
        """The window, and quiet hours apart from it: the gate asks for both at once."""
        alone, both = resolve(self._door(facts, NEVER_QUIET), self.at), resolve(self._door(facts), self.at)
        yield "window", _verdict(alone)
        yield "quiet_hours", _verdict(both) if isinstance(alone, Send) else None

    def _segment(self) -> Iterator[RuleStory]:
        if self.campaign.recheck and not self.over:
            user = self.row.user_id
            day = self.run.local_date
            said = no_longer(self.connection, self.row.version, self.bundle, [user], self.at, day)
            yield RuleStory(MOVED_ON, DROPS if user in said else PASSES)

    def _restraint(self) -> Iterator[RuleStory]:
        caps, tags = self.around.caps, self.campaign.tagged
        rules = caps.rules_for(self.step.channel, tags)
        backoff = None if self.over else caps.backoff_for(self.step.channel, tags)
        sender = Sender(self.campaign.name, self.campaign.priority, self.campaign.goal.event)
        user, own = self.row.user_id, [self.row.id]
        record = read_records(self.connection, caps, rules, backoff, [user], own, sender, self.at)[user]
        for rule in rules:
            sent = [at for at in record.sent.get(rule, ()) if at <= self.at]
            reserved = () if self.over else record.reserved.get(rule, ())
            figures = f"{len(sent)}/{rule.most}" + (f" + {len(reserved)}" if reserved else "")
            yield _restrained(f"{CAPPED}:{rule.label}", rule.full(sent, reserved, self.at), figures)
        if backoff is not None:
            said = backoff.says(record.unanswered, record.last, self.at)
            yield _restrained(BACKOFF, said, f"{record.unanswered}/{backoff.after}")

    def _quota(self) -> Iterator[RuleStory]:
        quota = None if self.over else self.around.quota(self.row.account)
        if quota is not None:
            had = sent_today(self.connection, quota, [self.row.id], self.at).get(self.row.id, 0)
            full = had >= quota.most
            until = day_of(quota.zone, self.at)[1] if full else None
            yield RuleStory(QUOTA, HOLDS if full else PASSES, until, f"{had}/{quota.most}")

    def _budget(self) -> Iterator[RuleStory]:
        budget = self.campaign.budget
        if budget is None or self.over or self.step.channel != "sms":
            return
        gone = spent(self.connection, self.campaign.name, self.row.run_id if budget.each_run else None)
        limits = [(gone.sms, budget.sms), (gone.sms_parts, budget.sms_parts)]
        known = [(used, most) for used, most in limits if most is not None]
        figures = ", ".join(f"{used}/{most}" for used, most in known)
        yield RuleStory(BUDGET, DROPS if any(used >= most for used, most in known) else PASSES, None, figures)


def _verdict(answer: Send | Hold | Drop) -> Verdict | None:
    match answer:
        case Drop(reason):
            return Leave(State.SKIPPED, reason)
        case Hold():
            return answer
        case Send():
            return None


def _told(name: str, said: Verdict | None) -> RuleStory:
    match said:
        case None | Send():
            return RuleStory(name, PASSES)
        case Hold(until, _):
            return RuleStory(name, HOLDS, until)
        case Readdress():
            return RuleStory(name, HOLDS)
        case Leave():
            return RuleStory(name, DROPS)


def _restrained(name: str, said: Restraint | None, figures: str) -> RuleStory:
    if said is None:
        return RuleStory(name, PASSES, None, figures)
    return RuleStory(name, DROPS if said.until is None else HOLDS, said.until, figures)
