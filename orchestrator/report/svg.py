"""A few functions that write SVG: escaped, titled, described, styled by the page's own CSS."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from markupsafe import Markup, escape

FONT = 13
"""Pixels; a picture is drawn once for a wide and once for a narrow page, so that text keeps this size on both."""
_LATIN, _WIDE = 0.56, 1.0


def tag(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """An element; ``class_`` is class, ``stroke_width`` is stroke-width; children and values are escaped."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _short(value)) for key, value in attributes.items()
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inside)  # noqa: S704  # a name of ours


def _short(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def picture(
    width: float, height: float, ident: str, title: str, description: str, children: Iterable[Markup]
) -> Markup:
    """A whole picture that a screen reader can announce."""
    named = {"role": "img", "aria_labelledby": f"{ident}-t {ident}-d"}
    told = (tag("title", title, id=f"{ident}-t"), tag("desc", description, id=f"{ident}-d"))
    size = {"viewBox": f"0 0 {width:.0f} {height:.0f}", "width": float(width), "height": float(height)}
    return tag("svg", *told, *children, **size, **named)


def text(x: float, y: float, words: str, anchor: str = "start", class_: str = "") -> Markup:
    """Words with their baseline at ``y``."""
    more = {"class_": class_} if class_ else {}
    return tag("text", words, x=float(x), y=float(y), text_anchor=anchor, **more)


def bar(x: float, y: float, width: float, height: float, class_: str, radius: float = 2) -> Markup:
    """A rectangle, never thinner than can be seen when there is something to show."""
    return tag(
        "rect", x=float(x), y=float(y), width=float(max(width, 0)), height=float(height), rx=radius, class_=class_
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def path(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """A line through points."""
    return tag("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=class_, fill="none")


def width_of(words: str, size: float = FONT) -> float:
    """About how wide words will be: what East Asian tables call wide counts as one em."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in words)
    return size * (wide * _WIDE + (len(words) - wide) * _LATIN)


@dataclass(frozen=True, slots=True)
class Scale:
    """From values between ``low`` and ``high`` to pixels between ``start`` and ``end``; call it with a value."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, about: int) -> Iterator[float]:
    """Round values between ``low`` and ``high``, ``about`` so many."""
    step = _round_step((high - low) / max(about, 1))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return (n * step for n in range(first, last + 1))


def _round_step(wanted: float) -> float:
    if wanted <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(wanted))
    return next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= wanted * 0.999)


def apart(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """The same heights moved so that labels at them are ``gap`` apart, within ``low`` and ``high`` where they fit."""
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    placed = list(wanted)
    edge = low
    for index in order:
        placed[index] = edge = max(placed[index], edge)
        edge += gap
    edge = high
    for index in reversed(order):
        placed[index] = edge = min(placed[index], edge)
        edge -= gap
    return placed
