"""Figures as lines of a table, for the terminal and for docs/benchmarks.md: the same lines in both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

Figures = Mapping[str, Any]
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


def _plan(f: Figures) -> list[Line]:
    beside = (
        f"{f['messages']:,} messages; {f['cpu_seconds']:.1f} s of processor time; peak {f['peak_mb']:.0f} MB; "
        f"transactions: median {f['median_chunk_ms']:.0f} ms, longest {f['longest_chunk_ms']:.0f} ms"
    )
    what = f"plan {f['members']:,} members, {f['steps']} step{'s' if f['steps'] > 1 else ''}"
    reference = f"{f['reference_seconds']:.1f} s: bare INSERT of as many rows"
    return [Line(what, f"{f['seconds']:.1f} s", reference, f"{f['ratio']}", beside)]


def _dispatch(what: str, reference: str) -> Callable[[Figures], list[Line]]:
    def lines(f: Figures) -> list[Line]:
        if "why" in f:
            return [Line(what, "not measured", "", "", f["why"])]
        split = ", ".join(f"{name.replace('_', ' ')} {spent:.0f}" for name, spent in f["cpu_us_split"].items())
        beside = (
            f"{f['messages']:,} messages in batches of {f['mean_batch']}; {f['duplicates']} duplicates; peak "
            f"{f['peak_mb']:.0f} MB; {f['cpu_us_per_message']:.0f} µs of processor time a message: {split}"
        )
        if "far_end_per_second" in f:
            beside += f"; the far end by itself: {f['far_end_per_second']:,}/s (wrk)"
        against = f"{f['reference_per_second']:,}/s: {reference}"
        return [Line(what, f"{f['per_second']:,} messages/s", against, f"{f['ratio']}", beside)]

    return lines


def _mail(f: Figures) -> list[Line]:
    split = ", ".join(f"{name.replace('_', ' ')} {spent:.0f}" for name, spent in f["cpu_us_split"].items())
    beside = (
        f"personal HTML, {f['content_bytes'] / 1000:.1f} kB on the wire; {f['connections']} connections; "
        f"{f['duplicates']} duplicates; peak {f['peak_mb']:.0f} MB; {f['cpu_us_per_message']:.0f} µs of processor time "
        f"a mail: {split}; postfix's smtp-source: {f['source_per_second']:,}/s"
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
    return [
        Line(
            f"count a segment, {one['segment']}",
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


LINES: dict[str, Callable[[Figures], list[Line]]] = {
    "plan-1": _plan,
    "plan-2": _plan,
    "dispatch-null": _dispatch("dispatch, a channel that answers at once", "the same three transactions, no logic"),
    "dispatch-nginx": _dispatch("dispatch, FCM over HTTP to nginx", "bare requests to the same nginx"),
    "dispatch-sandbox": _dispatch("dispatch, FCM over HTTP to the sandbox", "bare requests to the same sandbox"),
    "mail": _mail,
    "rehearse": _rehearse,
    "segments": _segments,
    "imports": _imports,
    "render": _render,
    "events": _events,
}


def lines_of(figures: Mapping[str, Figures]) -> list[Line]:
    """All lines, in the order of the figures."""
    return [line for name, found in figures.items() for line in LINES[name](found)]


def table(lines: list[Line]) -> Table:
    """For the terminal."""
    made = Table(*HEADINGS)
    for line in lines:
        made.add_row(*line.cells)
    return made


def markdown(lines: list[Line], command: str, machine: Mapping[str, object], date: str) -> str:
    """``docs/benchmarks.md``."""
    shape = ", ".join(f"{name} {value}" for name, value in machine.items())
    rows = "\n".join(f"| {' | '.join(line.cells)} |" for line in lines)
    return f"""# Benchmarks

Written by `{command}` on {date}; nothing in the table is typed by hand. Machine: {shape}.

Every figure stands beside a reference measured in the same run on the same machine; on another machine, or one with
other work to do, the ratios stay closer than the figures. A ratio says how many times as long as the reference
something takes (less is better). Where a run takes seconds, three were made and the median one is shown.

| {" | ".join(HEADINGS)} |
|{"---|" * len(HEADINGS)}
{rows}

How each is measured stands at the top of its file in `bench/`. `python -m bench NAME` runs one, `--quick` all of them
on small data.
"""
