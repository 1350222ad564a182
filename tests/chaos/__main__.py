"""``make chaos``: the promises under faults, with real processes; the table of docs/reliability.md.

``python -m tests.chaos [--size short|medium|full] [--only R1,R8,lost_leader] [--full twenty_in_a_row] [--seed N]
[--minutes 2] [--write]``
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.experiments import table
from tests.chaos.ground import Experiment, Ground, Result, Size, play, seed_from_environment
from tests.chaos.page import write, write_again
from tests.postgres import serving

COLOURS = {"holds": "green", "caught": "green", "broken": "red", "not run": "yellow"}


def main() -> int:
    """Run what was asked for; 0 when every promise held and every broken variant was caught."""
    given = _arguments()
    size, console = Size(given.size), Console()
    chosen = _chosen(given.only, size)
    console.print(
        f"chaos: {len(chosen)} experiments, size {size}, CHAOS_SEED={given.seed}, Python {platform.python_version()}"
    )
    began = datetime.now(UTC)
    results = _all(chosen, size, given, console)
    console.print(_shown(results))
    if given.write:
        page = write_again(results) if given.only else write(results, size, given.seed, began)
        console.print(f"written: {page}")
    return 0 if all(one.well or one.verdict == "not run" for one in results) else 1


def _all(chosen: Sequence[Experiment], size: Size, given: argparse.Namespace, console: Console) -> list[Result]:
    results = []
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, serving(Path(name)) as server:
        for number, one in enumerate(chosen, 1):
            folder = Path(name) / one.name
            folder.mkdir()
            large = Size.FULL if {one.promise, one.name} & _words(given.full) else size
            with console.status(f"{number}/{len(chosen)} {one.promise} {one.what}"), redirect_stdout(StringIO()):
                result = play(one, Ground(folder, large, given.seed, server, given.minutes))
            results.append(result)
            colour = COLOURS[result.verdict]
            console.print(
                f"[{colour}]{result.verdict:>7}[/] {one.promise:>3} {result.seconds:6.1f} s  {one.name}: {result.did}"
            )
            if result.problem and result.verdict != "caught":
                console.print(result.problem, style=colour, markup=False, highlight=False)
    return results


def _chosen(only: str, size: Size) -> list[Experiment]:
    wanted = _words(only)
    every = [one for one in table() if size in one.sizes or one.name in wanted]
    known = {word for one in every for word in (one.promise, one.name)}
    if unknown := sorted(wanted - known):
        sys.exit(f"--only: {', '.join(unknown)} is no promise or experiment; there are: {', '.join(sorted(known))}")
    return [one for one in every if not wanted or wanted & {one.promise, one.name}]


def _words(given: str) -> set[str]:
    return {word.strip() for word in given.split(",") if word.strip()}


def _shown(results: Sequence[Result]) -> Table:
    shown = Table("promise", "experiment", "kills", "in doubt", "allowed", "seen", "lost", "s", "verdict")
    for one in results:
        counts = [one.kills, one.in_doubt, one.allowed, one.seen, one.lost]
        cells = ["" if count is None else f"{count:,}" for count in counts]
        shown.add_row(one.promise, one.name, *cells, f"{one.seconds:.0f}", f"[{COLOURS[one.verdict]}]{one.verdict}")
    return shown


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--size", choices=[*Size], default=Size.MEDIUM, help="short: minutes; medium: 20 minutes; full: as promised")
    add("--only", default="", help="promises or experiments, with commas: R1,R8,lost_leader")
    add("--full", default="", help="promises or experiments that run at their full size, whatever the others do")
    add("--seed", type=int, default=seed_from_environment(), help="or CHAOS_SEED in the environment")
    add("--minutes", type=float, default=2.0, help="how long the soak lasts")
    add("--write", action="store_true", help="write docs/reliability.md and .json; with --only, those rows")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
