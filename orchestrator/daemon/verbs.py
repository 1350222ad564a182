"""What operators may do to a running deployment.

The command line calls these through the daemon, or by itself when there is none: the same functions either way.
Arguments and results are plain JSON values.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from orchestrator.audience import suppression_list
from orchestrator.audience.attribute_indexes import sync_indexes
from orchestrator.audience.erasing import erase_user
from orchestrator.audience.importing import import_file
from orchestrator.audience.merging import merge_users
from orchestrator.audience.takers import target_of
from orchestrator.campaign.attributes import declared_in
from orchestrator.campaign.load import load_bundle
from orchestrator.campaign.occasions import chosen, named
from orchestrator.campaign.reading import read_document
from orchestrator.campaign.topics import double_opt_in, topics_in
from orchestrator.campaign.version import save_version
from orchestrator.clock import Clock
from orchestrator.daemon.relaunching import as_json, plan_again, turn_live
from orchestrator.daemon.restoring import accept_restored
from orchestrator.daemon.trial import Wanted, try_campaign
from orchestrator.daemon.wiring import habits_of, links_of, open_channels, planner_of
from orchestrator.dispatch.doubt import reconcile, resolve, unknown_messages
from orchestrator.dispatch.storm import StormGuard
from orchestrator.errors import ConfigError, InputError, NotFoundError, did_you_mean
from orchestrator.ledger import restored, runs, stops
from orchestrator.ledger.runs import UNUSUAL_SIZE
from orchestrator.ledger.states import CampaignState, RunState, State
from orchestrator.ledger.transition import Transition, record
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.store.tables import campaign
from orchestrator.timing.best_hours import refresh
from orchestrator.tracking.callbacks import Callback, CallbackBook, Verdict, report_of
from orchestrator.tracking.hits import reclassify

Progress = Callable[[int], None]
Verb = Callable[..., dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Desk:
    """Where an operator's action is carried out."""

    store: Store
    clock: Clock
    settings: Settings
    progress: Progress = lambda _: None
    guards: dict[str, StormGuard] = field(default_factory=dict)
    """Of mail that is taken in here, per account: a storm is longer than one command."""
    breakers: Callable[[], dict[str, str]] = dict
    """The state of each account's breaker, of the daemon that has them."""


def launch(desk: Desk, name: str, actor: str, new_runs_only: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002  # a JSON value
    """Check a campaign's files and store them as an immutable version, for the next runs and what waits of live ones.

    Launching what runs already does nothing, but for live runs that have an older version.
    """
    bundle = load_bundle(name, desk.settings.campaigns, desk.settings.templates)
    planner = planner_of(desk.settings, desk.clock)
    accounts = [planner.account_of(step.channel, step.account) for step in bundle.campaign.steps]
    with desk.store.write() as connection:
        now = desk.clock.now()
        digest = save_version(connection, bundle, now)
        changed = runs.launch(connection, bundle.campaign.name, digest, now, actor)
        live = turn_live(connection, bundle, digest, now, actor, new_runs_only=new_runs_only)
    found = as_json(plan_again(desk.store, planner, bundle, live, desk.progress))
    told = {"campaign": bundle.campaign.name, "version": digest, "accounts": accounts}
    return {**told, "changed": changed, "runs": found}


def _set(desk: Desk, name: str, state: CampaignState, actor: str) -> dict[str, Any]:
    with desk.store.write() as connection:
        runs.set_campaign_state(connection, name, state, desk.clock.now(), actor)
    return {"campaign": name, "state": state}


def pause(desk: Desk, name: str, actor: str) -> dict[str, Any]:
    """Nothing of the campaign is begun any more; what waits keeps waiting until its deadline."""
    return _set(desk, name, CampaignState.PAUSED, actor)


def resume(desk: Desk, name: str, actor: str) -> dict[str, Any]:
    """Go on where it was; nobody gets anything twice."""
    return _set(desk, name, CampaignState.RUNNING, actor)


def confirm(desk: Desk, name: str, day: str, actor: str) -> dict[str, Any]:
    """Let runs go on that wait because of their size; ``day`` "": all of the campaign's."""
    with desk.store.write() as connection:
        runs.campaign_state(connection, name)
        wanted = _wanted(connection, name, day) if day else None
        found = runs.confirm_runs(connection, name, wanted, desk.clock.now(), actor)
        called = [named(connection, item) for item in found]
    if not found:
        which = f"the run of {day}" if day else "no run"
        said = f"{which} of {name} waits to be confirmed" if not day else f"{which} does not wait to be confirmed"
        raise InputError(said, hint=f"`orchestrator runs {name}` says how they are")
    return {"campaign": name, "runs": called}


def _wanted(connection: Connection, name: str, text: str) -> int:
    """The run of a campaign that a typed date or time means, among those that wait; 0: there is none."""
    waiting = [item for item in runs.runs_in(connection, RunState.PLANNING) if item.campaign == name]
    known = [(named(connection, item), item.occasion, item.id) for item in waiting if item.reason == UNUSUAL_SIZE]
    return chosen(text, known, f"campaign {name}") or 0


def stop_campaign(desk: Desk, name: str, actor: str) -> dict[str, Any]:
    """End a campaign: what has not left never will."""
    return _set(desk, name, CampaignState.STOPPED, actor)


def stop_all(desk: Desk, actor: str) -> dict[str, Any]:
    """End every campaign."""
    with desk.store.write() as connection:
        live = select(campaign.c.name).where(campaign.c.state != CampaignState.STOPPED).order_by(campaign.c.name)
        names = connection.execute(live).scalars().all()
        for name in names:
            runs.set_campaign_state(connection, name, CampaignState.STOPPED, desk.clock.now(), actor)
    return {"stopped": list(names)}


def resume_account(desk: Desk, name: str, actor: str) -> dict[str, Any]:
    """Use an account again that a provider's answer had stopped."""
    with desk.store.write() as connection:
        if restored.REASON in stops.stopped_accounts(connection).values():
            raise InputError("an older database was restored: no account is used", hint="orchestrator restore accept")
        ended = stops.resume_account(connection, name, desk.clock.now(), actor)
    if not ended and name not in desk.settings.accounts:
        raise NotFoundError(f"no account {name!r}", hint=did_you_mean(name, desk.settings.accounts))
    return {"account": name, "was_stopped": ended}


def breakers(desk: Desk) -> dict[str, Any]:
    """The state of each account's breaker."""
    return desk.breakers()


def import_rows(desk: Desk, kind: str, path: str, mapping: str, actor: str = "operator") -> dict[str, Any]:
    """Take in a file of users, events, addresses, consents or suppressions; again changes nothing.

    A command of the release before this one does not say who it is for.
    """
    document = read_document(Path(mapping))
    if document.problems:
        raise ConfigError(document.problems)
    declared = declared_in(desk.settings.campaigns)
    asks = double_opt_in(topics_in(desk.settings.campaigns))
    done = import_file(
        desk.store, kind, Path(path), document, desk.clock, progress=desk.progress, declared=declared, asks=asks
    )
    if done.written:
        _write_down(desk, "imported", actor, f"{kind}: {done.written} new or changed, {done.rejected} rejected")
    return done.as_dict()


def _write_down(desk: Desk, what: str, actor: str, words: str) -> None:
    """A line of history of what was done to many at once."""
    with desk.store.write() as connection:
        record(connection, [Transition(desk.clock.now(), what, actor, reason=words)])


def merge_two(desk: Desk, keep: str, other: str, actor: str) -> dict[str, Any]:
    """Make two users one: nothing is lost, and the other's name means who stays from then on."""
    return asdict(merge_users(desk.store, keep, other, desk.clock, actor))


def erase(desk: Desk, user: str, actor: str) -> dict[str, Any]:
    """Erase a person, under whichever of their names: only hashes of what they had refused stay."""
    return asdict(erase_user(desk.store, user, desk.clock, actor))


def sync_attributes(desk: Desk, campaigns: str) -> dict[str, Any]:
    """Make the database's attribute indexes those that the file beside the campaigns declares."""
    return asdict(sync_indexes(desk.store, declared_in(Path(campaigns))))


def refresh_best_hours(desk: Desk) -> dict[str, Any]:
    """Bring everybody's best hours up to date, to the end."""
    users = 0

    def told(count: int) -> bool:
        nonlocal users
        users += count
        desk.progress(count)
        return True

    refresh(desk.store, desk.clock.now(), habits_of(desk.settings), told)
    return {"users": users}


def reclassify_hits(desk: Desk, actor: str) -> dict[str, Any]:
    """Judge every kept open and click again, by the rules as they are now."""
    done = reclassify(desk.store)
    if done.changed:
        words = f"{done.changed} of {done.looked_at} opens and clicks are seen differently"
        _write_down(desk, "reclassified", actor, words)
    return asdict(done)


def suppress(desk: Desk, reason: str, actor: str, **target: Any) -> dict[str, Any]:
    """Send no more to an address, or to a user on a channel."""
    with desk.store.write() as connection:
        return {"new": suppression_list.add(connection, target_of(**target), reason, desk.clock.now(), actor)}


def lift_suppression(desk: Desk, because: str, force: bool, actor: str, **target: Any) -> dict[str, Any]:  # noqa: FBT001
    """Let an address or a user be sent to again: who, when and why stays in the history."""
    with desk.store.write() as connection:
        done = suppression_list.lift_by_hand(
            connection, target_of(**target), because, desk.clock.now(), actor, force=force
        )
    return {"lifted": list(done.reasons), "held": list(done.held)}


def take_mail(desk: Desk, account: str, reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Take in what returned mails say (the command line has read them, and checked whose they are)."""
    chosen = desk.settings.accounts.get(account)
    if chosen is None:
        raise NotFoundError(f"no account {account!r}", hint=did_you_mean(account, desk.settings.accounts))
    said = [Callback(account, chosen.channel, chosen.provider, report_of(one), one["message_id"]) for one in reports]
    with desk.store.write() as connection:
        verdicts = CallbackBook(desk.clock, desk.guards).take(connection, said)
    taken = sum(verdict is Verdict.TAKEN for verdict in verdicts)
    return {"taken": taken, "known": len(verdicts) - taken}


def reconcile_unknown(desk: Desk, actor: str) -> dict[str, Any]:
    """Ask providers what became of messages whose answer was lost."""

    async def ask() -> dict[str, Any]:
        channels = open_channels(desk.settings)
        try:
            return asdict(await reconcile(desk.store, desk.clock, channels, actor, links_of(desk.settings)))
        finally:
            for channel in channels.values():
                await channel.close()

    return asyncio.run(ask())


def resolve_doubt(desk: Desk, became: str, actor: str, messages: list[int], account: str, days: int) -> dict[str, Any]:
    """End the doubt about some messages: those named, or all of an account that left at least ``days`` ago."""
    now = desk.clock.now()
    with desk.store.write() as connection:
        chosen = [
            one
            for one in unknown_messages(connection)
            if one.message_id in messages or (one.account == account and one.sent_at <= now - timedelta(days=days))
        ]
        return {"resolved": resolve(connection, chosen, State(became), now, actor), "became": became}


def send_test(desk: Desk, name: str, actor: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Send what a campaign's files say, as they are now, to one address."""
    bundle = load_bundle(name, desk.settings.campaigns, desk.settings.templates)
    return try_campaign(desk.store, desk.clock, desk.settings, bundle, Wanted(**wanted), actor)


def restore_accept(desk: Desk, actor: str) -> dict[str, Any]:
    """Go on with a restored database: what may have been sent after the backup is skipped, then accounts are used."""
    return accept_restored(desk.store, desk.clock, desk.settings, actor)


VERBS: dict[str, Verb] = {
    "launch": launch,
    "pause": pause,
    "resume": resume,
    "confirm": confirm,
    "stop": stop_campaign,
    "stop_all": stop_all,
    "resume_account": resume_account,
    "breakers": breakers,
    "import": import_rows,
    "suppress": suppress,
    "lift_suppression": lift_suppression,
    "take_mail": take_mail,
    "reconcile": reconcile_unknown,
    "resolve": resolve_doubt,
    "reclassify": reclassify_hits,
    "refresh_best_hours": refresh_best_hours,
    "send_test": send_test,
    "restore_accept": restore_accept,
    "merge_users": merge_two,
    "erase": erase,
    "sync_attributes": sync_attributes,
}
"""Every verb, by the name it has on the wire."""
