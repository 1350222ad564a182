"""The pictures of the page. Each is a function of values, locale and width in pixels, and draws for that width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from orchestrator.report import sentences, words
from orchestrator.report.findings import Finding, Findings, Verdict
from orchestrator.report.hours import BIN, inside
from orchestrator.report.svg import Scale, apart, bar, line, path, picture, text, ticks, width_of
from orchestrator.report.values import Curve, Decision, Stage, Tally
from orchestrator.report.words import number, per_cent, points, word

WIDE, NARROW = 720, 342
_ROW = 34
_COLOURS = 6


def tint(tally: Tally, group: str, *, held_out: bool) -> str:
    """The class that colours a group, the same in every picture."""
    if held_out:
        return "g-holdout"
    names = [arm.name for arm in tally.arms]
    return f"g{names.index(group) % _COLOURS}" if group in names else "g-all"


# --- reach -----------------------------------------------------------------------------------------------------------


def funnel(tally: Tally, locale: str, width: int) -> Markup:
    """Bars from the audience to those who converted: users, their share of the audience, and (if wide) messages."""
    most = max((stage.users for stage in tally.stages), default=0) or 1
    letters = max((stage.messages or 0 for stage in tally.stages), default=0)
    left = max(width_of(word(stage.name, locale)) for stage in tally.stages) + 14
    column = max(width_of(number(letters)), width_of(word("messages", locale))) + 18 if width >= WIDE else 0
    people = max(width_of(number(most)), width_of(word("users", locale)))
    right = width - people - width_of("100.0 %") - 26 - column
    scale = Scale(0, most, left, right)
    ends = right + 14 + people, width - column, width if column else None
    drawn = list(_funnel_heads(ends, locale))
    drawn += [item for row, stage in enumerate(tally.stages) for item in _stage(stage, row, scale, ends, locale)]
    said = ", ".join(f"{word(stage.name, locale)} {number(stage.users)}" for stage in tally.stages)
    height = _stage_top(len(tally.stages))
    return picture(width, height, f"funnel-{locale}-{width}", word("h_reach", locale), said, drawn)


_Ends = tuple[float, float, float | None]
"""Where the columns of a funnel end: users, share, messages (None: no room)."""


def _funnel_heads(ends: _Ends, locale: str) -> Iterator[Markup]:
    yield text(ends[0], 12, word("users", locale), "end", "soft")
    if ends[2] is not None:
        yield text(ends[2], 12, word("messages", locale), "end", "soft")


def _stage_top(row: int) -> float:
    """What people did stands a little apart from what we did."""
    return 20 + row * 30 + (10 if row > 4 else 0)  # noqa: PLR2004  # audience, planned, sent, accepted, delivered


def _stage(stage: Stage, row: int, scale: Scale, ends: _Ends, locale: str) -> Iterator[Markup]:
    top = _stage_top(row)
    end = max(scale(stage.users), scale.start + (1.5 if stage.users else 0))
    shade = {"delivered": "bar-proof", "opened": "bar-people", "reopened": "bar-people", "converted": "bar-people"}
    yield text(scale.start - 12, top + 17, word(stage.name, locale), "end")
    yield bar(scale.start, top + 3, scale.end - scale.start, 20, "track", 3)
    yield bar(scale.start, top + 3, end - scale.start, 20, shade.get(stage.name, "bar"), 3)
    yield text(ends[0], top + 17, number(stage.users), "end", "strong")
    yield text(ends[1], top + 17, per_cent(stage.users / scale.high), "end", "soft")
    if ends[2] is not None and stage.messages is not None:
        yield text(ends[2], top + 17, number(stage.messages), "end")


# --- lift ------------------------------------------------------------------------------------------------------------


def lift(tally: Tally, found: Findings, locale: str, width: int) -> Markup:
    """A dot and its 95 % interval for each arm: points more or fewer than the holdout, which is the line at zero."""
    rows = [*found.arms, found.overall] if len(found.arms) > 1 else list(found.arms)
    names = max((width_of(words.group_name(row, locale)) for row in rows), default=0)
    left = max(names, width_of(word("holdout", locale))) + width_of("100.0 %") + 34
    scale = Scale(*_reach_of(rows), left, width - 14)
    top, foot = 26, 26 + len(rows) * _ROW
    drawn = list(_lift_axis(scale, top, foot, locale, width))
    for index, row in enumerate(rows):
        drawn += _lift_row(tally, row, scale, top + index * _ROW + _ROW / 2, locale)
    said = " ".join(sentences.arm_sentence(row, locale) for row in found.arms)
    return picture(width, foot + 44, f"lift-{locale}-{width}", word("h_lift", locale), said, drawn)


def _reach_of(rows: Sequence[Finding]) -> tuple[float, float]:
    gaps = [gap for row in rows for gap in (row.difference, row.sequential) if gap]
    low, high = min([-0.02, *(gap.low for gap in gaps)]), max([0.02, *(gap.high for gap in gaps)])
    room = (high - low) * 0.06
    return (low - room) * 100, (high + room) * 100


def _lift_axis(scale: Scale, top: float, foot: float, locale: str, width: int) -> Iterator[Markup]:
    for tick in ticks(scale.low, scale.high, 6 if width >= WIDE else 4):
        x = scale(tick)
        yield line(x, top, x, foot, "zero" if abs(tick) < 1e-9 else "grid")  # noqa: PLR2004  # nothing but rounding
        yield text(x, foot + 18, f"{tick:+g}".replace("-", "−") if abs(tick) > 1e-9 else "0", "middle", "soft")  # noqa: PLR2004
    yield text(scale(0), top - 10, word("holdout", locale), "middle", "soft")
    axis = word("difference_axis", locale)
    middle = min((scale.start + scale.end) / 2, width - width_of(axis) / 2)
    yield text(middle, foot + 38, axis, "middle", "soft")


def _lift_row(tally: Tally, row: Finding, scale: Scale, y: float, locale: str) -> Iterator[Markup]:
    shade = tint(tally, row.group.name, held_out=False)
    yield text(0, y + 5, words.group_name(row, locale), class_="strong")
    rate = per_cent(row.rate.rate) if row.group.eligible else "–"
    yield text(scale.start - 16, y + 5, rate, "end", "soft")
    if row.difference is None:
        why = "no_holdout" if row.verdict is Verdict.NO_HOLDOUT else "too_few"
        yield text(scale.start + 8, y + 5, word(why, locale), class_="soft backed")
        return
    gap = row.difference
    low, high = scale(gap.low * 100), scale(gap.high * 100)
    if row.sequential is not None:
        yield line(scale(row.sequential.low * 100), y, scale(row.sequential.high * 100), y, f"always {shade}")
    yield line(low, y, high, y, f"whisker {shade}")
    yield from (line(end, y - 5, end, y + 5, f"whisker {shade}") for end in (low, high))
    yield Markup('<circle cx="{:.1f}" cy="{:.1f}" r="6" class="dot {}"/>').format(scale(gap.points * 100), y, shade)


# --- curve -----------------------------------------------------------------------------------------------------------


def curve(tally: Tally, locale: str, width: int) -> Markup:
    """Share that came back, by hours since the run opened; the holdout dashed."""
    height, top, foot = (300, 14, 246) if width >= WIDE else (270, 14, 216)
    most = max((share for one in tally.curves for _, share in one.points), default=0) * 1.08 or 0.1
    last = max((hour for one in tally.curves for hour, _ in one.points), default=0) or 24
    labels = max((width_of(_curve_name(one, locale)) for one in tally.curves), default=0)
    across, up = Scale(0, last, 44, width - labels * 1.15 - 12), Scale(0, most, foot, top)
    drawn = [*_curve_axes(across, up, locale, width), *_curve_lines(tally, across, up, locale)]
    said = ", ".join(f"{_curve_name(one, locale)} {per_cent(one.points[-1][1])}" for one in tally.curves if one.points)
    return picture(width, height, f"curve-{locale}-{width}", word("h_curve", locale), said, drawn)


def _curve_name(one: Curve, locale: str) -> str:
    return word("holdout", locale) if one.held_out else one.group


def _curve_axes(across: Scale, up: Scale, locale: str, width: int) -> Iterator[Markup]:
    for tick in ticks(0, up.high, 4):
        yield line(across.start, up(tick), across.end, up(tick), "base" if tick == 0 else "grid")
        yield text(across.start - 8, up(tick) + 4, f"{tick * 100:g}\N{NARROW NO-BREAK SPACE}%", "end", "soft")
    step = 6 if across.high <= 30 or width >= WIDE else 12  # noqa: PLR2004  # labels must not touch
    every = step if across.high <= 80 else 24  # noqa: PLR2004  # about so many labels fit
    for hour in range(0, int(across.high) + 1, every):
        yield text(across(hour), up.start + 20, str(hour), "middle", "soft")
    axis = word("hours_since", locale)
    yield text(max((across.start + across.end) / 2, width_of(axis) / 2), up.start + 42, axis, "middle", "soft")


def _curve_lines(tally: Tally, across: Scale, up: Scale, locale: str) -> Iterator[Markup]:
    shown = [one for one in tally.curves if one.points]
    heights = apart([up(one.points[-1][1]) for one in shown], 17, up.end, up.start)
    for one, height in zip(shown, heights, strict=True):
        shade = tint(tally, one.group, held_out=one.held_out)
        yield path(((across(hour), up(share)) for hour, share in one.points), f"curve {shade}")
        yield text(across(one.points[-1][0]) + 8, height + 4, _curve_name(one, locale), class_=f"label {shade}")


# --- decisions -------------------------------------------------------------------------------------------------------


def decisions(tally: Tally, locale: str, width: int) -> Markup:
    """One bar of everybody, divided by decision."""
    total = tally.audience or 1
    scale, drawn, before = Scale(0, total, 0, width), [], 0
    for name, count in by_decision(tally.decisions).items():
        start, end = scale(before), scale(before + count)
        drawn.append(bar(start, 0, max(end - start - 1, 0.8), 40, f"d-{name}", 1))
        label = per_cent(count / total)
        if end - start > width_of(label) + 14:
            drawn.append(text(start + 8, 25, label, class_=f"on on-{name}"))
        before += count
    said = ", ".join(f"{word(name, locale)} {number(n)}" for name, n in by_decision(tally.decisions).items())
    return picture(width, 40, f"decisions-{locale}-{width}", word("h_decisions", locale), said, drawn)


def by_decision(decisions: Sequence[Decision]) -> dict[str, int]:
    """Members by decision, reasons added up."""
    totals: dict[str, int] = {}
    for decision in decisions:
        totals[decision.name] = totals.get(decision.name, 0) + decision.members
    return totals


# --- hours -----------------------------------------------------------------------------------------------------------

_AROUND = 180  # minutes shown before and after the window


def hours(tally: Tally, locale: str, width: int) -> Markup:
    """Requests by the minute of the recipient's day; the window shaded; bars outside it in the colour of alarm."""
    first, last = _shown(tally)
    across = Scale(first, last, 44, width - 20)
    up = Scale(0, (max(tally.hours.bins) or 1) * 1.1, 190, 22)
    drawn = [*_window(tally, across, up, locale), *_hour_axes(across, up, locale)]
    for index, count in enumerate(tally.hours.bins):
        if count:
            start, end = across(index * BIN), across((index + 1) * BIN)
            held = not tally.hours.openings or inside(index * BIN, tally.hours.openings)
            drawn.append(
                bar(start + 0.3, up(count), end - start - 0.6, up.start - up(count), "bar" if held else "bar-alarm", 1)
            )
    said = sentences.hours_sentence(tally, locale)
    return picture(width, 236, f"hours-{locale}-{width}", word("h_hours", locale), said, drawn)


def _shown(tally: Tally) -> tuple[int, int]:
    """The minutes of the day to draw: around the window, and wherever anything left."""
    used = [index * BIN for index, count in enumerate(tally.hours.bins) if count]
    low = min([start for start, _ in tally.hours.openings] + used, default=0)
    high = max([end for _, end in tally.hours.openings] + [minute + BIN for minute in used], default=24 * 60)
    return max(0, (low - _AROUND) // 60 * 60), min(24 * 60, -(-(high + _AROUND) // 60) * 60)


def _window(tally: Tally, across: Scale, up: Scale, locale: str) -> Iterator[Markup]:
    openings = tally.hours.openings
    for start, end in openings:
        yield bar(across(start), up.end, across(end) - across(start), up.start - up.end, "window", 0)
    if openings:
        low, high = min(start for start, _ in openings), max(end for _, end in openings)
        label = f"{word('window', locale)} {sentences.openings_words(tally)}"
        half = width_of(label) / 2
        middle = min(max((across(low) + across(high)) / 2, across.start + half), across.end - half)
        yield text(middle, up.end - 8, label, "middle", "soft")


def _hour_axes(across: Scale, up: Scale, locale: str) -> Iterator[Markup]:
    for tick in ticks(0, up.high, 3):
        if tick == int(tick):
            yield line(across.start, up(tick), across.end, up(tick), "base" if tick == 0 else "grid")
            yield text(across.start - 8, up(tick) + 4, number(tick), "end", "soft")
    room = (across.end - across.start) / max(1, (across.high - across.low) / 60)
    every = next(step for step in (1, 2, 3, 6, 24) if room * step > 44)  # noqa: PLR2004  # the width of "00:00"
    for hour in range(int(across.low) // 60, int(across.high) // 60 + 1, every):
        yield text(across(hour * 60), up.start + 18, f"{hour:02}:00", "middle", "soft")
    yield text((across.start + across.end) / 2, up.start + 40, word("local_hour", locale), "middle", "soft")


def difference_words(row: Finding, locale: str) -> str:
    """``+4.1 (1.2 … 7.0)`` for a table, or why there is none."""
    if row.group.held_out:
        return "–"
    if row.difference is None:
        return word("no_holdout" if row.verdict is Verdict.NO_HOLDOUT else "too_few", locale)
    gap = row.difference
    return f"{points(gap.points)} ({points(gap.low)} … {points(gap.high)})"
