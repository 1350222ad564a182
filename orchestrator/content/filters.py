"""The filters a template may use. Each is bounded: what it makes is foreseen, or charged to the render's budget.

A filter's Python signature is its template signature; the survey binds it, so a missing argument is found at validate.
A parameter called ``locale`` is filled in with the locale of the render.
"""

from __future__ import annotations

import inspect
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

from orchestrator.content.budget import MAX_VALUE, TemplateFault
from orchestrator.content.formats import money, written_date

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_LONGEST_NUMBER = 30
_GRAPHEME_REACH = 32
_JOINER = "\u200d"
_REGIONAL = range(0x1F1E6, 0x1F200)
_EXTENDERS = (range(0xFE00, 0xFE10), range(0x1F3FB, 0x1F400), range(0xE0020, 0xE0080))


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TemplateFault("a filter for texts was given something else")
    return str(value)


def default(value: object, fallback: str | float) -> object:
    """The fallback for what is missing, None or blank. Zero and false are values."""
    return fallback if value is None or (isinstance(value, str) and not value.strip()) else value


def upper(value: object) -> str:
    """In capitals."""
    return _text(value).upper()


def lower(value: object) -> str:
    """In small letters."""
    return _text(value).lower()


def capitalize(value: object) -> str:
    """First letter large, the rest small."""
    return _text(value).capitalize()


def title(value: object) -> str:
    """Each Word's First Letter Large; an apostrophe does not begin a word."""
    return _WORD.sub(lambda word: word[0].capitalize(), _text(value))


def trim(value: object) -> str:
    """Without space at either end."""
    return _text(value).strip()


def rounded(value: object, precision: int = 0) -> float | int:
    """To so many decimals (0 to 6); a whole number with none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or precision not in range(7):
        raise TemplateFault("round needs a number and a precision from 0 to 6")
    return round(value, precision) if precision else round(value)


def whole(value: object, fallback: int | None = None) -> int:
    """The whole number a text or number stands for; the fallback when it stands for none."""
    try:
        if isinstance(value, float):
            return int(value)
        return int(_text(value)[:_LONGEST_NUMBER])
    except (ValueError, OverflowError):
        if fallback is None:
            raise TemplateFault("int was given no number, and no fallback") from None
        return fallback


def length(value: object) -> int:
    """How many characters or entries."""
    if not isinstance(value, str | list | tuple | dict):
        raise TemplateFault("length needs a text or a list")
    return len(value)


def join(value: Sequence[object], separator: str = "") -> str:
    """The entries of a list as one text."""
    if not isinstance(value, list | tuple):
        raise TemplateFault("join needs a list")
    texts = [_text(item) for item in value]
    if sum(map(len, texts)) + len(separator) * len(texts) > MAX_VALUE:
        raise TemplateFault("join would make too long a text")
    return separator.join(texts)


def first(value: Sequence[object]) -> object:
    """The first entry of a list, or character of a text."""
    return _entry(value, 0)


def last(value: Sequence[object]) -> object:
    """The last entry of a list, or character of a text."""
    return _entry(value, -1)


def _entry(value: object, index: int) -> object:
    if not isinstance(value, str | list | tuple) or not value:
        raise TemplateFault("first and last need a list or text that is not empty")
    return value[index]


def truncate(value: object, width: int, end: str = "…") -> str:
    """At most ``width`` characters, ``end`` included; an emoji or an accented letter is not cut in two.

    Mind that ``…`` is not in the SMS alphabet: use ``truncate(20, "")`` in SMS templates.
    """
    text = _text(value)
    if width < len(end):
        raise TemplateFault("truncate needs a width that its ending fits in")
    return text if len(text) <= width else text[: _boundary(text, width - len(end))].rstrip() + end


def _boundary(text: str, cut: int) -> int:
    for place in range(cut, max(cut - _GRAPHEME_REACH, 0), -1):
        if not _inside(text, place):
            return place
    return 0 if cut < _GRAPHEME_REACH else cut


def _inside(text: str, place: int) -> bool:
    here = text[place]
    if here == _JOINER or text[place - 1] == _JOINER or unicodedata.category(here).startswith("M"):
        return True
    if any(ord(here) in extenders for extenders in _EXTENDERS):
        return True
    before = text[max(place - _GRAPHEME_REACH, 0) : place]
    flags = len(before) - len(before.rstrip("".join(map(chr, _REGIONAL))))
    return ord(here) in _REGIONAL and flags % 2 == 1


def replace(value: object, old: str, new: str) -> str:
    """With every ``old`` replaced."""
    text = _text(value)
    if not old:
        raise TemplateFault("replace needs a text to look for")
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_VALUE:
        raise TemplateFault("replace would make too long a text")
    return text.replace(old, new)


def urlencode(value: object) -> str:
    """Fit to stand in a link, as one segment or one query value."""
    return quote(_text(value), safe="")


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "capitalize": capitalize,
    "date": lambda value, form="short", *, locale: written_date(value, form, locale),
    "default": default,
    "first": first,
    "int": whole,
    "join": join,
    "last": last,
    "length": length,
    "lower": lower,
    "money": lambda value, currency, decimals=None, *, locale: money(value, currency, locale, decimals),
    "replace": replace,
    "round": rounded,
    "title": title,
    "trim": trim,
    "truncate": truncate,
    "upper": upper,
    "urlencode": urlencode,
}
SIGNATURES: Final = {name: inspect.signature(filter_) for name, filter_ in FILTERS.items()}
LOCALISED: Final = frozenset(name for name, signature in SIGNATURES.items() if "locale" in signature.parameters)
TESTS: Final = ("defined", "undefined", "none", "number", "string", "even", "odd")
