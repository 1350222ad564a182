"""``launch``, ``confirm`` and ``runs``: letting a campaign go, after a look at how far it reaches."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from sqlalchemy import Connection, select

from orchestrator.campaign.load import load_bundle
from orchestrator.campaign.occasions import labelled
from orchestrator.campaign.version import Bundle, hash_of
from orchestrator.cli import completing, live
from orchestrator.cli.context import Context
from orchestrator.cli.operate import File, Json, Name, in_words, show_who
from orchestrator.daemon.relaunching import LiveRun, before_launch
from orchestrator.daemon.relaunching import as_json as live_json
from orchestrator.daemon.wiring import planner_of
from orchestrator.dispatch.cost import sms_parts
from orchestrator.errors import InputError
from orchestrator.ledger.runs import UNUSUAL_SIZE, Occasion, campaign_state
from orchestrator.plan.brakes import unusual, usual_size
from orchestrator.plan.dry import DryRun, dry_run
from orchestrator.plan.firings import Firing, first_leaving, next_firings
from orchestrator.report.reasons import reason_words
from orchestrator.report.triggers import waits_for
from orchestrator.store.tables import alert, run

app = typer.Typer()
SHOWN = 8


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a campaign would reach if it were launched now: what ``found`` counts, of the next date."""

    found: DryRun
    firings: list[Firing]
    first: datetime | None
    usual: int | None
    live: tuple[LiveRun, ...] = ()
    """Runs under way that have another version."""

    @property
    def people(self) -> int:
        """Who would get something."""
        return sum(count for *_, count in self.found.places)

    @property
    def waiting(self) -> int:
        """For how many people messages of runs under way would be planned again."""
        return sum(one.people for one in self.live if one.adopts and not one.joins)

    def by(self, of: Callable[[str, str], str]) -> list[tuple[str, int]]:
        """Those people, by what ``of`` says of zone key and place; most first."""
        counted: Counter[str] = Counter()
        for _arm, key, place, count in self.found.places:
            counted[of(key, place) or "not known"] += count
        return counted.most_common()


@app.command()
def launch(
    name: File,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, however many people it reaches.")] = False,
    new_runs_only: Annotated[
        bool, typer.Option("--new-runs-only", help="Runs under way keep the version that they have.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check a campaign, show how far it reaches, store it as an immutable version, and let it run.

    Of a campaign that runs already, what waits of the runs under way takes on the new version too.
    """
    context = Context.load()
    bundle = load_bundle(name, context.settings.campaigns, context.settings.templates)
    with context.reader() as store, store.read() as connection:
        found = before_launch(connection, bundle, hash_of(bundle), context.clock.now())
        reach = replace(_reach(context, connection, bundle), live=tuple(found))
    if not as_json:
        _show(context, reach)
        _print(context, live.before(reach.live, new_runs_only=new_runs_only))
    _ask(context, reach if not new_runs_only else replace(reach, live=()), yes=yes, silent=as_json)
    more: dict[str, Any] = {"new_runs_only": True} if new_runs_only else {}
    done = context.act("launch", name=name, actor=context.actor, **more)
    if as_json:
        context.print_json({**done, "reach": reach_json(reach)})
    else:
        already = "" if done.get("changed", True) else " already"
        context.console.print(f"{done['campaign']} is running{already} as version {done['version'][:12]}")
        _print(context, live.after(done.get("runs", ())))
        trigger = bundle.campaign.schedule.trigger
        what_next = _next_words(reach.firings) if trigger is None else waits_for(trigger).en
        context.console.print(what_next, highlight=False, soft_wrap=True)


def _print(context: Context, lines: Sequence[str]) -> None:
    for line in lines:
        context.console.print(line, highlight=False, soft_wrap=True)


def _reach(context: Context, connection: Connection, bundle: Bundle) -> Reach:
    campaign, now = bundle.campaign, context.clock.now()
    planner = planner_of(context.settings, context.clock)
    usual, firings = usual_size(connection, campaign.name), next_firings(campaign, now)
    if campaign.schedule.trigger is not None:
        return Reach(dry_run(connection, planner, bundle, Occasion(now.date()), now, sms_parts), [], None, None)
    if not firings:
        return Reach(DryRun(campaign.name, str(now.date()), 0, None, {}, {}, {}, {}), [], None, usual)
    of = [one.occasion for one in firings]
    ahead = next((one.occasion for one in firings if not one.at_once), of[-1])  # nobody's window of it has passed
    found = dry_run(connection, planner, bundle, ahead, now, sms_parts)
    groups = [(of, found)]
    if campaign.schedule.relative_to is not None:  # each date has people of its own
        begun = [one.occasion for one in firings if one.at_once and one.occasion != ahead]
        groups = [([one], dry_run(connection, planner, bundle, one, now)) for one in begun] + [([ahead], found)]
    leaves = (
        first_leaving(campaign, one, [row[:3] for row in whom.places], planner.quiet, now) for one, whom in groups
    )
    leaving = min((instant for instant in leaves if instant is not None), default=None)
    return Reach(found, firings, leaving, usual)


def _ask(context: Context, reach: Reach, *, yes: bool, silent: bool) -> None:
    """Have somebody confirm what reaches many people.

    Raises:
        InputError: nobody is there to ask.
    """
    above, people = context.settings.confirm_above, max(reach.people, reach.waiting)
    if yes or people <= above:
        return
    if silent or not _watched():
        said = f"{people:,} people would get something, more than confirm_above ({above:,})"
        raise InputError(said, hint="say --yes if that is meant")
    typer.confirm(f"Launch to {people:,} people?", abort=True)


def _watched() -> bool:
    return sys.stdin.isatty()


def reach_json(reach: Reach) -> dict[str, Any]:
    """How far it reaches, for machines."""
    sms = reach.found.sms
    return {
        "date": reach.found.local_date,
        "audience": reach.found.audience,
        "people": reach.people,
        "stopped": reach.found.stopped,
        "waits": unusual(reach.found.audience, reach.usual),
        "usual": reach.usual,
        "channels": reach.found.channels,
        "countries": dict(reach.by(_country)),
        "zones": dict(reach.by(_zone)),
        "sms_parts": None if sms is None else sms.parts,
        "first": reach.first,
        "live": live_json(reach.live),
        "triggered": None if reach.found.triggered is None else asdict(reach.found.triggered),
        "firings": [_firing(one) for one in reach.firings],
    }


def _firing(one: Firing) -> dict[str, Any]:
    return {"day": one.day, "at": one.occasion.at, "opens": one.opens, "closes": one.closes, "at_once": one.at_once}


def _country(_key: str, place: str) -> str:
    return place.partition("-")[0]


def _zone(key: str, _place: str) -> str:
    return key


def _show(context: Context, reach: Reach) -> None:
    found, console = reach.found, context.console
    out = f"{reach.people:,} of the {found.audience:,} people in the audience would get something"
    day = "the last 24 hours" if found.triggered else found.local_date
    console.print(f"[bold]{found.campaign}[/], counted for {day}: {out}", highlight=False)
    show_who(context, found)
    if found.stopped:
        console.print("[red]its runs would be stopped: the audience is larger than max_audience[/]")
    if unusual(found.audience, reach.usual):
        said = f"usually it is {reach.usual:,}: the run would wait for `orchestrator confirm {found.campaign}`"
        console.print(f"[yellow]{said}[/]", highlight=False)
    if reach.people:
        table = Table("messages", "countries", "zones", show_header=True)
        rows = list(found.channels.items()), reach.by(_country), reach.by(_zone)
        table.add_row(*("\n".join(_lines(each)) for each in rows))
        console.print(table)
    for decision, count in sorted(found.decisions.items(), key=lambda item: -item[1]):
        if decision != "planned":
            console.print(f"  not: {count:,} {in_words(decision)}", highlight=False)
    if found.sms is not None:
        console.print(f"SMS: at most {found.sms.messages:,} messages, about {found.sms.parts:,} parts")
    if reach.first is not None:
        console.print(f"The first may leave at {reach.first:%Y-%m-%d %H:%M} UTC", highlight=False)


def _lines(rows: Sequence[tuple[str, int]]) -> list[str]:
    lines = [f"{count:>9,}  {what}" for what, count in rows[:SHOWN]]
    rest = sum(count for _, count in rows[SHOWN:])
    return [*lines, *([f"{rest:>9,}  {len(rows) - SHOWN} others"] if rest else [])]


def _next_words(firings: Sequence[Firing]) -> str:
    """When it fires, in words."""
    if not firings:
        return "It fires on no date from now on: see its schedule"
    now = ", ".join(one.called for one in firings if one.at_once)
    later = ", ".join(f"{one.called} ({_opening(one)})" for one in firings if not one.at_once)
    at_once = f"It fires at once for {now}: whose window of that date has passed gets nothing (late). " if now else ""
    return at_once + (f"Next: {later}" if later else "After that it fires no more")


def _opening(one: Firing) -> str:
    return in_utc(one.opens) if one.occasion.at else f"its run opens {in_utc(one.opens)}"


def in_utc(instant: datetime) -> str:
    """``12-01 01:00 UTC``."""
    return f"{instant:%m-%d %H:%M} UTC"


@app.command()
def confirm(
    name: Name,
    day: Annotated[
        str, typer.Option("--run", help="The run of this date alone, e.g. 2026-12-01, or 2026-12-01T09:00.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Let a run go on that waits because it is more than three times as large as usual."""
    context = Context.load()
    done = context.act("confirm", name=name, day=day, actor=context.actor)
    words = f"{name} goes on for {', '.join(done['runs'])}"
    context.print_json(done) if as_json else context.console.print(words)


@app.command()
def runs(
    name: Annotated[
        str,
        typer.Argument(metavar="[CAMPAIGN]", help="Of this campaign alone.", autocompletion=completing.campaigns),
    ] = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="The latest so many.")] = 20,
    as_json: Json = False,
) -> None:
    """List the latest runs: how they are, why, and how many people they are about."""
    context = Context.load()
    with context.reader() as store, store.read() as connection:
        if name:
            campaign_state(connection, name)
        found = _latest(connection, name, count)
    if as_json:
        context.print_json(found)
        return
    if not found:
        context.console.print("no run yet: nothing has fired")
        return
    table = Table("campaign", "date", "state", "audience", "closes (UTC)", "why", title="Runs, latest first")
    for row in found:
        people = f"{row['audience']:,}" + (f" (usually {row['usual']:,})" if row["usual"] else "")
        why = reason_words(row["reason"], "en")
        table.add_row(row["campaign"], row["date"], row["state"], people, f"{row['closes_at']:%m-%d %H:%M}", why)
    context.console.print(table)
    if any(row["state"] == "waiting" for row in found):
        context.console.print("What waits is let go by `orchestrator confirm CAMPAIGN`")


def _latest(connection: Connection, name: str, count: int) -> list[dict[str, Any]]:
    latest = (run.c.local_date.desc(), run.c.fires_at.desc(), run.c.id.desc())
    chosen = select(run).order_by(*latest).limit(count)
    rows = connection.execute(chosen.where(run.c.campaign == name) if name else chosen).all()
    keys = [f"{UNUSUAL_SIZE}:{row.id}" for row in rows]
    sizes = {
        row.key: row.facts
        for row in connection.execute(select(alert.c.key, alert.c.facts).where(alert.c.key.in_(keys)))
    }
    return [
        _run(row, labelled(connection, row.version, row.local_date, row.fires_at), sizes.get(key, {}))
        for row, key in zip(rows, keys, strict=True)
    ]


def _run(row: Any, called: str, size: dict[str, Any]) -> dict[str, Any]:
    waiting = row.state == "planning" and row.reason == UNUSUAL_SIZE
    return {
        "campaign": row.campaign,
        "date": called,
        "run": row.id,
        "state": "waiting" if waiting else row.state,
        "reason": row.reason,
        "audience": row.audience or size.get("audience", 0),
        "usual": size.get("usual"),
        "opened_at": row.created_at,
        "closes_at": row.closes_at,
    }
