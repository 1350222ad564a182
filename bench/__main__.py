"""All benchmarks: ``python -m bench [NAME...] [--quick] [--full] [--json] [--write]``.

Each run is a process of its own, one after another, so that none sees another's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from platform import python_version
from typing import Any

from rich.console import Console

from bench import growth, scale_page, segments
from bench.against import PEERS
from bench.bars import CROWDS, Figures, verdicts
from bench.show import bars_table, lines_of, markdown, table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
RESULTS = ROOT / "bench" / "results.json"
PATIENCE = 1800
"""Seconds after which a run counts as stuck."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A module to run with arguments, ``times`` times; the run with the median of ``by`` counts.

    ``quick``: what it is run with to see that it works; nothing where another one goes the same way. ``turns``: how
    often a run measures by itself, to say the median.
    """

    module: str
    arguments: tuple[str, ...]
    quick: tuple[str, ...] = ()
    times: int = 1
    by: str = ""
    full: tuple[str, ...] = ()
    turns: int = 1

    def command(self, *, quick: bool, full: bool) -> list[str]:
        """What is run."""
        arguments = (self.quick if quick else self.full if full else ()) or self.arguments
        return ["python", "-m", f"bench.{self.module}", *arguments]


def _contention(workers: int) -> Bench:
    quick = ("1000", str(workers)) if workers == CROWDS[0] else ()
    return Bench("contention", ("40000", str(workers)), quick, 5, "ratio")


def _against(name: str) -> Bench:
    quick = () if name.endswith("-chunks") else (name, "500", "200")
    return Bench("against", (name, "10000", "4000"), quick, 5, "ratio")


_SHARE = "share"
SUITE = {
    "plan-1": Bench("plan", ("1000000", "1"), ("20000", "1"), 5, "seconds"),
    "plan-2": Bench("plan", ("1000000", "2")),
    "plan-postgresql-1": Bench("plan", ("300000", "1", "postgresql", "1")),
    "plan-postgresql-2": Bench("plan", ("300000", "1", "postgresql", "2"), ("5000", "1", "postgresql", "2")),
    "dispatch-null": Bench("dispatch", ("null", "20000"), ("null", "1000"), 3, "per_second"),
    "dispatch-nginx": Bench("dispatch", ("nginx", "20000"), ("nginx", "1000"), 5, _SHARE),
    "dispatch-tls": Bench("dispatch", ("tls", "20000"), ("tls", "1000"), 5, _SHARE),
    "dispatch-sandbox": Bench("dispatch", ("sandbox", "20000"), ("sandbox", "1000"), 3, "per_second"),
    "dispatch-postgresql": Bench("dispatch", ("postgresql", "20000"), ("postgresql", "1000"), 5, _SHARE),
    "dispatch-slow": Bench("dispatch", ("slow", "10000"), ("slow", "500"), 5, _SHARE),
    "dispatch-slow-postgresql": Bench("dispatch", ("slow-postgresql", "10000"), (), 5, _SHARE),
    **{f"contention-{workers}": _contention(workers) for workers in CROWDS},
    **{f"against-{name}": _against(name) for name in PEERS},
    "mail": Bench("mail", ("10000",), ("500",), 5, _SHARE),
    "rehearse": Bench("rehearse", ("100000", "7"), ("2000", "2")),
    "segments": Bench("segments", ("1000000", "10"), ("10000", "4"), turns=segments.TURNS),
    "segments-postgresql": Bench(
        "segments", ("1000000", "10", "postgresql"), ("10000", "4", "postgresql"), turns=segments.TURNS
    ),
    "imports": Bench("imports", ("1000000", "random"), ("20000", "random")),
    "render": Bench("render", ("3000",), ("300",)),
    "events": Bench("events", ("20000",), ("2000",), 3, "one_a_request"),
    "memory-idle": Bench("memory", ("idle",), (), 5, "rss_mb"),
    "memory-sending": Bench(
        "memory", ("sending", "300000"), ("sending", "1000"), 5, "peak_mb", full=("sending", "1000000")
    ),
    "growth-messages": Bench(
        "growth",
        ("messages", "10000", "100000"),
        ("messages", "500", "1000"),
        full=("messages", "10000", "100000", "1000000"),
        turns=growth.TURNS,
    ),
    "growth-campaigns": Bench("growth", ("campaigns", "1", "10", "100"), turns=growth.TURNS),
    "growth-rows": Bench(
        "growth", ("rows", "0", "1000000", "10000000"), full=("rows", "0", "10000000", "50000000"), turns=growth.TURNS
    ),
    "scale": Bench("scale", ("100000",), ("5000",)),
}


def measured(name: str, *, quick: bool, full: bool) -> dict[str, Any]:
    """One benchmark: its command, when, the figures of every run and those of the median one."""
    bench = SUITE[name]
    command = bench.command(quick=quick, full=full)
    began = time.monotonic()
    runs = [_run(command) for _ in range(1 if quick else bench.times)]
    whole = [run for run in runs if "why" not in run] or runs[:1]
    median = sorted(whole, key=lambda run: run.get(bench.by, 0))[len(whole) // 2]
    seconds = round(time.monotonic() - began, 1)
    return {"command": " ".join(command), "at": _now(), "seconds": seconds, "runs": runs, "median": median}


def times_made(benchmarks: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """How often each was measured, in runs and in their turns."""
    return {name: len(one["runs"]) * SUITE[name].turns for name, one in benchmarks.items()}


def _run(command: list[str]) -> Figures:
    """The JSON that it printed; ``why`` there is none."""
    try:
        done = subprocess.run(
            [sys.executable, *command[1:]], stdout=subprocess.PIPE, check=True, text=True, timeout=PATIENCE
        )
    except subprocess.CalledProcessError as error:
        return {"why": f"`{' '.join(command)}` ended with {error.returncode}"}
    except subprocess.TimeoutExpired:
        return {"why": f"`{' '.join(command)}` did not end within {PATIENCE} s"}
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M}"


def machine() -> dict[str, object]:
    """What the figures depend on: the machine's shape, not its name."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "Python": python_version(),
        "SQLite": sqlite3.sqlite_version,
        "load average before": f"{os.getloadavg()[0]:.1f}",
    }


def results(names: list[str], *, quick: bool, full: bool) -> dict[str, Any]:
    """Everything that ``results.json`` holds."""
    shape = machine()
    found: dict[str, Any] = {}
    for number, name in enumerate(names, start=1):
        print(f"{number}/{len(names)} {name} …", end=" ", file=sys.stderr, flush=True)
        found[name] = measured(name, quick=quick, full=full)
        print(f"{found[name]['seconds']} s", file=sys.stderr, flush=True)
    return {"command": " ".join(["python -m bench", *sys.argv[1:]]), "machine": shape, "benchmarks": found}


def merged(fresh: dict[str, Any]) -> dict[str, Any]:
    """The fresh results, with what was measured before of the benchmarks that were not run now.

    ``again``: what was run by itself after the whole, by this command and those before it.
    """
    before = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"benchmarks": {}}
    both = {**before["benchmarks"], **fresh["benchmarks"]}
    again = {*before.get("again", ()), *fresh["benchmarks"]}
    kept = {name: both[name] for name in SUITE if name in both}
    command = before.get("command", fresh["command"])
    return {**fresh, "command": command, "again": [name for name in SUITE if name in again], "benchmarks": kept}


def main() -> None:
    """Run, print, and write when asked to."""
    given = _arguments()
    names = given.names or [name for name, bench in SUITE.items() if bench.quick or not given.quick]
    found = results(names, quick=given.quick, full=given.full)
    found = merged(found) if given.write and given.names else found
    medians = {name: one["median"] for name, one in found["benchmarks"].items()}
    held = verdicts(medians)
    found["bars"] = [verdict.as_json() for verdict in held]
    runs = times_made(found["benchmarks"])
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        console = Console(width=None if sys.stdout.isatty() else 200)
        console.print(bars_table([one for one in held if not given.names or one.value is not None], runs))
        console.print(table(lines_of(medians)))
    if given.write:
        RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        PAGE.write_text(markdown(found, held, runs), encoding="utf-8")
        if "scale" in medians and "why" not in medians["scale"]:
            scale_page.write(medians)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure, against a reference in the same run."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (all): {', '.join(SUITE)}")
    parser.add_argument("--quick", action="store_true", help="small data, one run each: to see that they work")
    parser.add_argument("--full", action="store_true", help="a million messages, 50 M old rows: takes an hour more")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.add_argument(
        "--write", action="store_true", help="write docs/benchmarks.md, docs/scale.md's table and bench/results.json"
    )
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in SUITE]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(SUITE)}")
    if given.write and given.quick:
        parser.error("--quick only shows that they work: its figures are not written")
    return given


if __name__ == "__main__":
    main()
