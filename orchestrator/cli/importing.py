"""``orchestrator import``: users, events, addresses, consents and suppressions out of CSV, JSONL and Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.audience.mapping import Kind
from orchestrator.cli.context import Context
from orchestrator.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Take in users, events, addresses, consents and suppressions.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="a CSV, JSONL or Parquet file")]
MappingFile = Annotated[Path, typer.Option("--mapping", help="the YAML file that says which column is what")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command()
def users(file: File, mapping: MappingFile, as_json: Json = False) -> None:
    """Take in users: a name of your own for each, and what is known of them."""
    _run(Kind.USERS, file, mapping, as_json=as_json)


@app.command()
def events(file: File, mapping: MappingFile, as_json: Json = False) -> None:
    """Take in what users did, and when; each event once, however often it is imported."""
    _run(Kind.EVENTS, file, mapping, as_json=as_json)


@app.command()
def addresses(file: File, mapping: MappingFile, as_json: Json = False) -> None:
    """Take in push tokens, phone numbers and mailboxes."""
    _run(Kind.ADDRESSES, file, mapping, as_json=as_json)


@app.command()
def consents(file: File, mapping: MappingFile, as_json: Json = False) -> None:
    """Take in what users agreed to or refused."""
    _run(Kind.CONSENTS, file, mapping, as_json=as_json)


@app.command()
def suppressions(file: File, mapping: MappingFile, as_json: Json = False) -> None:
    """Take in addresses and users that must not be sent to."""
    _run(Kind.SUPPRESSIONS, file, mapping, as_json=as_json)


def _run(kind: Kind, file: Path, mapping: Path, *, as_json: bool) -> None:
    context = Context.load()
    if not file.is_file():
        raise InputError(f"{file}: there is no such file")
    here = {"path": str(file.resolve()), "mapping": str(mapping.resolve())}  # a daemon stands in another folder
    with _bar(kind, file) as progress:
        done = context.act("import", progress, kind=str(kind), actor=context.actor, **here)
    if as_json:
        context.print_json(done)
    else:
        _show(context.console, done, file)


@contextmanager
def _bar(kind: Kind, file: Path) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, on a terminal alone; told how many bytes were read."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(str(kind), total=file.stat().st_size)
        yield lambda size: progress.advance(task, size)


def _show(console: Console, done: Mapping[str, Any], file: Path) -> None:
    console.print(
        f"{file.name}: {done['read']:,} rows, {done['written']:,} new or changed, {done['unchanged']:,} as before, "
        f"{done['rejected']:,} rejected",
        highlight=False,
    )
    for what, count in (("time zone", done["zones_unknown"]), ("country", done["countries_unknown"])):
        if count:
            console.print(f"  with a {what} that does not exist, taken as not known: {count:,}", highlight=False)
    if done["rejects"]:
        console.print(
            f"  each rejected row, with its line and the reason: {done['rejects']}", highlight=False, soft_wrap=True
        )
