"""The report as one self-contained page: opens offline, in both languages, on a phone, by day and by night."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.report import plots, sentences, words
from orchestrator.report.findings import Findings
from orchestrator.report.reasons import LOCALES, reason_words
from orchestrator.report.terminal import worth_words
from orchestrator.report.values import Tally, ZoneCount
from orchestrator.report.words import per_cent, word

SHOWN_ZONES = 14
ENOUGH_FOR_A_RATE = 50
"""A zone with fewer people shows its count alone: a rate of few would only look like news."""


def page(tally: Tally, found: Findings, locale: str = "en") -> str:
    """The page, showing ``locale`` first; the other language is in it, one button away."""
    first = "zh" if locale.lower().startswith("zh") else "en"
    bodies = {one: Markup(_body(tally, found, one)) for one in LOCALES}  # noqa: S704  # rendered with autoescape
    titles = {one: f"{words.title(tally.launched, one)} · {word('report', one)}" for one in LOCALES}
    return environment().get_template("page.html.j2").render(first=first, bodies=bodies, titles=titles)


@cache
def environment() -> Environment:
    """What renders our own pages: everything escaped, every name known."""
    loader = PackageLoader("orchestrator.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _body(tally: Tally, found: Findings, locale: str) -> str:
    return (
        environment()
        .get_template("body.html.j2")
        .render(
            tally=tally,
            found=found,
            locale=locale,
            title=words.title(tally.launched, locale),
            headline=sentences.headline(found, locale),
            lasting=sentences.lasting_sentence(found, locale),
            interval=words.interval,
            money=words.money,
            worth=worth_words,
            arms=[
                (sentences.arm_sentence(arm, locale), plots.tint(tally, arm.group.name, held_out=False))
                for arm in found.arms
            ],
            caveats=sentences.caveats(tally, found, locale),
            hours_sentence=sentences.hours_sentence(tally, locale),
            zones=zone_rows(tally.zones),
            within=words.span_words(tally.launched.within, locale),
            meanings={name: phrase.in_(locale) for name, phrase in words.STAGE_MEANING.items()},
            pictures=_pictures(tally, found, locale),
            w=lambda key: word(key, locale),
            reason=lambda key: reason_words(key, locale),
            zone=lambda key: words.zone_words(key, locale),
            group=lambda finding: words.group_name(finding, locale),
            difference=lambda finding: plots.difference_words(finding, locale),
            tint=lambda group: plots.tint(tally, group.name, held_out=group.held_out),
            number=words.number,
            enough=ENOUGH_FOR_A_RATE,
            per_cent=per_cent,
        )
    )


def _pictures(tally: Tally, found: Findings, locale: str) -> dict[str, Markup]:
    """Each picture drawn for a wide and for a narrow page; the style sheet shows one of them."""
    drawn: dict[str, Callable[[int], Markup]] = {
        "lift": lambda width: plots.lift(tally, found, locale, width),
        "funnel": lambda width: plots.funnel(tally, locale, width),
        "curve": lambda width: plots.curve(tally, locale, width),
        "decisions": lambda width: plots.decisions(tally, locale, width),
        "hours": lambda width: plots.hours(tally, locale, width),
    }
    frame = Markup('<div class="wide">{}</div><div class="narrow">{}</div>')
    return {name: frame.format(draw(plots.WIDE), draw(plots.NARROW)) for name, draw in drawn.items()}


def zone_rows(zones: tuple[ZoneCount, ...]) -> list[tuple[ZoneCount, int]]:
    """The largest zones, and the rest in one row, each with how many zones it stands for."""
    if len(zones) <= SHOWN_ZONES + 1:
        return [(zone, 1) for zone in zones]
    rest = zones[SHOWN_ZONES:]
    names = ("members", "planned", "treated", "sent", "accepted", "reopened")
    others = ZoneCount("", *(sum(getattr(zone, name) for zone in rest) for name in names))
    return [*((zone, 1) for zone in zones[:SHOWN_ZONES]), (others, len(rest))]
