"""``orchestrator segment``: how many users a segment has, and some of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from orchestrator.audience.segment import clause, count, refuse_past, sample
from orchestrator.campaign.segments import SegmentFolder
from orchestrator.cli.context import Context
from orchestrator.errors import ConfigError, InputError, NotFoundError, did_you_mean

app = typer.Typer(no_args_is_help=True, help="Count and look at segments.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="a file in campaigns/segments/, without .yaml")]
AsOf = Annotated[str, typer.Option(help="evaluate as of this instant (ISO 8601 with an offset); default: now")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command("count")
def count_users(name: Name, as_of: AsOf = "", as_json: Json = False) -> None:
    """Count the users in a segment."""
    context = Context.load()
    segments, now = _segments(context, name), context.clock.now()
    instant = _instant(as_of) if as_of else now
    refuse_past(name, segments, instant, now)
    with context.reader() as store, store.read() as connection:
        found = count(connection, clause(name, segments, store.dialect), instant)
    if as_json:
        context.print_json({"segment": name, "as_of": _text(instant), "count": found})
    else:
        context.console.print(f"{name}: [bold]{found:,}[/bold] users as of {_text(instant)}", highlight=False)


@app.command("sample")
def sample_users(
    name: Name,
    size: Annotated[int, typer.Option("--size", "-n", min=1, max=1000, help="how many")] = 10,
    as_of: AsOf = "",
    as_json: Json = False,
) -> None:
    """Print some users of a segment: picked by chance, and the same ones each time."""
    context = Context.load()
    segments, now = _segments(context, name), context.clock.now()
    instant = _instant(as_of) if as_of else now
    refuse_past(name, segments, instant, now)
    with context.reader() as store, store.read() as connection:
        found = sample(connection, clause(name, segments, store.dialect), instant, size)
    if as_json:
        context.print_json({"segment": name, "as_of": _text(instant), "users": found})
    else:
        for user in found:
            typer.echo(user)


def _segments(context: Context, name: str) -> Mapping[str, Mapping[str, Any]]:
    """A segment and what it refers to, checked."""
    folder = SegmentFolder(context.settings.campaigns)
    if name not in folder.names:
        hint = did_you_mean(name[:64], folder.names) or f"segments are YAML files in {folder.folder}/"
        raise NotFoundError(f"there is no segment {name[:64]!r}", hint=hint)
    documents = folder.check([name])
    if folder.problems:
        raise ConfigError(folder.problems)
    return {key: document.data for key, document in documents.items()}


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"--as-of: {text[:64]!r} is no instant", hint="write it like 2026-12-15T00:00Z") from None
    if instant.tzinfo is None:
        raise InputError(f"--as-of: {text[:64]!r} does not say its offset", hint="write it like 2026-12-15T00:00Z")
    return instant.astimezone(UTC)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
