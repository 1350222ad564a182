"""``send-test`` and seeds: the address, the account and the words put together, then sent outside the ledger."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, text

from orchestrator.audience.contacts import default_kind
from orchestrator.audience.facts import facts_of
from orchestrator.audience.people import user_ids
from orchestrator.campaign.version import Bundle
from orchestrator.channel.base import Feed
from orchestrator.clock import Clock
from orchestrator.daemon.contact import read_contact
from orchestrator.daemon.wiring import links_of, open_account_channel, planner_of
from orchestrator.dispatch.feed import show_tests
from orchestrator.dispatch.targets import Targets
from orchestrator.dispatch.trial import SOMEBODY, Choice, Target, Tested, send_trials, target_of, trials, write_down
from orchestrator.errors import InputError, NotFoundError, did_you_mean
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.policy.allowed import only_to
from orchestrator.policy.carriers import Carriers, choose
from orchestrator.policy.predicates import OWN_ID
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.store.tables import users

MOST = 200
"""Tests in one command."""


def facts_for_test(connection: Connection, user: str) -> dict[str, Any]:
    """The facts of a user by the app's own id; of an invented Ada without one."""
    if not user:
        return dict(SOMEBODY)
    known = user_ids(connection, [user])
    if user not in known:
        raise NotFoundError(f"no user {user[:64]!r}", hint="import users first, or leave --user out")
    return facts_of(connection, [known[user]])[known[user]]


def carriers_for(
    settings: Settings, clock: Clock, bundle: Bundle, channel: str, step: int, account: str = ""
) -> Carriers:
    """The accounts that the campaign's steps on this channel may go through, or the one that is named.

    Raises:
        InputError: the campaign has no such step.
        ConfigError: there is no such account.
    """
    steps = [each for each in bundle.campaign.steps if each.channel == channel and step in {0, each.index}]
    if not steps:
        there = ", ".join(f"{each.index} by {each.channel}" for each in bundle.campaign.steps)
        number = f" {step}" if step else ""
        raise InputError(f"{bundle.campaign.name} has no step{number} on {channel}", hint=f"its steps: {there}")
    return planner_of(settings, clock).routing.of(channel, account or steps[0].account)


def account_for(carriers: Carriers, target: Target) -> tuple[str, Target]:
    """The account that takes this address, and the target: an address that nobody has is of a kind that one takes.

    Raises:
        InputError: no account takes it.
    """
    found = choose(carriers, target.kind, target.platform, target.country, target.user or "")
    if found is None and target.user is None and target.kind == default_kind(target.channel):
        found = carriers[0]
        target = replace(target, kind=min(found.kinds))
    if found is None:
        names = ", ".join(one.name for one in carriers)
        raise InputError(f"no account takes this {target.kind} address", hint=f"see kinds and routes of {names}")
    return found.name, target


def check_arm(bundle: Bundle, arm: str) -> None:
    """An arm that is named has to be there."""
    names = [each.name for each in bundle.campaign.arms]
    if arm and arm not in names:
        raise NotFoundError(f"{bundle.campaign.name} has no arm {arm[:64]!r}", hint=did_you_mean(arm[:64], names))


def send_now(
    store: Store, clock: Clock, settings: Settings, bundle: Bundle, account: str, target: Target, chosen: Choice
) -> list[Tested]:
    """Render and send; call it outside the event loop.

    Raises:
        InputError: too many at once, or an inbox of nobody.
    """
    links = links_of(settings)

    async def send() -> list[Tested]:
        channel = open_account_channel(settings, account)
        try:
            what = list(trials(bundle, channel, chosen, links))
            if len(what) > MOST:
                raise InputError(f"that would be {len(what)} tests", hint="choose an --arm, a --step or a --locale")
            with store.write() as connection:
                Targets().write(connection, (trial.targets for trial in what))
            done = await send_trials(channel, target, what, lambda number: links.ack(number, clock.machine()))
            if isinstance(channel, Feed):
                _show_tests(store, target, done, channel.keep, clock.now())
            return done
        finally:
            await channel.close()

    return asyncio.run(send())


def _show_tests(store: Store, target: Target, done: list[Tested], keep: timedelta, now: datetime) -> None:
    """An inbox shows tests as well: under their own numbers, which are no message's."""
    with store.write() as connection:
        user = user_ids(connection, [target.address]).get(target.address)
        if user is None:
            raise InputError("there is no such user, and so no inbox", hint="give the id that the app uses")
        show_tests(connection, user, done, keep, now)


def refuse_stopped(connection: Connection, account: str) -> None:
    """Tests do not go through a stopped account either."""
    reason = stopped_accounts(connection).get(account)
    if reason is not None:
        raise InputError(f"account {account} is stopped: {reason}", hint=f"orchestrator accounts resume {account}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator asks for; empty: all of them, or guessed."""

    to: str
    channel: str = ""
    user: str = ""
    arm: str = ""
    step: int = 0
    locale: str = ""
    kind: str = ""
    account: str = ""


def try_campaign(
    store: Store, clock: Clock, settings: Settings, bundle: Bundle, wanted: Wanted, actor: str
) -> dict[str, Any]:
    """Send what a campaign would say to one address, now."""
    arm, step, locale = wanted.arm, wanted.step, wanted.locale
    contact = read_contact(wanted.to, wanted.channel, wanted.kind)
    channel = contact.channel
    check_arm(bundle, arm)
    carriers = carriers_for(settings, clock, bundle, channel, step, wanted.account)
    with store.read() as connection:
        target = target_of(connection, channel, contact.value, only_to(settings.only_to))
        if contact.kind:
            target = replace(target, kind=contact.kind, details=contact.details or target.details)
        account, target = account_for(carriers, target)
        refuse_stopped(connection, account)
        facts = facts_for_test(connection, wanted.user)
    own = [str(facts["locale"])] if facts.get("locale") else list(bundle.campaign.title)
    chosen = Choice(facts, [locale] if locale else own, arm, step)
    done = send_now(store, clock, settings, bundle, account, target, chosen)
    with store.write() as connection:
        write_down(connection, bundle.campaign.name, target, done, clock.now(), actor)
    return {
        "campaign": bundle.campaign.name,
        "channel": channel,
        "kind": target.kind,
        "account": account,
        "provider": settings.accounts[account].provider,
        "tests": [_told(each) for each in done],
    }


def _told(each: Tested) -> dict[str, Any]:
    accepted = each.outcome is not None and each.outcome.kind == "accepted"
    trial = each.trial
    told = {"arm": trial.arm, "step": trial.step, "locale": trial.locale, "accepted": accepted, "says": each.said}
    answer = each.outcome
    said = (answer.kind, answer.code, answer.provider_id, answer.detail) if answer else ("not_sent", "", None, "")
    return {**told, **dict(zip(("outcome", "code", "provider_id", "detail"), said, strict=True))}


_BEST = text("""
    SELECT address.value FROM address WHERE address.user_id = :user AND address.channel = :channel
      AND address.valid_until IS NULL ORDER BY address.last_seen_at DESC, address.id DESC LIMIT 1""")


def best_address(connection: Connection, user: int, channel: str) -> str | None:
    """A user's address seen last on a channel; on the app's own channels the user's own id."""
    if channel in OWN_ID:
        return connection.execute(select(users.c.external_id).where(users.c.id == user)).scalar()
    found: str | None = connection.execute(_BEST, {"user": user, "channel": channel}).scalar()
    return found
