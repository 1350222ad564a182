"""``orchestrator segment``: how many users a segment has, some of them, and why one is in it or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.markup import escape

from orchestrator.audience.segment import clause, count, refuse_past, sample
from orchestrator.audience.segment_story import Told, explain_segment
from orchestrator.campaign.segments import SegmentFolder
from orchestrator.cli import completing
from orchestrator.cli.context import Context
from orchestrator.cli.typed import typed_instant
from orchestrator.errors import ConfigError, NotFoundError, did_you_mean

app = typer.Typer(no_args_is_help=True, help="Count and look at segments.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="a file in campaigns/segments/, without .yaml", autocompletion=completing.segments
    ),
]
AsOf = Annotated[str, typer.Option(help="evaluate as of this instant (ISO 8601 with an offset); default: now")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command("count")
def count_users(name: Name, as_of: AsOf = "", as_json: Json = False) -> None:
    """Count the users in a segment."""
    context = Context.load()
    segments, now = _segments(context, name), context.clock.now()
    instant = typed_instant(as_of, "--as-of") if as_of else now
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
    size: Annotated[int, typer.Option("--count", "--size", "-n", min=1, max=1000, help="how many")] = 10,
    as_of: AsOf = "",
    as_json: Json = False,
) -> None:
    """Print some users of a segment: picked by chance, and the same ones each time."""
    context = Context.load()
    segments, now = _segments(context, name), context.clock.now()
    instant = typed_instant(as_of, "--as-of") if as_of else now
    refuse_past(name, segments, instant, now)
    with context.reader() as store, store.read() as connection:
        found = sample(connection, clause(name, segments, store.dialect), instant, size)
    if as_json:
        context.print_json({"segment": name, "as_of": _text(instant), "users": found})
    else:
        for user in found:
            typer.echo(user)


@app.command("explain")
def explain_user(
    user: Annotated[str, typer.Argument(metavar="USER", help="the app's own id of the user")],
    name: Name,
    as_of: AsOf = "",
    as_json: Json = False,
) -> None:
    """Say why a user is in a segment or is not: every condition with its answer, and what it saw."""
    context = Context.load()
    segments, now = _segments(context, name), context.clock.now()
    instant = typed_instant(as_of, "--as-of") if as_of else now
    refuse_past(name, segments, instant, now)
    with context.reader() as store, store.read() as connection:
        told = explain_segment(connection, name, segments, user, instant)
    if as_json:
        context.print_json({"segment": name, "user": user, "as_of": _text(instant), **asdict(told)})
        return
    verdict = "[bold green]is in[/]" if told.holds else "[bold red]is not in[/]"
    context.console.print(f"{escape(user)} {verdict} {name} as of {_text(instant)}", highlight=False)
    for line in _lines(told, 1):
        context.console.print(line, highlight=False, soft_wrap=True)


def _lines(told: Told, depth: int) -> Iterator[str]:
    mark = "[green]yes[/]" if told.holds else "[red]no [/]"
    words = f"[bold]{escape(told.words)}[/]" if told.decides else escape(told.words)
    seen = "" if told.seen is None else f"  ({escape(_value(told.seen))})"
    yield f"{'  ' * depth}{mark} {words}{seen}"
    for part in told.parts:
        yield from _lines(part, depth + 1)


def _value(seen: object) -> str:
    return _text(seen) if isinstance(seen, datetime) else f"seen: {seen}"


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


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
