"""The sample's customers as people, taken in through the real importer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from orchestrator.cli.context import Context
from orchestrator.cli.demo.people import SEED, Person, generate
from orchestrator.cli.demo.purchases import History, histories, last_day, read_purchases
from orchestrator.cli.demo.tables import TableFile, write_tables
from orchestrator.cli.demo.timeline import shift_to
from orchestrator.errors import OrchestratorError


@dataclass(frozen=True, slots=True)
class Population:
    """Customers with their purchases, the people made of them, and by how much purchases are moved."""

    histories: Sequence[History]
    people: Sequence[Person]
    shift: timedelta
    yesterday: date

    @property
    def purchases(self) -> int:
        """How many purchases there are."""
        return sum(len(history.purchases) for history in self.histories)


def populate(yesterday: date, most: int | None = None) -> Population:
    """The sample as if its last purchase had been ``yesterday``; ``most`` customers of it."""
    purchases = read_purchases()
    shift = shift_to(yesterday, last_day(purchases))
    some = histories(purchases, most)
    return Population(some, generate(some, yesterday, shift), shift, yesterday)


def introduce(console: Console, population: Population) -> None:
    """Say what is real and what is generated."""
    people = population.people
    countries = Counter(person.home for person in people)
    real = (
        f"{population.purchases:,} purchases of {len(people):,} customers of CDNOW, 1997-01 to 1998-06 "
        f"(data/cdnow/README.md), moved by {population.shift.days:,} days: the last one is on {population.yesterday}"
    )
    made = (
        f"everything else (seed {SEED}): names, languages, {len(countries)} zones, push tokens, phone numbers, "
        "consents, favourite dishes, and whatever these people do with their phones"
    )
    console.print(Text.assemble(("Real       ", "bold green"), real), soft_wrap=not console.is_terminal)
    console.print(Text.assemble(("Generated  ", "bold yellow"), made), soft_wrap=not console.is_terminal)


def take_in(context: Context, folder: Path, population: Population) -> None:
    """Write the tables and import them, as ``orchestrator import`` does.

    Raises:
        OrchestratorError: a row was rejected; ours are all good, so something is wrong.
    """
    tables = write_tables(folder, population.people, population.histories, population.shift)
    columns = (
        TextColumn("import {task.description:<10}"),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=context.console, disable=not context.console.is_terminal) as progress:
        for table in tables:
            task = progress.add_task(table.kind, total=table.path.stat().st_size)
            done = _import(context, table, partial(progress.advance, task))
            if not context.console.is_terminal:
                context.console.print(f"import {table.kind:<10} {done:,} rows")


def _import(context: Context, table: TableFile, told: Callable[[int], None]) -> int:
    done = context.act(
        "import",
        told,
        kind=table.kind,
        path=str(table.path),
        mapping=str(table.mapping),
    )
    if done["rejected"]:
        raise OrchestratorError(
            f"{done['rejected']} rows of {table.path.name} were rejected", hint=f"see {done['rejects']}"
        )
    return int(done["read"])
