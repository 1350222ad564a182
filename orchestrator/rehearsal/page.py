"""A rehearsal as one self-contained page, in the manner of the report's: both languages, a phone, day and night."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.rehearsal import plots, words
from orchestrator.rehearsal.values import Rehearsed
from orchestrator.rehearsal.words import word
from orchestrator.report import plots as report_plots
from orchestrator.report.plots import NARROW, WIDE
from orchestrator.report.reasons import LOCALES, reason_words
from orchestrator.report.words import money, number, per_cent, title


def page(found: Rehearsed, locale: str = "en") -> str:
    """The page, showing ``locale`` first; the other language is in it, one button away."""
    first = "zh" if locale.lower().startswith("zh") else "en"
    bodies = {one: Markup(_body(found, one)) for one in LOCALES}  # noqa: S704  # rendered with autoescape
    titles = {one: f"{title(found.tally.launched, one)} · {word('rehearsal', one)}" for one in LOCALES}
    return _environment().get_template("page.html.j2").render(first=first, bodies=bodies, titles=titles)


@cache
def _environment() -> Environment:
    """Our own template in the report's frame: everything escaped, every name known."""
    loaders = [PackageLoader("orchestrator.rehearsal", "templates"), PackageLoader("orchestrator.report", "templates")]
    return Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def _body(found: Rehearsed, locale: str) -> str:
    return (
        _environment()
        .get_template("rehearsal.html.j2")
        .render(
            found=found,
            tally=found.tally,
            locale=locale,
            title=title(found.tally.launched, locale),
            headline=words.headline(found, locale),
            basis=words.basis(found, locale),
            cautions=[words.caution(one, locale) for one in found.cautions],
            stages={stage.name: stage for stage in found.tally.stages},
            channels=list(dict.fromkeys(cell.channel for cell in found.cells)),
            shade=plots.shade_of,
            loads=[(one, _both(partial(plots.load, found, one, locale))) for one in found.loads],
            pictures=_pictures(found, locale),
            w=lambda key: word(key, locale),
            reason=lambda key: reason_words(key, locale),
            wait=lambda span: words.wait(span, locale),
            number=number,
            money=money,
            per_cent=per_cent,
        )
    )


def _pictures(found: Rehearsed, locale: str) -> dict[str, Markup]:
    return {
        "when": _both(lambda width: plots.when(found, locale, width)),
        "zones": _both(lambda width: plots.zones(found, locale, width)),
        "decisions": _both(lambda width: report_plots.decisions(found.tally, locale, width)),
    }


_FRAME = Markup('<div class="wide">{}</div><div class="narrow">{}</div>')


def _both(draw: Callable[[int], Markup]) -> Markup:
    """A picture for a wide and for a narrow page; the style sheet shows one of them."""
    return _FRAME.format(draw(WIDE), draw(NARROW))
