"""A rehearsal on a console: a sentence, what to beware of, and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from orchestrator.rehearsal import words
from orchestrator.rehearsal.plots import hour_of
from orchestrator.rehearsal.values import Rehearsed
from orchestrator.rehearsal.words import word
from orchestrator.report.reasons import reason_words
from orchestrator.report.terminal import decisions_table
from orchestrator.report.words import money, number, per_cent, zone_words

_ZONES = 8
_BLOCKS = " ▁▂▃▄▅▆▇█"
_DAYS = 31


def show(found: Rehearsed, locale: str = "en") -> RenderableType:
    """Everything there is to say."""
    parts: list[RenderableType] = [
        Text(words.headline(found, locale), style="bold"),
        Text(words.basis(found, locale), style="dim"),
        *(Text(note, style="dim") for note in found.notes),
        *(Text(f"! {words.caution(one, locale)}", style="yellow") for one in found.cautions),
    ]
    return Stack(*parts, *(Padding(table, (1, 0, 0, 0)) for table in _tables(found, locale)))


def _tables(found: Rehearsed, locale: str) -> Iterator[Table]:
    if found.cells:
        yield _when(found, locale)
        yield _zones(found, locale)
    if found.tally.audience:
        yield decisions_table(found.tally, locale)
    if found.tally.steps:
        yield _steps(found, locale)
    if found.whys:
        yield _whys(found, locale)
    if found.loads:
        yield _loads(found, locale)
    if found.sms:
        yield _sms(found, locale)
    if found.neighbours:
        yield _neighbours(found, locale)
    yield _assumptions(found, locale)


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...], locale: str) -> Table:
    table = Table(
        title=word(title, locale),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        show_edge=False,
        pad_edge=False,
    )
    for name in left:
        table.add_column(word(name, locale))
    for name in right:
        table.add_column(word(name, locale), justify="right")
    return table


def _spark(counts: Counter[int], most: int) -> str:
    """A day's hours as 24 blocks."""
    return "".join(_BLOCKS[min(8, -(-counts[hour] * 8 // most))] if most else " " for hour in range(24))


def _when(found: Rehearsed, locale: str) -> Table:
    """A row a day of UTC, its hours as blocks, and its messages by channel."""
    days: dict[str, Counter[int]] = {}
    channels: dict[str, Counter[str]] = {}
    for cell in found.cells:
        day = cell.hour.date().isoformat()
        days.setdefault(day, Counter())[cell.hour.hour] += cell.messages
        channels.setdefault(day, Counter())[cell.channel] += cell.messages
    most = max(count for hours in days.values() for count in hours.values())
    names = tuple(dict.fromkeys(cell.channel for cell in found.cells))
    table = _table("h_when", ("day",), (*names, "messages"), locale)
    table.add_column("00    06    12    18    ", no_wrap=True, style="cyan")
    for day in sorted(days)[:_DAYS]:
        each = (number(channels[day][name]) for name in names)
        table.add_row(day, *each, number(days[day].total()), _spark(days[day], most))
    return table


def _zones(found: Rehearsed, locale: str) -> Table:
    """A row a zone, with the hours of the recipients' own day."""
    zones: dict[str, Counter[int]] = {}
    for cell in found.cells:
        zones.setdefault(cell.zone, Counter())[hour_of(cell)] += cell.messages
    order = sorted(zones.items(), key=lambda item: (-item[1].total(), item[0]))
    if len(order) > _ZONES + 1:
        rest = sum((hours for _, hours in order[_ZONES:]), Counter())
        order = [*order[:_ZONES], (f"{word('zone_others', locale)} ({len(order) - _ZONES})", rest)]
    most = max(count for _, hours in order for count in hours.values())
    table = _table("h_zones", ("zone",), ("messages",), locale)
    table.add_column("00    06    12    18    ", no_wrap=True, style="cyan")
    for zone, hours in order:
        table.add_row(zone_words(zone, locale), number(hours.total()), _spark(hours, most))
    return table


def _steps(found: Rehearsed, locale: str) -> Table:
    """Columns in which there is nothing are left out."""
    states = {
        "skipped": "skipped",
        "expired": "expired",
        "failed": "failed",
        "held_out": "held_out",
        "pending": "planned",
    }
    rows = found.tally.steps
    seen = [name for name, state in states.items() if any(row.states.get(state) for row in rows)]
    table = _table("h_steps", ("step", "channel"), ("planned", "sent", "delivered", *seen), locale)
    for row in rows:
        counts = (row.messages, row.sent, row.delivered, *(row.states.get(states[name], 0) for name in seen))
        table.add_row(str(row.step), word(row.channel, locale), *map(number, counts))
    return table


def _whys(found: Rehearsed, locale: str) -> Table:
    table = _table("h_whys", ("became", "step", "reason"), ("messages",), locale)
    for row in found.whys:
        reason = reason_words(row.reason, locale)
        table.add_row(word(row.became, locale), str(row.step), Text(reason), number(row.messages))
    return table


def _loads(found: Rehearsed, locale: str) -> Table:
    table = _table("h_loads", ("account",), ("messages", "ours", "busiest", "limit", "waited", "longest"), locale)
    for row in found.loads:
        counts = (row.sent, row.ours, row.busiest, row.limit, row.waited)
        table.add_row(row.account, *map(number, counts), words.wait(row.longest, locale))
    return table


def _sms(found: Rehearsed, locale: str) -> Table:
    table = _table("h_sms", ("day",), ("messages", "parts"), locale)
    assert found.sms is not None
    for day, messages, parts in found.sms.days[:_DAYS]:
        table.add_row(day, number(messages), number(parts))
    table.add_section()
    cost = "" if found.sms.cost is None else f", {word('cost', locale)} {money(found.sms.cost)}"
    table.add_row(f"{word('total', locale)}{cost}", number(found.sms.messages), number(found.sms.parts), style="bold")
    return table


def _neighbours(found: Rehearsed, locale: str) -> Table:
    table = _table("h_neighbours", ("campaign",), ("sent", "capped", "after_ours"), locale)
    for row in found.neighbours:
        table.add_row(row.campaign, number(row.sent), number(row.capped), number(row.after_ours))
    return table


def _assumptions(found: Rehearsed, locale: str) -> Table:
    table = _table("h_assumptions", ("channel", "answer"), ("rate",), locale)
    table.add_column(word("source", locale))
    for row in found.assumptions:
        name = word(row.channel, locale) if row.channel else "–"
        table.add_row(name, word(f"rate_{row.name}", locale), per_cent(row.rate), word(row.source, locale))
    return table
