"""Bars and figures as lines of tables, for the terminal and for docs/benchmarks.md: the same lines in both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from bench import bars
from bench.bars import Figures, Verdict

HEADINGS = ("what", "measured", "reference", "ratio", "beside it")


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what was measured, against what, and what else there is to say."""

    what: str
    measured: str
    reference: str
    ratio: str
    beside: str

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of the headings."""
        return (self.what, self.measured, self.reference, self.ratio, self.beside)


def _plan_on_postgresql(f: Figures) -> list[Line]:
    planners = f["planners"]
    what = f"plan {f['members']:,} members on PostgreSQL, {planners} planner{'s' if planners > 1 else ''}"
    return [Line(what, f"{f['seconds']:.1f} s", "", "", f"{f['members'] / f['seconds']:,.0f} members/s")]


def _plan(f: Figures) -> list[Line]:
    beside = (
        f"{f['messages']:,} messages; {f['cpu_seconds']:.1f} s of processor time; peak {f['peak_mb']:.0f} MB; "
        f"transactions: median {f['median_chunk_ms']:.0f} ms, longest {f['longest_chunk_ms']:.0f} ms"
    )
    what = f"plan {f['members']:,} members, {f['steps']} step{'s' if f['steps'] > 1 else ''}"
    reference = f"{f['reference_seconds']:.1f} s: bare INSERT of as many rows"
    return [Line(what, f"{f['seconds']:.1f} s", reference, f"{f['ratio']}", beside)]


def _split(f: Figures) -> str:
    """Microseconds by phase."""
    return ", ".join(f"{name.replace('_', ' ')} {spent:.0f}" for name, spent in f["cpu_us_split"].items())


def _dispatch(what: str, reference: str) -> Callable[[Figures], list[Line]]:
    def lines(f: Figures) -> list[Line]:
        beside = (
            f"{f['messages']:,} messages in batches of {f['mean_batch']}; {f['duplicates']} duplicates; peak "
            f"{f['peak_mb']:.0f} MB; {f['cpu_us_per_message']:.0f} µs of processor time a message: {_split(f)}"
        )
        if f.get("server_us_per_message"):
            beside += f"; the server's: {f['server_us_per_message']:.0f} µs"
        if "far_end_per_second" in f:
            beside += f"; the far end by itself: {f['far_end_per_second']:,}/s (wrk)"
        against = f"{f['reference_per_second']:,}/s: {reference}"
        return [Line(what, f"{f['per_second']:,} messages/s", against, f"{f['ratio']}", beside)]

    return lines


def _contention(f: Figures) -> list[Line]:
    what = f"dispatch, {f['workers']} workers on one PostgreSQL, a channel that answers at once"
    beside = f"{f['messages']:,} messages; the ratio is of processor time a message, workers and database: "
    beside += f"{f['cpu_us_per_message']:.0f} µs against {f['reference_cpu_us_per_message']:.0f} µs; "
    beside += f"as many workers, each with a PostgreSQL of its own: {f['apart_cpu_us_per_message']:.0f} µs"
    reference = f"{f['reference_per_second']:,}/s: one worker"
    return [Line(what, f"{f['per_second']:,} messages/s", reference, f"{f['ratio']}", beside)]


def _against(f: Figures) -> list[Line]:
    what = "a campaign, planned and sent" if f["whole"] else "dispatch"
    beside = f"{f['messages']:,} messages; theirs: {f['their_messages']:,}; here the ratio is ours ÷ theirs"
    if "alone_ratio" in f:
        beside += f"; our channel alone, without ledger, caps and templates as theirs: {f['alone_per_second']:,}/s, "
        beside += f"{f['alone_ratio']} times as fast"
    against = f"{f['their_per_second']:,}/s: {f['peer']}"
    return [Line(what, f"{f['per_second']:,} messages/s", against, f"{f['ratio']}", beside)]


def _mail(f: Figures) -> list[Line]:
    beside = (
        f"personal HTML, {f['content_bytes'] / 1000:.1f} kB on the wire; {f['connections']} connections; "
        f"{f['duplicates']} duplicates; peak {f['peak_mb']:.0f} MB; {f['cpu_us_per_message']:.0f} µs of processor time "
        f"a mail: {_split(f)}; postfix's smtp-source: {f['source_per_second']:,}/s"
    )
    reference = f"{f['reference_per_second']:,}/s: a bare client writing as many bytes"
    return [Line("mail to postfix's smtp-sink", f"{f['per_second']:,} mails/s", reference, f"{f['ratio']}", beside)]


def _rehearse(f: Figures) -> list[Line]:
    phases = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in f["phases"].items())
    beside = (
        f"push, then SMS; {f['members']:,} members, {f['messages']:,} messages, {f['sent']:,} of them sent; {phases}; "
        f"{f['cpu_seconds']:.0f} s of processor time; peak {f['peak_mb']:,} MB"
    )
    what = f"rehearse {f['days']} days of a daily campaign over {f['users']:,} users"
    reference = f"{f['reference_seconds']:.1f} s: bare INSERT of what its ledger comes to"
    return [Line(what, f"{f['seconds']:.0f} s", reference, f"{f['ratio']}", beside)]


def _segments(f: Figures) -> list[Line]:
    size = f"{f['users']:,} users, {f['events']:,} events"
    database = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[f["database"]]
    return [
        Line(
            f"count a segment on {database}, {one['segment']}",
            f"{one['seconds'] * 1000:.0f} ms",
            f"{one['by_hand_seconds'] * 1000:.0f} ms: SQL written by hand",
            f"{one['ratio']}",
            f"{size}; {one['found']:,} people found",
        )
        for one in f["segments"]
    ]


def _imports(f: Figures) -> list[Line]:
    beside = (
        f"in {f['order']} order, without ids of their own; {f['rows_per_second']:,} rows/s; again: "
        f"{f['again_seconds']:.0f} s, nothing changed; peak {f['peak_mb']} MB"
    )
    reference = f"{f['insert_seconds']:.1f} s: bare executemany INSERT"
    return [Line(f"import {f['rows']:,} events from CSV", f"{f['seconds']:.1f} s", reference, f"{f['ratio']}", beside)]


def _render(f: Figures) -> list[Line]:
    reference = f"{f['jinja2_microseconds']} µs: jinja2's render(), unbounded"
    beside = "sandboxed, strict, within a budget; our push is a title, a link and a body"
    return [
        Line(f"render {f['templates']} sample templates", f"{f['microseconds']} µs", reference, f"{f['ratio']}", beside)
    ]


def _events(f: Figures) -> list[Line]:
    beside = f"{f['connections']} connections; answered when on disk"
    return [
        Line(
            f"take in events, {words} a request",
            f"{f[f'{size}_a_request']:,} events/s",
            f"{f[f'{size}_a_request_bare']:,}/s: a Starlette app that does nothing",
            f"{f[f'{size}_ratio']}",
            beside,
        )
        for size, words in (("one", "1"), ("hundred", "100"))
    ]


def _memory(f: Figures) -> list[Line]:
    heavy = f"imported: {', '.join(f['heavy'])}" if f["heavy"] else "no statistics, Alembic, pyarrow imported"
    if not f["messages"]:
        return [Line("memory of an idle daemon", f"{f['rss_mb']:.0f} MB", "", "", heavy)]
    beside = (
        f"{f['messages']:,} messages at {f['per_second']:,}/s to nginx; before: {f['before_mb']:.0f} MB; after half of "
        f"them {f['half_mb']:.0f} MB, after all {f['rss_mb']:.0f} MB; {heavy}"
    )
    return [Line("memory of a daemon while sending", f"peak {f['peak_mb']:.0f} MB", "", "", beside)]


def _growth(f: Figures) -> list[Line]:
    least = f["points"][0]
    return [
        Line(
            f"time per message, {f['of']}: {one['n']:,}",
            f"{one['us_per_message']:.0f} µs",
            f"{least['us_per_message']:.0f} µs: {least['n']:,}",
            f"{one['us_per_message'] / least['us_per_message']:.2f}",
            f"{one['messages']:,} messages, median of {len(one['turns'])} turns; of the processor: "
            f"{one['cpu_us_per_message']:.0f} µs: {_split(one)}",
        )
        for one in f["points"]
    ]


def _scale(f: Figures) -> list[Line]:
    beside = "the rest is in docs/scale.md"
    worker, database = f["worker_cpu_us"], f["database_cpu_us"]
    what = "a message on PostgreSQL and Valkey"
    return [Line(what, f"{worker:.0f} µs worker, {database:.0f} µs database", "", "", beside)]


LINES: dict[str, Callable[[Figures], list[Line]]] = {
    "plan-1": _plan,
    "plan-2": _plan,
    "plan-postgresql-1": _plan_on_postgresql,
    "plan-postgresql-2": _plan_on_postgresql,
    "dispatch-null": _dispatch("dispatch, a channel that answers at once", "the same three transactions, no logic"),
    "dispatch-nginx": _dispatch("dispatch, FCM over HTTP to nginx", "bare requests to the same nginx"),
    "dispatch-tls": _dispatch(
        "dispatch, FCM over TLS and HTTP/2 to nginx",
        "bare requests to the same nginx over TLS, in the protocol in which they are faster",
    ),
    "dispatch-sandbox": _dispatch("dispatch, FCM over HTTP to the sandbox", "bare requests to the same sandbox"),
    "dispatch-postgresql": _dispatch(
        "dispatch, PostgreSQL and Valkey, FCM to nginx", "bare requests to the same nginx"
    ),
    "dispatch-slow": _dispatch("dispatch, a provider that answers in 0.1 s", "200 connections that never wait for us"),
    "dispatch-slow-postgresql": _dispatch(
        "dispatch, PostgreSQL, a provider that answers in 0.1 s", "200 connections that never wait for us"
    ),
    **dict.fromkeys((f"contention-{workers}" for workers in bars.CROWDS), _contention),
    "mail": _mail,
    "rehearse": _rehearse,
    "segments": _segments,
    "segments-postgresql": _segments,
    "imports": _imports,
    "render": _render,
    "events": _events,
    "memory-idle": _memory,
    "memory-sending": _memory,
    **dict.fromkeys(("growth-messages", "growth-campaigns", "growth-rows"), _growth),
    "scale": _scale,
}


def lines_of(figures: Mapping[str, Figures]) -> list[Line]:
    """All lines, in the order of the figures."""
    return [line for name, found in figures.items() for line in _lines(name, found)]


def _lines(name: str, found: Figures) -> list[Line]:
    if "why" in found:
        return [Line(name, "not measured", "", "", str(found["why"]))]
    return (_against if name.startswith("against-") else LINES[name])(found)


def table(lines: list[Line]) -> Table:
    """For the terminal."""
    made = Table(*HEADINGS)
    for line in lines:
        made.add_row(*line.cells)
    return made


def bars_table(held: Sequence[Verdict], runs: Mapping[str, int]) -> Table:
    """The bars, for the terminal."""
    made = Table(*bars.HEADINGS)
    for verdict in held:
        made.add_row(*(cell.replace("**", "") for cell in verdict.cells(runs)))
    return made


def _markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _again(results: Mapping[str, Any]) -> str:
    names, found = results.get("again", ()), results["benchmarks"]
    if not names:
        return ""
    told = ", ".join(f"`{name}` ({found[name]['at']})" for name in names)
    return f"Measured again since then, by themselves: {told}.\n"


def markdown(results: Mapping[str, Any], held: Sequence[Verdict], runs: Mapping[str, int]) -> str:
    """``docs/benchmarks.md``."""
    shape = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    found = results["benchmarks"]
    times = sorted(one["at"] for one in found.values())
    lines = lines_of({name: one["median"] for name, one in found.items()})
    met = sum(verdict.met is True for verdict in held)
    return f"""# Benchmarks

Written by `{results["command"]}`; nothing in the tables is typed by hand. Measured from {times[0]} to {times[-1]} UTC.
{_again(results)}Machine: {shape}. The figures of every run are in `bench/results.json`.

## The bars

{met} of {len(held)} are met. Where a benchmark was run several times, the run with the median ratio is shown.

{_markdown_table(bars.HEADINGS, (verdict.cells(runs) for verdict in held))}

{NOTES}
## Every figure

Every figure stands beside a reference measured in the same run on the same machine; on another machine, or one with
other work to do, the ratios stay closer than the figures. A ratio says how many times as long as the reference
something takes (less is better) unless the line says otherwise.

{_markdown_table(HEADINGS, (line.cells for line in lines))}

How each is measured stands at the top of its file in `bench/`. `python -m bench NAME` runs one, `--quick` all of them
on small data, `--full` those that take long at the issue's whole size.
"""


NOTES = """How they are measured, where that is a choice:

- Each bar is the median of five: of five runs, or of the five turns that a run of a segment or of growth is by itself.
  `--full` sends a million messages and puts 50 M old rows beside others.
- The far end of pushes is nginx on the same two cores as the sender and everything else; its own limit, as wrk finds
  it, stands below.
- The bare clients of others get messages that are ready. Beside them stand our channel by itself with such messages,
  and our whole door, where each is claimed from the ledger, rendered, gated and recorded. pyfcm opens a connection per
  message, firebase-admin and aioapns keep theirs.
- The campaigns on Celery and Dramatiq run a process per core against PostgreSQL without syncing to disk, ours one
  process on SQLite that syncs each commit. Both forms are shown that people write: a task per user, and chunks.
- `smtp-source` keeps its connections open (`-d`), as ours does.
- More processes than cores cost something by themselves. So contention is told twice: against one worker, which is the
  bar, and against as many workers that each have a PostgreSQL of their own, which is what sharing one ledger adds.
- PostgreSQL comes from a wheel and runs on the same cores. It syncs its commits where dispatch and unit costs are
  measured; for plans and segments it does not.
- The daemon's memory is what Linux counts as resident; a MB is 2^20 bytes everywhere.
"""
