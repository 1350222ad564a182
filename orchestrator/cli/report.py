"""``report``, ``explain`` and ``export``: what a campaign did, who stays, one member's story, and all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import RenderableType
from rich.text import Text
from sqlalchemy import Connection, select
from typer.core import TyperGroup
from typing_extensions import override

from orchestrator.cli import completing
from orchestrator.cli.around import around
from orchestrator.cli.context import Context
from orchestrator.errors import InputError
from orchestrator.report import retention as staying
from orchestrator.report import retention_page, retention_terminal, terminal
from orchestrator.report.consulted import RulesStory, consulted, consulted_to_join
from orchestrator.report.consulted_words import tell_rules
from orchestrator.report.explain import explain as read_story
from orchestrator.report.files import replacing, write_csv, write_parquet
from orchestrator.report.findings import Findings, findings
from orchestrator.report.html import page
from orchestrator.report.launched import forgotten_at, launched
from orchestrator.report.outcomes import outcomes
from orchestrator.report.sheet import COLUMNS, Line, report_lines, retention_lines
from orchestrator.report.tally import tally
from orchestrator.report.telling import tell
from orchestrator.report.values import Tally, plain
from orchestrator.store.tables import campaign as campaigns
from orchestrator.timing.zones import is_zone, nearest_zone

app = typer.Typer(help="What happened: reports and explanations.", no_args_is_help=True)

OF_CAMPAIGN = "CAMPAIGN"
"""The command behind ``report lunch-winback``: nothing that could be a campaign's name, which are written small."""


class Reports(TyperGroup):
    """``report WHAT``: what is no command's name is a campaign or a run."""

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            return "", self.commands[OF_CAMPAIGN], args
        return super().resolve_command(ctx, args)


reports = typer.Typer(
    cls=Reports,
    no_args_is_help=True,
    context_settings={"ignore_unknown_options": True},  # options may come before the campaign
)
app.add_typer(
    reports,
    name="report",
    help="What a campaign did: `report lunch-winback`, one run of it: `report lunch-winback@2026-12-01`; or who stays: "
    "`report retention`.",
)

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Locale = Annotated[Literal["zh", "en"], typer.Option("--locale", help="Language of the words.")]
_DATE = ["%Y-%m-%d"]
Html = Annotated[Path | None, typer.Option("--html", help="Also write a page to this file.", dir_okay=False)]
Csv = Annotated[Path | None, typer.Option("--csv", help="Also write every number to this file.", dir_okay=False)]


@reports.command(OF_CAMPAIGN)
def report(
    what: Annotated[
        str,
        typer.Argument(metavar=OF_CAMPAIGN, help="A launched campaign; or one run of it: CAMPAIGN@DATE, or its id."),
    ],
    json: Json = False,
    html: Html = None,
    csv: Csv = None,
    locale: Locale = "en",
) -> None:
    """Members by decision, reach, refusals, and what came back per arm against the holdout."""
    context = Context.load()
    with context.reader() as store, store.read() as connection:
        counted = tally(connection, launched(connection, what), context.clock.now())
        gone = forgotten_at(connection, counted.launched)
    found = findings(counted)
    written = _write_both(html, lambda: page(counted, found, locale), csv, lambda: report_lines(counted, found))
    if json:
        context.print_json(as_json(counted, found))
        return
    if not counted.audience and gone is not None:
        context.console.print(f"the members of {what} were forgotten by {gone:%Y-%m-%d}: older than keep_messages")
        return
    if not counted.audience:
        context.console.print(
            f"{what} has no members yet: its first run has not been planned. See `plan {what} --dry-run`"
        )
        return
    _show(context, terminal.report(counted, found, locale, context.console.width), written)


@reports.command("retention")
def retention(
    event: Annotated[str, typer.Option("--event", help="What counts as being active.")] = "app_open",
    since: Annotated[
        datetime | None,
        typer.Option(formats=_DATE, help="First day (its week's Monday); half a year ago if not given."),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=_DATE, help="The day after the last; today if not given.")
    ] = None,
    zone: Annotated[str, typer.Option("--zone", help="Whose calendar days.")] = "UTC",
    json: Json = False,
    html: Html = None,
    csv: Csv = None,
    locale: Locale = "en",
) -> None:
    """Who stays, of all users: active a day, week and month; day-1, 7 and 30 retention; churn; cohorts."""
    context = Context.load()
    if not is_zone(zone):
        near = nearest_zone(zone)
        raise InputError(f"unknown zone {zone!r}", hint=f"did you mean {near!r}?" if near else "e.g. Asia/Shanghai")
    with context.reader() as store, store.read() as connection:
        span = {"since": _date(since), "until": _date(until)}
        found = staying.retention(connection, context.clock.now(), name=event, zone=zone, **span)
        namesake = _is_campaign(connection, "retention")
    written = _write_both(html, lambda: retention_page.page(found, locale), csv, lambda: retention_lines(found))
    if json:
        context.print_json(plain(found))
        return
    _show(context, retention_terminal.report(found, locale), written)
    if namesake:
        hint = "a campaign is called 'retention' too: `report retention@DATE` reports one of its runs. Rename it."
        context.console.print(Text(f"! {hint}", style="yellow"))


def _date(given: datetime | None) -> date | None:
    return given.date() if given else None


def _is_campaign(connection: Connection, name: str) -> bool:
    return connection.execute(select(campaigns.c.name).where(campaigns.c.name == name)).first() is not None


@app.command()
def explain(
    user: Annotated[str, typer.Argument(help="The app's own id of the user.", autocompletion=completing.users)],
    campaign: Annotated[str, typer.Argument(help="Name of a launched campaign.", autocompletion=completing.campaigns)],
    rules: Annotated[bool, typer.Option("--rules", help="Also every rule that was asked, and its verdict.")] = False,
    json: Json = False,
    locale: Locale = "en",
) -> None:
    """Tell what was decided for one user, what left, what came back, and why."""
    context = Context.load()
    asked: list[RulesStory] = []
    with context.reader() as store, store.read() as connection:
        now = context.clock.now()
        story = read_story(connection, user, launched(connection, campaign), now)
        if rules:
            asked = consulted(connection, user, campaign.partition("@")[0], now, around(context.settings))
            asked += [consulted_to_join(story.forestalled)] if story.forestalled else []
    providers = {name: account.provider for name, account in context.settings.accounts.items()}
    told = [*tell(story, locale, providers), *tell_rules(asked, locale)]
    if json:
        context.print_json({**plain(story), **({"rules": plain(asked)} if rules else {}), "words": told})
        return
    for line in told:
        context.console.print(Text(line))


@app.command()
def export(
    what: Annotated[
        str,
        typer.Argument(metavar=OF_CAMPAIGN, help="A launched campaign; or one run of it: CAMPAIGN@DATE, or its id."),
    ],
    form: Annotated[Literal["csv", "parquet"], typer.Option("--format", help="Kind of file.")] = "csv",
    out: Annotated[Path | None, typer.Option("--out", help="The file; CSV goes to the screen without.")] = None,
) -> None:
    """Write one row per member: arm, decision, every step, opened, reopened, converted. No addresses."""
    context = Context.load()
    if out is None and form == "parquet":
        raise InputError("Parquet needs a file", hint="--out outcomes.parquet")
    with context.reader() as store, store.read() as connection:
        table = outcomes(connection, launched(connection, what))
        if out is None:
            write_csv(sys.stdout, table.columns, table.rows)
            return
        with replacing(out) as file:
            if form == "parquet":
                count = write_parquet(file, table.columns, table.rows)
            else:
                text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
                count = write_csv(text, table.columns, table.rows)
                text.detach()
    typer.echo(f"{count} members → {out}", err=True)


def as_json(counted: Tally, found: Findings) -> dict[str, object]:
    """The report for machines."""
    return {**plain(counted), "adds_up": counted.adds_up, "findings": plain(found)}


def _show(context: Context, what: RenderableType, written: list[Path]) -> None:
    context.console.print(what)
    for path in written:
        context.console.print(Text(f"→ {path}", style="bold"))


def _write_both(html: Path | None, made: Callable[[], str], csv: Path | None, lines: Callable[[], Any]) -> list[Path]:
    """The files that were asked for; which."""
    if html:
        with replacing(html) as file:
            file.write(made().encode())
    if csv:
        _write_lines(csv, lines())
    return [path for path in (html, csv) if path]


def _write_lines(path: Path, lines: list[Line]) -> None:
    with replacing(path, excel=True) as file:
        text = TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        write_csv(text, COLUMNS, lines)
        text.detach()
