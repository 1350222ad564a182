"""The retention report as one self-contained page, in the manner of the campaign's."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from orchestrator.report import retention_plots as plots
from orchestrator.report import retention_words as words
from orchestrator.report.html import environment
from orchestrator.report.plots import NARROW, WIDE
from orchestrator.report.reasons import LOCALES
from orchestrator.report.retention import Retention
from orchestrator.report.retention_words import word
from orchestrator.report.words import interval, number, per_cent


def page(found: Retention, locale: str = "en") -> str:
    """The page, showing ``locale`` first; the other language is in it, one button away."""
    first = "zh" if locale.lower().startswith("zh") else "en"
    bodies = {one: Markup(_body(found, one)) for one in LOCALES}  # noqa: S704  # rendered with autoescape
    titles = {one: word("report", one) for one in LOCALES}
    return environment().get_template("page.html.j2").render(first=first, bodies=bodies, titles=titles)


def _body(found: Retention, locale: str) -> str:
    return (
        environment()
        .get_template("retention.html.j2")
        .render(
            found=found,
            last=found.last,
            locale=locale,
            headline=words.headline(found, locale),
            caveats=words.caveats(found, locale),
            source=words.source(found, locale),
            pictures=_pictures(found, locale),
            w=lambda key: word(key, locale),
            counted=lambda key, count: words.counted(key, count, locale),
            rate=lambda share: "–" if share is None else per_cent(share),
            churn=words.churn,
            stickiness=words.stickiness,
            share_of=words.share_of,
            number=number,
            interval=interval,
        )
    )


def _pictures(found: Retention, locale: str) -> dict[str, Markup]:
    drawn: dict[str, Callable[[int], Markup]] = {
        "active": lambda width: plots.active(found, locale, width),
        "back": lambda width: plots.back(found, locale, width),
        "churn": lambda width: plots.churn(found, locale, width),
        "heat": lambda width: plots.heat(found, locale, width),
    }
    frame = Markup('<div class="wide">{}</div><div class="narrow">{}</div>')
    return {name: frame.format(draw(WIDE), draw(NARROW)) for name, draw in drawn.items()}
