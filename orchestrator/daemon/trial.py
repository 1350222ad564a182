"""``send-test`` and seeds: the address, the account and the words put together, then sent outside the ledger."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from orchestrator.audience.facts import facts_of
from orchestrator.audience.people import user_ids
from orchestrator.audience.whereabouts import mailbox, phone
from orchestrator.campaign.version import Bundle
from orchestrator.clock import Clock
from orchestrator.daemon.wiring import links_of, open_account_channel, planner_of
from orchestrator.dispatch.targets import Targets
from orchestrator.dispatch.trial import SOMEBODY, Choice, Target, Tested, send_trials, target_of, trials, write_down
from orchestrator.errors import InputError, NotFoundError, did_you_mean
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.policy.allowed import only_to
from orchestrator.settings import Settings
from orchestrator.store import Store

MOST = 200
"""Tests in one command."""
_PHONE = re.compile(r"\+[1-9]\d{5,14}")
_MAILBOX = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+|[^\s@]+@localhost")
_LOOKS = {"sms": (_PHONE, "a number like +4915112345678"), "email": (_MAILBOX, "a mailbox like ada@example.com")}


def channel_for(address: str) -> str:
    """The channel that an address looks like: a number, a mailbox, or else a push token."""
    if _PHONE.fullmatch(address):
        return "sms"
    return "email" if _MAILBOX.fullmatch(address) else "push"


def checked_channel(address: str, named: str) -> str:
    """The channel named, or guessed.

    Raises:
        InputError: nothing on that channel could look like this.
    """
    channel = named or channel_for(address)
    looks = _LOOKS.get(channel)
    if channel not in {"push", "sms", "email"}:
        raise InputError(f"unknown channel {channel[:32]!r}", hint=did_you_mean(channel[:32], ["push", "sms", "email"]))
    if not address or any(sign.isspace() for sign in address) or (looks and not looks[0].fullmatch(address)):
        wanted = looks[1] if looks else "a token without spaces"
        raise InputError(f"--to is no address for {channel}", hint=f"give {wanted}, or another --channel")
    return channel


def facts_for_test(connection: Connection, user: str) -> dict[str, Any]:
    """The facts of a user by the app's own id; of an invented Ada without one."""
    if not user:
        return dict(SOMEBODY)
    known = user_ids(connection, [user])
    if user not in known:
        raise NotFoundError(f"no user {user[:64]!r}", hint="import users first, or leave --user out")
    return facts_of(connection, [known[user]])[known[user]]


def account_for(settings: Settings, clock: Clock, bundle: Bundle, channel: str, step: int) -> str:
    """The account that the campaign's steps on this channel go through.

    Raises:
        InputError: the campaign has no such step.
    """
    steps = [each for each in bundle.campaign.steps if each.channel == channel and step in {0, each.index}]
    if not steps:
        there = ", ".join(f"{each.index} by {each.channel}" for each in bundle.campaign.steps)
        number = f" {step}" if step else ""
        raise InputError(f"{bundle.campaign.name} has no step{number} on {channel}", hint=f"its steps: {there}")
    return planner_of(settings, clock).account_of(channel, steps[0].account)


def check_arm(bundle: Bundle, arm: str) -> None:
    """An arm that is named has to be there."""
    names = [each.name for each in bundle.campaign.arms]
    if arm and arm not in names:
        raise NotFoundError(f"{bundle.campaign.name} has no arm {arm[:64]!r}", hint=did_you_mean(arm[:64], names))


def send_now(
    store: Store, settings: Settings, bundle: Bundle, account: str, target: Target, chosen: Choice
) -> list[Tested]:
    """Render and send; call it outside the event loop."""

    async def send() -> list[Tested]:
        channel = open_account_channel(settings, account)
        try:
            what = list(trials(bundle, channel, chosen, links_of(settings)))
            if len(what) > MOST:
                raise InputError(f"that would be {len(what)} tests", hint="choose an --arm, a --step or a --locale")
            with store.write() as connection:
                Targets().write(connection, (trial.targets for trial in what))
            return await send_trials(channel, target, what)
        finally:
            await channel.close()

    return asyncio.run(send())


def refuse_stopped(connection: Connection, account: str) -> None:
    """Tests do not go through a stopped account either."""
    reason = stopped_accounts(connection).get(account)
    if reason is not None:
        raise InputError(f"account {account} is stopped: {reason}", hint=f"orchestrator accounts resume {account}")


def as_kept(channel: str, address: str) -> str:
    """An address as the database writes it: another spelling would pass by its suppression.

    Raises:
        InputError: it is none; the error does not repeat it.
    """
    match channel:
        case "sms":
            return phone(address).value
        case "email" if not address.endswith("@localhost"):  # a mail server on this machine: no mailbox by syntax
            return mailbox(address)
        case _:
            return address.lower() if channel == "email" else address


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator asks for; empty: all of them, or guessed."""

    to: str
    channel: str = ""
    user: str = ""
    arm: str = ""
    step: int = 0
    locale: str = ""


def try_campaign(
    store: Store, clock: Clock, settings: Settings, bundle: Bundle, wanted: Wanted, actor: str
) -> dict[str, Any]:
    """Send what a campaign would say to one address, now."""
    arm, step, locale = wanted.arm, wanted.step, wanted.locale
    channel = checked_channel(wanted.to, wanted.channel)
    check_arm(bundle, arm)
    account = account_for(settings, clock, bundle, channel, step)
    with store.read() as connection:
        target = target_of(connection, channel, as_kept(channel, wanted.to), only_to(settings.only_to))
        refuse_stopped(connection, account)
        facts = facts_for_test(connection, wanted.user)
    own = [str(facts["locale"])] if facts.get("locale") else list(bundle.campaign.title)
    chosen = Choice(facts, [locale] if locale else own, arm, step)
    done = send_now(store, settings, bundle, account, target, chosen)
    with store.write() as connection:
        write_down(connection, bundle.campaign.name, target, done, clock.now(), actor)
    name = bundle.campaign.name
    return {"campaign": name, "channel": channel, "account": account, "tests": [_told(each) for each in done]}


def _told(each: Tested) -> dict[str, Any]:
    accepted = each.outcome is not None and each.outcome.kind == "accepted"
    trial = each.trial
    return {"arm": trial.arm, "step": trial.step, "locale": trial.locale, "accepted": accepted, "says": each.said}


_BEST = text("""
    SELECT address.value FROM address WHERE address.user_id = :user AND address.channel = :channel
      AND address.valid_until IS NULL ORDER BY address.last_seen_at DESC, address.id DESC LIMIT 1""")


def best_address(connection: Connection, user: int, channel: str) -> str | None:
    """A user's address seen last on a channel."""
    found: str | None = connection.execute(_BEST, {"user": user, "channel": channel}).scalar()
    return found
