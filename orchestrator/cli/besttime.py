"""``orchestrator besttime``: the hours in which users open the app, and what campaigns make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, select

from orchestrator.campaign.load import load_bundle
from orchestrator.cli.context import Context
from orchestrator.daemon.wiring import habits_of
from orchestrator.ledger.runs import Occasion
from orchestrator.plan.due import ahead
from orchestrator.report.habit import Choice, Chooser, Habit, habit_of
from orchestrator.report.hours import zone_of
from orchestrator.report.words import zone_words
from orchestrator.store.tables import users
from orchestrator.timing.days import WEEKDAYS
from orchestrator.timing.opens import count_population, read_population
from orchestrator.timing.quiet import QuietHours

app = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
_SHADES = " ░▒▓█"
_DAY = 24


@app.command()
def refresh(as_json: Json = False) -> None:
    """Bring everybody's best hours up to date now; the daemon does the same a little at a time."""
    context = Context.load()
    console = Console(stderr=True)
    columns = (TextColumn("users looked at: {task.completed:,.0f}"),)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("users", total=None)
        done = context.act("refresh_best_hours", lambda count: progress.advance(task, count))
    if as_json:
        context.print_json(done)
    else:
        context.console.print(f"{done['users']:,} users looked at", highlight=False)


@app.command()
def show(
    user: Annotated[str, typer.Argument(help="The app's own id of the user.")],
    channel: Annotated[
        Literal["push", "sms", "email", "inbox", "webhook"], typer.Option(help="Count this channel's opens as well.")
    ] = "push",
    campaign: Annotated[str, typer.Option(help="Which hour this campaign would choose for tomorrow.")] = "",
    as_json: Json = False,
) -> None:
    """Draw the hours of the week in which a user opens the app, and say which are chosen for them, and why."""
    context = Context.load()
    with context.reader() as store, store.read() as connection:
        habit = habit_of(connection, user, channel, context.clock.now(), habits_of(context.settings))
        choices = _choices(context, connection, habit, campaign) if campaign else []
    if as_json:
        context.print_json({**_plain(habit), "choices": [asdict(one) for one in choices]})
        return
    _draw(context.console, habit)
    for one in choices:
        context.console.print(_told(one, habit), highlight=False, markup=False, soft_wrap=True)


def _choices(context: Context, connection: Connection, habit: Habit, name: str) -> list[Choice]:
    settings, now = context.settings, context.clock.now()
    bundle = load_bundle(name, settings.campaigns, settings.templates)
    zone, schedule = zone_of(habit.zone_key) or ZoneInfo("UTC"), bundle.campaign.schedule
    tomorrow = Occasion(now.astimezone(zone).date() + timedelta(days=1))
    occasion = next(ahead(schedule, now), tomorrow) if schedule.of_instants else tomorrow
    counted = read_population(connection) or count_population(connection, now, habits_of(settings))
    quiet = QuietHours.load(settings.quiet_hours)
    population = counted.of(habit.channel)
    chooser = Chooser(bundle.campaign, occasion, quiet, population, settings.best_time.explore)
    country = connection.execute(select(users.c.country).where(users.c.id == habit.user_id)).scalar() or ""
    return chooser.choices(habit, country, now)


def _plain(habit: Habit) -> dict[str, Any]:
    said = asdict(habit)
    del said["user_id"], said["stored"]
    return {**said, "why": habit.why, "weekdays": WEEKDAYS}


def _draw(console: Console, habit: Habit) -> None:
    zone = zone_words(habit.zone_key, "en")
    console.print(f"{habit.user}, {habit.channel}: {_why(habit)}", highlight=False, markup=False)
    console.print(f"hours of the wall clock in {zone}; the brighter, the better", highlight=False, markup=False)
    for title, values in (
        (f"own opens within 180 days ({habit.opens:,})", habit.counts),
        ("the population's", habit.population),
        ("both together", habit.mix),
    ):
        console.print(_heat(title, values))


def _why(habit: Habit) -> str:
    match habit.why:
        case "own":
            return f"their own history decides ({habit.opens:,} opens)"
        case "too_little":
            return f"too little history ({habit.opens:,} opens of at least {habit.needed:,}): the population decides"
        case _ if zone_of(habit.zone_key) is None:
            return "their clock is not known exactly: the population decides"
        case _:
            return "not looked at yet (orchestrator besttime refresh): the population decides"


def _heat(title: str, values: Sequence[float]) -> Table:
    """Seven rows of twenty-four cells: shades for terminals without colours too."""
    most = max(values) or 1.0
    table = Table(title=title, title_justify="left", box=None, padding=0, pad_edge=False)
    table.add_column("")
    for hour in range(_DAY):
        table.add_column(f"{hour:02}" if hour % 3 == 0 else "  ", min_width=2)
    for number, weekday in enumerate(WEEKDAYS):
        cells = (_cell(value / most) for value in values[number * _DAY : (number + 1) * _DAY])
        table.add_row(f"{weekday} ", *cells)
    return table


def _cell(part: float) -> Text:
    shade = _SHADES[min(round(part * (len(_SHADES) - 1) + 0.49), len(_SHADES) - 1)] if part > 0 else _SHADES[0]
    return Text(shade * 2, style=f"rgb({int(40 + 190 * part)},{int(60 + 110 * part)},60)")


def _told(one: Choice, habit: Habit) -> str:
    where = f"{one.campaign}, step {one.step} ({one.channel}), arm {one.arm}, {one.local_date}"
    if one.due is None:
        return f"{where}: no window on that date"
    zone = zone_of(habit.zone_key) or ZoneInfo("UTC")
    local = one.due.astimezone(zone)
    whys = {
        "own": f"best hour of their own ({habit.opens:,} opens)",
        "population": "the population's best hour",
        "too_little": f"the population's best hour: too little history of their own ({habit.opens:,} opens)",
        "explored": "explored: any hour of the window",
        "window": "spread over the window: no best time for this step, or no clock that is known exactly",
    }
    return f"{where}: from {local:%H:%M}, {whys[one.why]}"
