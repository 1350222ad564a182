"""``orchestrator rehearse``: what a campaign will do next week, to whom, and why not to the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from orchestrator.campaign.caps import caps_in
from orchestrator.campaign.load import load_bundle
from orchestrator.cli import completing
from orchestrator.cli.context import Context
from orchestrator.daemon.wiring import open_account_channel, planner_of, preview_links
from orchestrator.errors import ConfigError, InputError
from orchestrator.limits.rate import Rate
from orchestrator.policy.allowed import only_to
from orchestrator.rehearsal import terminal
from orchestrator.rehearsal.channels import Terms
from orchestrator.rehearsal.page import page
from orchestrator.rehearsal.rehearse import COPYING, PLAYING, Order
from orchestrator.rehearsal.rehearse import rehearse as play
from orchestrator.report.files import replacing
from orchestrator.report.values import plain
from orchestrator.settings import Settings

app = typer.Typer()


@app.command()
def rehearse(  # one option each
    name: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Name or file.", autocompletion=completing.campaigns)],
    days: Annotated[int, typer.Option(min=1, max=366, help="How many days to play.")] = 7,
    html: Annotated[Path | None, typer.Option(help="Also write a page to this file.", dir_okay=False)] = None,
    rates: Annotated[
        Path | None, typer.Option(help="A YAML file of response rates, instead of history.", dir_okay=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other answers.")] = 1,
    sample: Annotated[
        float | None, typer.Option(min=0.001, max=1, help="A share of the users; 1 is all, however many.")
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Without the other running campaigns.")] = False,
    sms_price: Annotated[float | None, typer.Option(min=0, help="Of one part: the cost is shown.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    locale: Annotated[Literal["zh", "en"], typer.Option("--locale", help="Language of the words.")] = "en",
) -> None:
    """Play a campaign on a virtual clock: what would go out, to whom, and why not to the others. Nothing is sent."""
    context = Context.load()
    settings = context.settings
    bundle = load_bundle(name, settings.campaigns, settings.templates)
    terms, notes = accounts_of(settings)
    caps = caps_in(settings.campaigns)
    order = Order(
        bundle=bundle,
        span=timedelta(days=days),
        accounts=terms,
        planner=planner_of(settings, context.clock, {one.name: one.checks for one in terms if one.checks is not None}),
        caps=lambda: caps,
        seed=seed,
        rates=rates,
        alone=alone,
        share=sample,
        links=preview_links(settings),
        only_to=only_to(settings.only_to),
        sms_price=sms_price,
        notes=notes,
    )
    with context.reader() as store, _bar(context.console, quiet=as_json) as progress:
        found = play(store, order, context.clock.now(), progress)
    if html is not None:
        _write(html, page(found, locale))
    if as_json:
        context.print_json(plain(found))
        return
    context.console.print(terminal.show(found, locale))
    if html is not None:
        said = f"页面已写入 {html}" if locale == "zh" else f"The page is in {html}"
        context.console.print(said)


def accounts_of(settings: Settings) -> tuple[list[Terms], tuple[str, ...]]:
    """Every account with its rate, and its channel to check messages with; what cannot be opened here is noted."""
    terms, notes = [], []
    for name, one in settings.accounts.items():
        checks = None
        if one.provider != "log":  # which would make its file
            try:
                checks = open_account_channel(settings, name)
            except ConfigError as error:
                problem = error.problems[0].message if error.problems else error.message
                notes.append(f"account {name} cannot be opened here ({problem}): sizes are not checked")
        rate = Rate(one.rate, one.burst, one.ramp)
        terms.append(Terms(name, one.channel, one.provider, rate, checks, one.domains, one.warm_up))
    return terms, tuple(notes)


def _write(path: Path, text: str) -> None:
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", hint="give another file to --html") from None


@contextmanager
def _bar(console: Console, *, quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """A line that moves while it works, on a terminal."""
    if quiet or not console.is_terminal:
        yield lambda _phase, _done: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        copying = progress.add_task("copying the audience", total=None)
        playing = progress.add_task("playing", total=100)

        def told(phase: str, done: float) -> None:
            if phase == COPYING:
                progress.advance(copying, done)
            elif phase == PLAYING:
                progress.update(playing, completed=int(done * 100))
            else:
                progress.update(playing, completed=100, description="counting")

        yield told
