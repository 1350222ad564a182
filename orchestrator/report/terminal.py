"""The report on a console: rich tables, for the CLI and the demo."""

from __future__ import annotations

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.report import sentences, words
from orchestrator.report.findings import LIMITS, Finding, Findings, Guard, Harm, Verdict
from orchestrator.report.reasons import reason_words
from orchestrator.report.values import Tally
from orchestrator.report.words import number, per_cent, points, word

_STYLE = {
    "delivered": "green",
    "accepted": "green",
    "held_out": "cyan",
    "pending": "blue",
    "unknown": "yellow",
    "undelivered": "yellow",
    "failed": "red",
    "expired": "yellow",
    "skipped": "dim",
}


def _table(title: str) -> Table:
    return Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", show_edge=False, pad_edge=False
    )


def decisions_table(tally: Tally, locale: str = "en") -> Table:
    """Members by decision and reason; the last line is the audience, which they add up to."""
    table = _table(f"{word('members', locale)} · {word('decision', locale)}")
    table.add_column(word("decision", locale), no_wrap=True)
    table.add_column(word("reason", locale), overflow="fold")
    table.add_column(word("members", locale), justify="right")
    table.add_column(word("share", locale), justify="right")
    for decision in tally.decisions:
        name = Text(word(decision.name, locale), style=_STYLE[decision.name])
        part = per_cent(decision.members / tally.audience)
        table.add_row(name, Text(reason_words(decision.reason, locale)), number(decision.members), part)
    table.add_section()
    whole = per_cent(1) if tally.audience else "–"
    table.add_row(word("audience", locale), "", number(tally.audience), whole, style="bold")
    return table


def reach_table(found: Findings, locale: str = "en") -> Table:
    """Reach and reopen per arm with the holdout: counts, rates, and the difference with its 95 % interval."""
    table = _table(f"{word('h_lift', locale)}")
    table.add_column(word("group", locale), no_wrap=True)
    for name in ("eligible", "sent", "accepted", "delivered", "opened", "reopened"):
        table.add_column(word(name, locale), justify="right")
    for name in ("rate", "difference", "interval"):
        table.add_column(word(name, locale), justify="right")
    for finding in found.rows:
        table.add_row(*_reach_row(finding, locale), style="cyan" if finding.group.held_out else "")
    if len(found.arms) > 1:
        table.add_section()
        table.add_row(*_reach_row(found.overall, locale), style="bold")
    return table


def _reach_row(finding: Finding, locale: str) -> list[str]:
    group = finding.group
    reached = (group.sent, group.accepted, group.delivered, group.opened)
    counts = ["–"] * len(reached) if group.held_out else [number(count) for count in reached]
    rate = per_cent(finding.rate.rate) if group.eligible else "–"
    lift, interval = _difference(finding, locale)
    return [
        words.group_name(finding, locale),
        number(group.eligible),
        *counts,
        number(group.reopened),
        rate,
        lift,
        interval,
    ]


def _difference(finding: Finding, locale: str) -> tuple[str, str]:
    if finding.group.held_out:
        return "–", "–"
    if finding.difference is None:
        why = "no_holdout" if finding.verdict is Verdict.NO_HOLDOUT else "too_few"
        return "–", word(why, locale)
    gap = finding.difference
    return points(gap.points), f"{points(gap.low)} … {points(gap.high)}"


def funnel_table(tally: Tally, locale: str = "en") -> Table:
    """Reach by users and by messages, each counted once."""
    table = _table(word("h_reach", locale))
    table.add_column(word("stage", locale))
    table.add_column(word("users", locale), justify="right")
    table.add_column(word("messages", locale), justify="right")
    for stage in tally.stages:
        messages = "–" if stage.messages is None else number(stage.messages)
        table.add_row(word(stage.name, locale), number(stage.users), messages)
    return table


def refusals_table(found: Findings, locale: str = "en") -> Table:
    """Unsubscribes and complaints per arm with the holdout, against their limits."""
    table = _table(word("h_refusals", locale))
    table.add_column(word("group", locale), no_wrap=True)
    for kind in LIMITS:
        table.add_column(word(kind, locale), justify="right")
        table.add_column(f"{word('interval', locale)} < {LIMITS[kind] * 100:g} %", justify="right")
        table.add_column(word("guard", locale))
    for finding in found.rows:
        cells = [part for harm in finding.harms for part in _harm(harm, locale)]
        table.add_row(words.group_name(finding, locale), *cells, style="cyan" if finding.group.held_out else "")
    return table


def _harm(harm: Harm, locale: str) -> tuple[str, str, Text]:
    style = {Guard.CROSSED: "bold red", Guard.UNCLEAR: "yellow", Guard.KEPT: "green"}[harm.guard]
    ends = words.interval(harm.rate.low, harm.rate.high)
    return number(harm.rate.count), ends, Text(word(harm.guard, locale), style=style)


def channels_table(tally: Tally, locale: str = "en") -> Table:
    """Each channel's messages by stage, and by whom they were opened and clicked."""
    table = _table(word("h_channels", locale))
    table.add_column(word("channel", locale), no_wrap=True)
    stages = ("planned", "sent", "accepted", "delivered")
    for stage in stages:
        table.add_column(word(stage, locale), justify="right")
    for what in ("opens_by", "clicks_by"):
        kinds = " / ".join(word(kind, locale) for kind in ("human", "suspect", "machine"))
        table.add_column(f"{word(what, locale)} {kinds}", justify="right")
    for one in tally.channels:
        split = (f"{kinds.human} / {kinds.suspect} / {kinds.machine}" for kinds in (one.opens, one.clicks))
        table.add_row(word(one.channel, locale), *(number(one.messages[stage]) for stage in stages), *split)
    return table


def value_table(found: Findings, locale: str = "en") -> Table:
    """What conversions were worth, a head, with the difference to the holdout."""
    table = _table(word("h_value", locale))
    table.add_column(word("group", locale), no_wrap=True)
    for name in ("converted", "value", "value_a_head", "interval", "value_difference", "interval"):
        table.add_column(word(name, locale), justify="right")
    for finding in found.rows:
        cells = (number(finding.group.converted), words.money(finding.group.value), *worth_words(finding))
        table.add_row(words.group_name(finding, locale), *cells, style="cyan" if finding.group.held_out else "")
    return table


def worth_words(finding: Finding) -> tuple[str, str, str, str]:
    """A head, its interval, the difference, its interval."""
    worth = finding.worth
    ends = " … ".join(words.money(end) for end in worth.interval) if worth.interval else "–"
    gap = worth.difference
    apart = (words.money(gap.points), f"{words.money(gap.low)} … {words.money(gap.high)}") if gap else ("–", "–")
    return (words.money(worth.values.mean), ends, *apart)


NARROW = 100
_LEFT_OUT = (2, 4, 5)
"""Sent, delivered, opened: what a narrow console does without."""


def fitting(table: Table, width: int | None) -> Table:
    """The reach table with fewer columns where they would be cut to bits; the page has them all."""
    if width is not None and width < NARROW:
        table.columns = [column for place, column in enumerate(table.columns) if place not in _LEFT_OUT]
    return table


def report(tally: Tally, found: Findings, locale: str = "en", width: int | None = None) -> Stack:
    """The whole report for a console of ``width`` columns."""
    heading = Text(f"{words.title(tally.launched, locale)}  ({tally.launched.name})", style="bold")
    notes = [Text(f"! {note}", style="yellow") for note in sentences.caveats(tally, found, locale)]
    parts: list[RenderableType] = [
        heading,
        Text(sentences.headline(found, locale)),
        *notes,
        Padding(decisions_table(tally, locale), (1, 0)),
        funnel_table(tally, locale),
        Padding(fitting(reach_table(found, locale), width), (1, 0)),
        Text(sentences.lasting_sentence(found, locale)),
        Padding(refusals_table(found, locale), (1, 0, 0, 0)),
        *([Padding(value_table(found, locale), (1, 0, 0, 0))] if tally.launched.conversion else []),
        Padding(channels_table(tally, locale), (1, 0)),
        Text(sentences.hours_sentence(tally, locale), style="red" if tally.hours.outside else ""),
        Text(word("s_lift", locale), style="dim"),
    ]
    return Stack(*parts)
