"""docs/reliability.md and docs/reliability.json: what a run of ``make chaos`` printed, and how to read it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.chaos.ground import Result, Size
from tests.chaos.scene import ROOT

PAGE, DATA = ROOT / "docs" / "reliability.md", ROOT / "docs" / "reliability.json"
HEAD = """# Reliability

Written by `make chaos` on {day}; nothing in the tables is typed by hand. Size `{size}`, `CHAOS_SEED={seed}`, {machine}.
{again}

Real processes: daemons over PostgreSQL and SQLite, Valkey, and the sandbox as every provider's server, over real HTTP
and SMTP. They are killed, frozen, cut off and upgraded while they send; then a checker holds the ledger against what
the far end took and fsynced before it answered. The promises are those of [promises.md](reference/promises.md).

"""
READ = """
## How to read it

- **run** is the size of this run, **promised** the size that the promise names; where they differ, it was smaller.
- **kills**: `kill -9`. **in doubt**: attempts that were on the wire when something happened, so that nobody can tell
  how they ended. **allowed**: those of them that are push, which goes out again in place, under the same collapse key;
  SMS and mail are never sent again by themselves: they are listed as `unknown` ([channels](howto/channels.md)).
- **seen**: requests that a provider accepted beyond the first for a message. Never more than allowed; of SMS and mail
  none at all, or the row is broken. **lost**: messages that were owed, could be sent, and ended unsent.
- A row **holds** when the checker found nothing wrong with the whole history: I1 nothing lost, I2 what was accepted was
  marked, I3 duplicates, I4 windows, I5 refusals, I6 rates, I7 caps, I8 Retry-After, I9 nobody writes or sends after its
  lease, I10 counts, I11 no address in a log, I12 states that only go forward.
- Rows of the second table are broken on purpose. **caught** is what the checker said of them: a check that cannot fail
  says nothing.

## How to run it again

    make chaos                                       # medium, within 20 minutes
    make chaos SIZE=full MINUTES=60                  # as promised; SIZE=short: what every run of the tests does
    make chaos FULL=twenty_in_a_row                  # one of them at its full size
    CHAOS_SEED={seed} make chaos ONLY=R1,R8            # the same moments, of some promises; the page is left as it is
    make chaos ONLY=frozen WRITE=1                   # or its rows are written anew, and the page says so

A seed fixes what is drawn: whom it hits, when, and how hard. What the machine makes of it differs from run to run, so a
seed that found something finds it again often, not always. The tests' short form is `tests/chaos/test_experiments.py`.
"""
COUNTS = ("kills", "messages", "accepted by providers", "in doubt", "allowed", "seen", "lost")
COLUMNS = ("promise", "what", "run", "promised", *COUNTS, "seconds", "what came of it")


def write(results: Sequence[Result], size: Size, seed: int, began: datetime) -> str:
    """Write both; where the page is."""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    return _written({"written": began.isoformat(), "size": size, "seed": seed, "machine": machine}, results)


def write_again(results: Sequence[Result]) -> str:
    """Put these rows in the place of those of the same names, say so, and leave the others; where the page is."""
    told = json.loads(DATA.read_text(encoding="utf-8"))
    fresh = {one.name: one for one in results}
    rows = [fresh.get(row["name"]) or Result(**row) for row in told.pop("results")]
    return _written(told | {"again": sorted({*told.get("again", ()), *fresh})}, rows)


def _written(told: Mapping[str, Any], results: Sequence[Result]) -> str:
    names = ", ".join(f"`{name}`" for name in told.get("again", ()))
    again = f"Run again by themselves since then, as the code had changed: {names}.\n" if names else ""
    day = told["written"].partition("T")[0]
    head = HEAD.format(day=day, size=told["size"], seed=told["seed"], machine=told["machine"], again=again)
    kept = [one for one in results if one.verdict != "caught" and not one.what.startswith("broken on purpose")]
    broken = [one for one in results if one not in kept]
    PAGE.write_text(head + _promises(kept) + _variants(broken) + READ.format(seed=told["seed"]), encoding="utf-8")
    rows = [one.as_json() for one in results]
    DATA.write_text(json.dumps({**told, "results": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return str(PAGE.relative_to(ROOT))


def _promises(results: Sequence[Result]) -> str:
    rows = [_row(one) for one in results]
    return "\n".join([_line(COLUMNS), _line(["---"] * len(COLUMNS)), *rows, ""])


def _row(one: Result) -> str:
    counts = [one.kills, one.messages, one.requests, one.in_doubt, one.allowed, one.seen, one.lost]
    cells = ["" if count is None else f"{count:,}" for count in counts]
    said = f"holds: {one.figures}" if one.well else f"**{one.verdict}**: {_first(one.problem)}"
    return _line([one.promise, one.what, one.did, one.asked, *cells, f"{one.seconds:.0f}", said])


def _first(problem: str) -> str:
    """The first thing that is wrong; after a count of them there is a line each."""
    lines = [line for line in problem.splitlines() if not line.endswith("broken promises:")]
    return lines[0] if lines else ""


def _variants(results: Sequence[Result]) -> str:
    if not results:
        return ""
    rows = [
        _line([one.promise, one.what.removeprefix("broken on purpose: "), one.verdict, one.problem]) for one in results
    ]
    head = ("promise", "broken on purpose", "", "what the checker said")
    return "\n".join(["", _line(head), _line(["---"] * len(head)), *rows, ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


__all__ = ["PAGE", "Path", "write", "write_again"]
