"""``orchestrator opens``: which opens and clicks were people."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.context import Context

app = typer.Typer(no_args_is_help=True)


@app.callback()
def opens() -> None:
    """Keep the group a group while it has one command."""


@app.command("reclassify")
def again(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False) -> None:
    """Judge every kept open and click again, by the rules as they are now; safe to repeat."""
    context = Context.load()
    done = context.act("reclassify", actor=context.actor)
    if as_json:
        context.print_json(done)
    else:
        context.console.print(f"{done['looked_at']} opens and clicks looked at, {done['changed']} seen differently now")
