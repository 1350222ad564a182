"""``orchestrator users`` and ``orchestrator attributes``: what is known of a user, and what is declared of all."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from orchestrator.audience.attributes import WORDS
from orchestrator.audience.merging import show_user
from orchestrator.campaign.attributes import FILE, declared_in
from orchestrator.cli.context import Context

app = typer.Typer(no_args_is_help=True)
attributes = typer.Typer(no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.command()
def merge(
    keep: Annotated[str, typer.Argument(metavar="A", help="The app's id of the user who stays.")],
    other: Annotated[str, typer.Argument(metavar="B", help="The app's id of the user who is the same person.")],
    as_json: Json = False,
) -> None:
    """Make B the same person as A: addresses, events, consents and suppressions move; B's id means A from then on."""
    context = Context.load()
    done = context.act("merge_users", keep=keep, other=other, actor=context.actor)
    if as_json:
        context.print_json(done)
        return
    moved = ", ".join(f"{done[name]:,} {name}" for name in ("events", "addresses", "consents", "suppressions"))
    context.console.print(f"{other} is {keep} now: {moved} moved", highlight=False, markup=False)
    if done["messages"]:
        words = f"{done['messages']:,} messages that waited for {other} will not be sent (merged)"
        context.console.print(words, highlight=False, markup=False)


@app.command()
def show(user: Annotated[str, typer.Argument(help="The app's own id of the user.")], as_json: Json = False) -> None:
    """Show what is known of a user: profile, addresses (their last four characters), consents, events by name."""
    context = Context.load()
    with context.reader() as store, store.read() as connection:
        found = show_user(connection, user)
    if as_json:
        context.print_json(found)
        return
    table = Table("what", "value", title=None)
    for name, value in found.items():
        if value not in (None, [], {}):
            table.add_row(name, "\n".join(_lines(value)))
    context.console.print(table, markup=False)


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{key}: {one}" for key, one in value.items()]
    if isinstance(value, list):
        return [
            ", ".join(f"{key} {part}" for key, part in one.items()) if isinstance(one, dict) else str(one)
            for one in value
        ]
    return [str(value)]


@attributes.command("list")
def list_declared(as_json: Json = False) -> None:
    """Show the attributes that campaigns/attributes.yaml declares."""
    context = Context.load()
    declared = declared_in(context.settings.campaigns)
    if as_json:
        context.print_json({name: one.model_dump(exclude_none=True) for name, one in declared.items()})
        return
    table = Table("attribute", "type", "values", "description")
    for name, one in declared.items():
        table.add_row(name, WORDS[one.type], ", ".join(str(value) for value in one.values or ["any"]), one.description)
    context.console.print(table if declared else f"no attributes are declared in {context.settings.campaigns / FILE}")


@attributes.command()
def sync(as_json: Json = False) -> None:
    """Index declared attributes in the database, and drop the indexes of those that are declared no more."""
    context = Context.load()
    done = context.act("sync_attributes", campaigns=str(context.settings.campaigns.resolve()))
    if as_json:
        context.print_json(done)
        return
    context.console.print(
        f"made: {', '.join(done['made']) or 'none'}; there already: {', '.join(done['kept']) or 'none'}"
    )
