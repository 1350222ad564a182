"""What operators do with campaigns: plan, launch, pause, resume, stop; accounts; messages in doubt."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal

import typer
from rich.table import Table

from orchestrator.campaign.caps import caps_in
from orchestrator.campaign.load import load_bundle
from orchestrator.campaign.occasions import planned
from orchestrator.campaign.spec import Campaign
from orchestrator.cli import completing
from orchestrator.cli.context import Context
from orchestrator.daemon.wiring import planner_of
from orchestrator.dispatch.cost import approved_templates, sms_parts
from orchestrator.dispatch.doubt import unknown_messages
from orchestrator.errors import InputError
from orchestrator.ledger.runs import Occasion
from orchestrator.plan.dry import DryRun, SmsCost, dry_run
from orchestrator.plan.due import ahead
from orchestrator.plan.rules import SEARCH_DAYS
from orchestrator.report.own_dates import run_words
from orchestrator.report.reasons import reason_words
from orchestrator.report.triggers import how_often

app = typer.Typer()
unknown = typer.Typer(no_args_is_help=True)
Became = Literal["accepted", "failed"]

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Name = Annotated[
    str, typer.Argument(metavar="CAMPAIGN", help="The campaign's name.", autocompletion=completing.campaigns)
]
File = Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Name or file.", autocompletion=completing.campaigns)]


@app.command()
def plan(
    name: File,
    dry: Annotated[bool, typer.Option("--dry-run", help="Count only; the one way to plan by hand.")] = False,
    day: Annotated[
        str, typer.Option("--date", help="Local date, or instant, e.g. 2026-12-01T09:00; default: the next one due.")
    ] = "",
    as_json: Json = False,
) -> None:
    """How many, why not, when: what a run would decide, without deciding it."""
    if not dry:
        raise InputError("plans are made by the daemon when a run is due", hint="add --dry-run to see what it would do")
    context = Context.load()
    bundle = load_bundle(name, context.settings.campaigns, context.settings.templates)
    now = context.clock.now()
    chosen = planned(bundle.campaign, day) if day else next_occasion(bundle.campaign, now)
    with context.reader() as store, store.read() as connection:
        planner, caps = planner_of(context.settings, context.clock), caps_in(context.settings.campaigns)
        found = dry_run(connection, planner, bundle, chosen, now, sms_parts, caps)
    if found.sms is not None:
        found = replace(found, sms=replace(found.sms, approved=tuple(approved_templates(bundle))))
    if as_json:
        context.print_json(asdict(found))
    else:
        _show_plan(context, found)


NOON = time(12, tzinfo=UTC)


def next_occasion(campaign: Campaign, now: datetime) -> Occasion:
    """The first firing date that is not over yet for most people: late in a UTC day, today is. Or the next instant."""
    first = now.date() if now < datetime.combine(now.date(), NOON) else now.date() + timedelta(days=1)
    if campaign.schedule.of_instants:
        found = next(ahead(campaign.schedule, now), None)
    else:
        days = (first + timedelta(days=n) for n in range(SEARCH_DAYS))
        found = next((Occasion(day) for day in days if campaign.schedule.fires_on(day)), None)
    if found is not None:
        return found
    raise InputError(
        f"campaign {campaign.name} fires on no date from {first} on", hint="see its schedule, or give --date"
    )


def _show_plan(context: Context, found: DryRun) -> None:
    console = context.console
    when = "in the last 24 hours" if found.triggered else f"on {found.local_date}"
    console.print(f"[bold]{found.campaign}[/] {when}: {found.audience:,} people in the audience")
    if found.stopped:
        console.print("[red]would be stopped: the audience is larger than max_audience[/]")
        return
    show_who(context, found)
    table = Table("decision", *found.arms, "all", title="Members by decision and arm")
    for decision, total in sorted(found.decisions.items(), key=lambda item: -item[1]):
        per_arm = [f"{counts.get(decision, 0):,}" for counts in found.arms.values()]
        table.add_row(in_words(decision), *per_arm, f"{total:,}")
    console.print(table)
    if found.hours:
        console.print("First messages by the hour of whoever gets them")
    most = max(found.hours.values(), default=1)
    for hour, count in found.hours.items():
        console.print(f"{hour:02d}:00 {'█' * max(1, round(40 * count / most))} {count:,}")
    owed = ", ".join(f"{count:,} by {channel}" for channel, count in found.channels.items()) or "none"
    console.print(f"Messages owed: {owed} (later steps go only to who has not come back)")
    for rule, held in found.caps.items():
        if held:
            console.print(f"At a cap now: {held:,} by the rule {rule}; they wait for room, or get nothing")
    if found.sms is not None:
        _show_cost(context, found.sms)


def show_who(context: Context, found: DryRun) -> None:
    """How its members come to be members, where that is not the segment alone."""
    said = [run_words(found.own_dates)] if found.own_dates is not None else []
    said += [how_often(found.triggered)] if found.triggered is not None else []
    for line in said:
        context.console.print(line.en, highlight=False, soft_wrap=True)


def in_words(decision: str) -> str:
    """``skipped: no_address`` with the reason as reports say it."""
    head, colon, reason = decision.partition(": ")
    return f"{head}: {reason_words(reason, 'en')}" if colon else head.replace("_", " ")


def _show_cost(context: Context, cost: SmsCost) -> None:
    context.console.print(f"SMS: at most {cost.messages:,} messages, about {cost.parts:,} parts")
    if cost.approved:
        context.console.print(f"Sent as approved templates: {', '.join(cost.approved)}")
    for left, words in zip(cost.left, ("messages", "parts"), strict=True):
        if left is not None:
            context.console.print(f"The budget has {left:,} {words} left")
    if not cost.enough:
        context.console.print("[red]The budget will not do: what is beyond it would be skipped[/]")


@app.command()
def pause(name: Name, as_json: Json = False) -> None:
    """Begin nothing more until it is resumed."""
    context = Context.load()
    done = context.act("pause", name=name, actor=context.actor)
    _said(context, done, f"{name} is paused; what waits keeps waiting until its deadline", as_json=as_json)


@app.command()
def resume(name: Name, as_json: Json = False) -> None:
    """Go on where it was paused; nobody gets anything twice."""
    context = Context.load()
    _said(context, context.act("resume", name=name, actor=context.actor), f"{name} is running", as_json=as_json)


@app.command()
def stop(
    name: Annotated[
        str,
        typer.Argument(metavar="[CAMPAIGN]", help="The campaign's name.", autocompletion=completing.campaigns),
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="Every campaign.")] = False,
    as_json: Json = False,
) -> None:
    """End a campaign, or all: what has not left never will."""
    if bool(name) == everything:
        raise InputError("name one campaign, or say --all", hint="orchestrator stop lunch-winback")
    context = Context.load()
    if everything:
        done = context.act("stop_all", actor=context.actor)
        _said(context, done, f"stopped: {', '.join(done['stopped']) or 'nothing was running'}", as_json=as_json)
    else:
        done = context.act("stop", name=name, actor=context.actor)
        _said(context, done, f"{name} is stopped", as_json=as_json)


def _said(context: Context, done: dict[str, object], words: str, *, as_json: bool) -> None:
    context.print_json(done) if as_json else context.console.print(words)


@unknown.command("list")
def list_unknown(as_json: Json = False) -> None:
    """Messages that may or may not have been accepted."""
    context = Context.load()
    with context.reader() as store, store.read() as connection:
        found = unknown_messages(connection)
    if as_json:
        context.print_json([asdict(item) for item in found])
        return
    if not found:
        context.console.print("none in doubt: what became of every message is known")
        return
    table = Table("message", "campaign", "user", "account", "sent", "why", title=f"{len(found)} in doubt")
    for item in found:
        sent = item.sent_at.strftime("%Y-%m-%d %H:%M:%SZ")
        table.add_row(str(item.message_id), item.campaign, item.user, item.account, sent, item.reason or "")
    context.console.print(table)


@unknown.command("reconcile")
def reconcile_unknown(as_json: Json = False) -> None:
    """Ask the providers what became of them; nothing is sent again."""
    context = Context.load()
    done = context.act("reconcile", actor=context.actor)
    words = "{accepted} had been accepted, {never_arrived} never arrived, {still_unknown} are still in doubt"
    _said(context, done, words.format(**done), as_json=as_json)


@unknown.command("resolve")
def resolve_unknown(
    became: Annotated[
        Became, typer.Argument(help="What is believed of them: accepted counts as sent, failed does not.")
    ],
    messages: Annotated[
        list[int] | None, typer.Argument(metavar="[MESSAGE]...", help="As `unknown list` shows them.")
    ] = None,
    account: Annotated[str, typer.Option(help="Instead: all of this account.")] = "",
    days: Annotated[int, typer.Option(min=0, help="With --account: that left so many days ago, or more.")] = 2,
    as_json: Json = False,
) -> None:
    """End the doubt about messages that no provider can be asked about (mail); nothing is sent again."""
    if bool(messages) == bool(account):
        raise InputError("name messages, or an account", hint="orchestrator unknown list shows both")
    context = Context.load()
    done = context.act(
        "resolve", became=became, actor=context.actor, messages=messages or [], account=account, days=days
    )
    _said(context, done, "{resolved} are no longer in doubt: {became}".format(**done), as_json=as_json)
