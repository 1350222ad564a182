"""All benchmarks: ``python -m bench [NAME...] [--quick] [--json] [--write]``.

Each runs in a process of its own, one after another, so that none sees another's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from platform import python_version

from rich.console import Console

from bench.show import Figures, lines_of, markdown, table

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


@dataclass(frozen=True, slots=True)
class Bench:
    """A module to run with arguments, ``times`` times; the run with the median of ``by`` counts."""

    module: str
    arguments: tuple[str, ...]
    quick: tuple[str, ...]
    times: int = 1
    by: str = ""


SUITE = {
    "plan-1": Bench("plan", ("1000000", "1"), ("50000", "1")),
    "plan-2": Bench("plan", ("1000000", "2"), ("50000", "2")),
    "dispatch-null": Bench("dispatch", ("null", "20000"), ("null", "3000"), 3, "per_second"),
    "dispatch-nginx": Bench("dispatch", ("nginx", "20000"), ("nginx", "3000"), 5, "per_second"),
    "dispatch-sandbox": Bench("dispatch", ("sandbox", "20000"), ("sandbox", "3000"), 3, "per_second"),
    "mail": Bench("mail", ("20000",), ("2000",), 3, "per_second"),
    "rehearse": Bench("rehearse", ("100000", "7"), ("2000", "2")),
    "segments": Bench("segments", ("1000000", "10"), ("20000", "10")),
    "imports": Bench("imports", ("1000000", "random"), ("20000", "random")),
    "render": Bench("render", ("3000",), ("300",)),
    "events": Bench("events", ("20000",), ("2000",), 3, "one_a_request"),
}


def measured(bench: Bench, *, quick: bool) -> Figures:
    """The figures of one benchmark."""
    arguments = bench.quick if quick else bench.arguments
    command = [sys.executable, "-m", f"bench.{bench.module}", *arguments]
    runs: list[Figures] = []
    for _ in range(1 if quick else bench.times):
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return sorted(runs, key=lambda run: run.get(bench.by, 0))[len(runs) // 2]


def machine() -> dict[str, object]:
    """What the figures depend on: the machine's shape, not its name."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "Python": python_version(),
        "SQLite": sqlite3.sqlite_version,
        "load average before": f"{os.getloadavg()[0]:.1f}",
    }


def main() -> None:
    """Run, print, and write when asked to."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure, against a reference in the same run."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (all): {', '.join(SUITE)}")
    parser.add_argument("--quick", action="store_true", help="small data, one run each: to see that they work")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md from the same figures")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in SUITE]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(SUITE)}")
    shape, date = machine(), f"{datetime.now(UTC):%Y-%m-%d}"
    figures = {name: measured(SUITE[name], quick=given.quick) for name in given.names or SUITE}
    lines = lines_of(figures)
    if given.json:
        print(json.dumps({"date": date, "machine": shape, "figures": figures}, indent=1))
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(table(lines))
    if given.write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(markdown(lines, " ".join(["python -m bench", *sys.argv[1:]]), shape, date), encoding="utf-8")


if __name__ == "__main__":
    main()
