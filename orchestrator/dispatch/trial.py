"""Test sends: what a campaign would say, sent now to one address through the real renderer and the real channel.

No message of the ledger, no attempt, nothing that a report counts: a line of history, under run 0. The id of
a test belongs to run 0 too, so what a provider calls back about it finds no message.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from orchestrator.audience.contacts import default_kind
from orchestrator.campaign.spec import Arm, Step
from orchestrator.campaign.version import Bundle
from orchestrator.channel.base import Channel, Envelope, Outcome, OutcomeClass, Payload
from orchestrator.content.links import ACKNOWLEDGED, Links
from orchestrator.content.templates import TemplateSet
from orchestrator.dispatch.compose import worded
from orchestrator.errors import InputError, RenderError, SkipMessage
from orchestrator.ledger.ids import RUN_SHIFT
from orchestrator.ledger.transition import NO_RUN, Transition, record
from orchestrator.policy.allowed import OnlyTo, allowed
from orchestrator.policy.predicates import OWN_ID
from orchestrator.store.tables import Json

SOMEBODY: Mapping[str, Any] = {
    "id": "preview", "name": "Ada", "country": "DE", "orders": 7, "favourite": "ramen", "tier": "gold", "points": 350,
    "points_expire_on": "2026-12-31", "cart_item": "rain jacket", "cart_value": 89.0, "week_orders": 2,
}  # fmt: skip
"""Who a preview or a test is for when no user is named."""
TTL = timedelta(hours=1)
AckOf = Callable[[int], str]
"""What the app acknowledges a test with, by its number: as genuine as a message's, and about none."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One arm and step in one language, ready to be sent; ``problem`` instead of words when it would not be."""

    arm: str
    step: int
    locale: str
    payload: Payload | None
    problem: str = ""
    targets: Mapping[int, str] = field(default_factory=dict)
    """Where its links lead: to be on disk before it leaves."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a test goes. ``user``: whose address it is, if anybody's."""

    channel: str
    address: str
    kind: str
    user: str | None = None
    platform: str | None = None
    country: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    why: str = "test"
    run_id: int = NO_RUN


@dataclass(frozen=True, slots=True)
class Tested:
    """What came of one trial."""

    trial: Trial
    outcome: Outcome | None

    @property
    def said(self) -> str:
        """One word or two for people and history; never an address."""
        if self.outcome is None:
            return self.trial.problem
        return f"{self.outcome.kind} {self.outcome.code}".strip()


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a campaign is tried: one arm or all (""), one step or all (0), in which languages, told to whom."""

    facts: Mapping[str, Any]
    locales: Sequence[str]
    arm: str = ""
    step: int = 0


def trials(bundle: Bundle, channel: Channel, chosen: Choice, links: Links | None = None) -> Iterator[Trial]:
    """Every chosen arm and step on the channel, in every locale."""
    compiled, campaign, arm, step = TemplateSet(bundle.templates), bundle.campaign, chosen.arm, chosen.step
    for each in campaign.arms:
        for leg in campaign.steps:
            if arm in {"", each.name} and step in {0, leg.index} and leg.channel == channel.channel:
                for locale in chosen.locales:
                    yield _trial(bundle, compiled, each, leg, channel, {**chosen.facts, "locale": locale}, links)


def _trial(
    bundle: Bundle,
    compiled: TemplateSet,
    arm: Arm,
    step: Step,
    channel: Channel,
    user: dict[str, Any],
    links: Links | None,
) -> Trial:
    locale, template = str(user["locale"] or ""), bundle.campaign.template_of(arm, step)
    made, problem = None, ""
    try:
        made = worded(bundle, compiled, template, step.channel, locale, user, links)
    except SkipMessage as skip:
        problem = f"template:{skip.message}"[:200]
    except RenderError as error:
        problem = error.message
    if made is not None and (wrong := channel.problems(made.payload)):
        made, problem = None, "; ".join(wrong)
    if made is None:
        return Trial(arm.name, step.index, locale, None, problem)
    return Trial(arm.name, step.index, locale, made.payload, "", made.targets)


async def send_trials(
    channel: Channel, target: Target, what: Sequence[Trial], ack_of: AckOf = lambda _: ""
) -> list[Tested]:
    """Send them now, one after the other: a test is no reason to be fast."""
    done = []
    for trial in what:
        outcome = None if trial.payload is None else await channel.send(_envelope(target, trial.payload, ack_of))
        done.append(Tested(trial, outcome))
    return done


def _envelope(target: Target, payload: Payload, ack_of: AckOf) -> Envelope:
    """As long as a real one: its acknowledgement is genuine, and is about no message."""
    number = secrets.randbelow((1 << RUN_SHIFT) - 1) + 1
    return Envelope(
        message_id=str(number),
        attempt=1,
        address=target.address,
        address_kind=target.kind,
        details=target.details,
        payload=payload,
        ttl=TTL,
        collapse_key=f"test-{number}",
        ack=ack_of(number) if target.channel in ACKNOWLEDGED else "",
    )


def write_down(
    connection: Connection, campaign: str, target: Target, done: Sequence[Tested], now: datetime, actor: str
) -> None:
    """A line of history for each test that left, or may have."""
    lines = [
        Transition(now, "test_sent", actor, None, _line(target, each), campaign, target.run_id)
        for each in done
        if each.outcome is not None
    ]
    record(connection, lines)


def _line(target: Target, each: Tested) -> str:
    trial = each.trial
    return f"{target.why}: {target.channel}, arm {trial.arm}, step {trial.step}, {trial.locale or '-'}: {each.said}"


_OWNER = text("""
    SELECT users.external_id, address.kind, address.platform, coalesce(address.country, users.country, '') AS country,
           address.details
    FROM address JOIN users ON users.id = address.user_id
    WHERE address.channel = :channel AND address.value = :value AND address.valid_until IS NULL""").columns(
    details=Json
)
_OWN = text("""
    SELECT users.external_id, 'user' AS kind, NULL AS platform, coalesce(users.country, '') AS country, NULL AS details
    FROM users WHERE users.external_id = :value""")
_OWN_SUPPRESSED = text("""
    SELECT 1 FROM suppression WHERE suppression.channel = :channel AND suppression.valid_until IS NULL
      AND (suppression.address = :value OR suppression.user_id = (
           SELECT coalesce(user_alias.user_id, users.id) FROM users
           LEFT JOIN user_alias ON user_alias.old_user_id = users.id WHERE users.external_id = :value)) LIMIT 1""")
_SUPPRESSED = text("""
    SELECT 1 FROM suppression WHERE suppression.channel = :channel AND suppression.valid_until IS NULL
      AND (suppression.address = :value OR suppression.user_id = (
           SELECT address.user_id FROM address WHERE address.channel = :channel AND address.value = :value
           AND address.valid_until IS NULL)) LIMIT 1""")


def target_of(connection: Connection, channel: str, value: str, listed: OnlyTo, **more: Any) -> Target:
    """An address to send a test to.

    Raises:
        InputError: it is suppressed, or not on the deployment's allow-list.
    """
    asked = {"channel": channel, "value": value}
    own = channel in OWN_ID
    owner = connection.execute(_OWN if own else _OWNER, asked).first()
    if not allowed(listed, owner.external_id if owner else None, value):
        raise InputError("only_to does not have this address", hint="add it, or its user, to only_to in the settings")
    if connection.execute(_OWN_SUPPRESSED if own else _SUPPRESSED, asked).first() is not None:
        hint = "nothing is sent there, tests included, until the suppression is lifted"
        raise InputError("this address, or its user, is suppressed", hint=hint)
    if owner is None:
        return Target(channel, value, default_kind(channel), **more)
    known = {"platform": owner.platform, "country": owner.country, "details": owner.details or {}}
    return Target(channel, value, owner.kind, owner.external_id, **known, **more)


def refused(done: Sequence[Tested]) -> bool:
    """Whether anything of it was not accepted."""
    return any(each.outcome is None or each.outcome.kind is not OutcomeClass.ACCEPTED for each in done)
