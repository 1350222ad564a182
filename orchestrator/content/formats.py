"""Money and dates as people of a locale write them.

A plain space stands where CLDR puts a no-break one: U+00A0 alone would make a one-part SMS a UCS-2 message of three.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from orchestrator.content.budget import TemplateFault

_NO_CENTS: Final = frozenset({"JPY", "KRW", "VND", "CLP", "ISK"})
_SYMBOLS: Final = {
    "AUD": "A$", "BRL": "R$", "CAD": "CA$", "CNY": "CN¥", "EUR": "€", "GBP": "£", "HKD": "HK$", "INR": "₹",
    "JPY": "¥", "KRW": "₩", "MXN": "MX$", "NZD": "NZ$", "TWD": "NT$", "USD": "$", "VND": "₫",
}  # fmt: skip
_AT_HOME: Final = {("zh", "CNY"): "¥", ("ja", "JPY"): "¥", ("zh", "JPY"): "JP¥", ("zh", "USD"): "US$"}
_COMMA_DECIMALS: Final = {  # language: (thousands, decimal, symbol after the number)
    "cs": (" ", ",", True), "da": (".", ",", True), "de": (".", ",", True), "es": (".", ",", True),
    "fi": (" ", ",", True), "fr": (" ", ",", True), "id": (".", ",", False), "it": (".", ",", True),
    "nl": (".", ",", False), "pl": (" ", ",", True), "pt": (".", ",", False), "ru": (" ", ",", True),
    "sv": (" ", ",", True), "tr": (".", ",", False), "vi": (".", ",", True),
}  # fmt: skip
_SPACED: Final = frozenset({"id", "nl", "pt"})
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATES: Final = ("short", "long", "iso")


def language(locale: str) -> str:
    """``zh`` of ``zh-Hans-CN``."""
    return locale.partition("-")[0].lower()


def money(value: object, currency: str, locale: str, decimals: int | None = None) -> str:
    """``¥1,234.50`` for CNY in zh, ``CN¥1,234.50`` in en, ``1.234,50 €`` for EUR in de."""
    if currency not in _SYMBOLS:
        raise TemplateFault(f"money knows no such currency; known: {', '.join(_SYMBOLS)}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TemplateFault("money needs a number")
    places = (0 if currency in _NO_CENTS else 2) if decimals is None else decimals
    amount = _rounded(value, places)
    tongue = language(locale)
    thousands, point, after = _COMMA_DECIMALS.get(tongue, (",", ".", False))
    figures = f"{abs(amount):,}".translate({ord(","): thousands, ord("."): point})
    symbol = _AT_HOME.get((tongue, currency), _SYMBOLS[currency])
    sign = "-" if amount < 0 else ""
    return f"{sign}{figures} {symbol}" if after else f"{sign}{symbol}{' ' if tongue in _SPACED else ''}{figures}"


def _rounded(value: float, places: int) -> Decimal:
    if places not in range(5):
        raise TemplateFault("money takes 0 to 4 decimals")
    return Decimal(str(value)).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)


def written_date(value: object, form: str, locale: str) -> str:
    """An ISO date or date-time as ``1 Dec`` / ``12月1日`` (short), with the year (long), or ``2026-12-01`` (iso).

    The date is the one written in the value: no zone is applied. Languages other than en, zh, ja get iso.
    """
    if form not in _DATES:
        raise TemplateFault(f"date knows the forms {', '.join(_DATES)}")
    day = _day(value)
    match form, language(locale):
        case "short", "en":
            return f"{day.day} {_MONTHS[day.month - 1]}"
        case "long", "en":
            return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
        case "short", "zh" | "ja":
            return f"{day.month}月{day.day}日"
        case "long", "zh" | "ja":
            return f"{day.year}年{day.month}月{day.day}日"
        case _:
            return day.isoformat()


def _day(value: object) -> date:
    try:
        return datetime.fromisoformat(str(value)).date()
    except ValueError:
        raise TemplateFault("date needs a date written as 2026-12-01") from None
