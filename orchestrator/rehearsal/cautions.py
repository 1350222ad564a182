"""What an operator should know before launching: said by key, worded in :mod:`orchestrator.rehearsal.words`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from sqlalchemy import Connection, text

from orchestrator.campaign.spec import Campaign
from orchestrator.clock import from_micros
from orchestrator.ledger.runs import UNUSUAL_SIZE
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.rehearsal.counting import Span, is_capped
from orchestrator.rehearsal.echoes import Echoes, asked_by, names_of
from orchestrator.rehearsal.values import Caution, Load, RunOutline, Sms, Why

MANY = 0.2
"""From this share on a limit is worth telling."""
_ZONES_NAMED = 4
UNRENDERED = ("render_error", "unfit")

_SHUT = text("""
    SELECT reason, zone_key, count(*) AS n FROM member
    WHERE run_id IN (SELECT id FROM run WHERE campaign = :campaign AND (finished_at IS NULL OR finished_at >= :since))
      AND reason IN ('no_window', 'zone_unknown', 'quiet_hours', 'holiday')
    GROUP BY 1, 2 ORDER BY 1, 3 DESC""")
_BROKE = text("""
    SELECT min(message.state_at), count(*) FROM message JOIN run ON run.id = message.run_id
    WHERE run.campaign = :campaign AND message.state = 'skipped' AND message.reason = 'budget'
      AND message.state_at >= :since""")


def nowhere(connection: Connection, span: Span) -> Iterator[Caution]:
    """Zones that nothing can reach, by reason."""
    zones: dict[str, list[str]] = {}
    members: dict[str, int] = {}
    for row in connection.execute(_SHUT, span.values):
        zones.setdefault(row.reason, []).append(row.zone_key)
        members[row.reason] = members.get(row.reason, 0) + row.n
    for reason, found in zones.items():
        facts = {"reason": reason, "members": members[reason], "zones": tuple(found[:_ZONES_NAMED])}
        yield Caution("nowhere", {**facts, "more": max(len(found) - _ZONES_NAMED, 0)})


def budget(connection: Connection, span: Span) -> Iterator[Caution]:
    """When the budget is used up, and what it does not pay for."""
    at, count = connection.execute(_BROKE, span.values).one()
    if count:
        instant = from_micros(at)
        yield Caution("budget", {"at": instant, "day": (instant - span.since).days + 1, "messages": count})


def budget_of_sample(campaign: Campaign, found: Sms | None, share: float) -> Iterator[Caution]:
    """In a sample the budget is never reached: would it be by everybody?"""
    limits = campaign.budget
    if limits is None or found is None or share >= 1:
        return
    for most, used in ((limits.sms, found.messages), (limits.sms_parts, found.parts)):
        if most is not None and used / share > most:
            yield Caution("budget_sample", {"most": most, "messages": used})


def stopped(connection: Connection, accounts: Sequence[str], before: frozenset[str]) -> Iterator[Caution]:
    """Accounts that are stopped: as it is now, or that the rehearsal itself ran into."""
    for account, reason in sorted(stopped_accounts(connection).items()):
        if account in accounts:
            yield Caution("stopped" if account in before else "stops", {"account": account, "reason": reason})


def of_messages(whys: Sequence[Why], sent: int) -> Iterator[Caution]:
    """What expires, cannot be composed, or is kept back by caps."""
    late = sum(
        why.messages for why in whys if why.became == "expired" or (why.became, why.reason) == ("skipped", "late")
    )
    if late:
        yield Caution("late", {"messages": late})
    for reason in UNRENDERED:
        if count := sum(
            why.messages for why in whys if why.reason.partition(":")[0] == reason and why.became == "skipped"
        ):
            yield Caution("unrendered", {"reason": reason, "messages": count})
    capped = sum(why.messages for why in whys if why.became == "skipped" and is_capped(why.reason))
    if capped and capped >= MANY * (sent + capped):
        yield Caution("capped", {"messages": capped, "share": capped / (sent + capped)})


def of_runs(runs: Sequence[RunOutline], sent: int) -> Iterator[Caution]:
    """Runs that a brake stops, and a campaign that sends nothing."""
    stopped = [run for run in runs if run.state == "stopped"]
    for run in stopped:
        yield Caution("run_stopped", {"date": run.local_date, "reason": run.reason})
    for run in runs:
        if run.reason == UNUSUAL_SIZE and run.state != "stopped":
            yield Caution("run_waits", {"date": run.local_date})
    if not runs:
        yield Caution("no_runs")
    elif not stopped and not any(run.audience for run in runs):
        yield Caution("nobody")
    elif not sent:
        yield Caution("nothing")


def of_echoes(campaign: Campaign, again: Echoes | None) -> Iterator[Caution]:
    """Where what triggers the campaign comes from."""
    if campaign.schedule.trigger is None or again is None:
        return
    names = ", ".join(names_of([campaign.schedule.trigger]))
    if again.events:
        yield Caution("played_again", {"days": again.days, "events": again.events, "names": names}, serious=False)
    else:
        yield Caution("nothing_to_play", {"days": again.days, "names": names})


def of_follow_ups(campaign: Campaign, again: Echoes | None) -> Iterator[Caution]:
    """Where the events come from that its later steps ask about."""
    if again is not None and (asked := asked_by(campaign)):
        yield Caution("asked_again", {"days": again.days, "names": ", ".join(sorted(asked))}, serious=False)


WAIT = timedelta(minutes=15)


def of_loads(loads: Sequence[Load]) -> Iterator[Caution]:
    """Accounts that are too slow for what is due at once."""
    for load in loads:
        if load.longest >= WAIT and load.waited and load.ours:
            facts = {"account": load.account, "limit": load.limit, "messages": load.waited, "longest": load.longest}
            yield Caution("slow", facts)


__all__ = [
    "budget",
    "budget_of_sample",
    "nowhere",
    "of_echoes",
    "of_follow_ups",
    "of_loads",
    "of_messages",
    "of_runs",
    "stopped",
]
