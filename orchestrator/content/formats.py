"""Money and dates as people of a locale write them: CLDR's words, through babel.

A plain space stands where CLDR puts a no-break one, and likewise for a few other signs: U+00A0 alone would make a
one-part SMS a UCS-2 message of three.
"""

from __future__ import annotations

import re
from copy import copy
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import cache, lru_cache
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.dates import format_skeleton
from babel.numbers import NumberPattern, get_currency_precision

from orchestrator.content.budget import TemplateFault

_FALLBACK: Final = "en"
_DAY_FIRST: Final = "en_001"
"""English of no country in particular has the day before the month, as all but one have."""
_TAG: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}")
_PLAIN: Final = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-", "\u2019": "'", "￥": "¥"})
_NOT_MONEY: Final = frozenset({"XXX", "XTS"})
"""ISO 4217's codes for no currency, and for tests."""
_DATES: Final = {"short": "MMMd", "long": "yMMMd", "iso": ""}


@lru_cache(maxsize=256)
def _locale(tag: str) -> Locale:
    """What CLDR knows of a locale, or of its language; English when it knows neither. Tags come from users' data."""
    for wanted in (tag, tag.partition("-")[0].partition("_")[0]):
        if _TAG.fullmatch(wanted):
            try:
                return Locale.parse(wanted.replace("-", "_"))
            except (ValueError, UnknownLocaleError):
                continue
    return Locale.parse(_FALLBACK)


@lru_cache(maxsize=256)
def _pattern(locale: Locale, places: int) -> NumberPattern:
    pattern: NumberPattern = copy(locale.currency_formats["standard"])
    pattern.frac_prec = (places, places)
    return pattern


@cache
def _currencies() -> frozenset[str]:
    return frozenset(Locale.parse(_FALLBACK).currencies) - _NOT_MONEY


def money(value: object, currency: str, locale: str, decimals: int | None = None) -> str:
    """``¥1,234.50`` for CNY in zh, ``CN¥1,234.50`` in en, ``1.234,50 €`` for EUR in de."""
    if currency not in _currencies():
        raise TemplateFault("money knows no such currency: write a code of three letters, like EUR")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TemplateFault("money needs a number")
    places = get_currency_precision(currency) if decimals is None else decimals
    amount, known = _rounded(value, places), _locale(locale)
    written: str = _pattern(known, places).apply(amount, known, currency=currency, currency_digits=False)
    return written.translate(_PLAIN)


def _rounded(value: float, places: int) -> Decimal:
    if places not in range(5):
        raise TemplateFault("money takes 0 to 4 decimals")
    return Decimal(str(value)).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def written_date(value: object, form: str, locale: str) -> str:
    """An ISO date or date-time as ``1 Dec`` / ``12月1日`` (short), with the year (long), or ``2026-12-01`` (iso).

    The date is the one written in the value: no zone is applied.
    """
    if form not in _DATES:
        raise TemplateFault(f"date knows the forms {', '.join(_DATES)}")
    day = _day(value)
    if form == "iso":
        return day.isoformat()
    known = _locale(locale)
    written = format_skeleton(_DATES[form], day, locale=_DAY_FIRST if str(known) == _FALLBACK else known)
    return written.translate(_PLAIN)


def _day(value: object) -> date:
    try:
        return datetime.fromisoformat(str(value)).date()
    except ValueError:
        raise TemplateFault("date needs a date written as 2026-12-01") from None
