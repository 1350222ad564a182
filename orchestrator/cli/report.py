"""``report`` and ``explain``: what a campaign did, and one member's story."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from orchestrator.cli.context import Context
from orchestrator.errors import InputError
from orchestrator.report import terminal
from orchestrator.report.explain import explain as read_story
from orchestrator.report.findings import Findings, findings
from orchestrator.report.html import page
from orchestrator.report.launched import launched
from orchestrator.report.tally import tally
from orchestrator.report.telling import tell
from orchestrator.report.values import Tally, plain

app = typer.Typer(help="What happened: reports and explanations.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Locale = Annotated[Literal["zh", "en"], typer.Option("--locale", help="Language of the words.")]


@app.command()
def report(
    campaign: Annotated[str, typer.Argument(help="Name of a launched campaign.")],
    json: Json = False,
    html: Annotated[Path | None, typer.Option("--html", help="Also write a page to this file.", dir_okay=False)] = None,
    locale: Locale = "en",
) -> None:
    """Members by decision, reach, and what came back per arm against the holdout."""
    context = Context.load()
    with context.reader() as store, store.read() as connection:
        counted = tally(connection, launched(connection, campaign), context.clock.now())
    found = findings(counted)
    if html:
        _write(html, page(counted, found, locale))
    if json:
        context.print_json(as_json(counted, found))
        return
    context.console.print(terminal.report(counted, found, locale))
    if html:
        context.console.print(Text(f"→ {html}", style="bold"))


@app.command()
def explain(
    user: Annotated[str, typer.Argument(help="The app's own id of the user.")],
    campaign: Annotated[str, typer.Argument(help="Name of a launched campaign.")],
    json: Json = False,
    locale: Locale = "en",
) -> None:
    """Tell what was decided for one user, what left, what came back, and why."""
    context = Context.load()
    with context.reader() as store, store.read() as connection:
        story = read_story(connection, user, launched(connection, campaign), context.clock.now())
    if json:
        context.print_json({**plain(story), "words": tell(story, locale)})
        return
    for line in tell(story, locale):
        context.console.print(Text(line))


def as_json(counted: Tally, found: Findings) -> dict[str, object]:
    """The report for machines."""
    return {**plain(counted), "adds_up": counted.adds_up, "findings": plain(found)}


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", hint="give a file in a folder that exists") from None
