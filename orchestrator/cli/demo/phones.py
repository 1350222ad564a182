"""Phone numbers for generated people: valid for their country, and as far from real people as each country allows.

Where a country keeps numbers for films (the 555-01xx of North America, PTS's of Sweden), those are used; elsewhere the
example number of libphonenumber with other last digits. Whatever is generated is only ever sent to the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterator

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

_FILM_CODES = {
    "US": ("202", "206", "212", "213", "303", "305", "312", "404", "415", "503", "512", "602", "617", "702", "808"),
    "CA": ("204", "306", "403", "416", "506", "514", "604", "613", "705", "902"),
}
_DIGITS = 4


class Phones:
    """Hands out numbers, none of them twice."""

    def __init__(self) -> None:
        self._rows: dict[str, Iterator[str]] = {}

    def next(self, country: str) -> str:
        """The next number of a country, in E.164.

        Raises:
            StopIteration: ten thousand people of one country are more than a demonstration has.
        """
        if country not in self._rows:
            self._rows[country] = _valid(country)
        return next(self._rows[country])


def _valid(country: str) -> Iterator[str]:
    for text in _candidates(country):
        number = phonenumbers.parse(text)
        if phonenumbers.is_valid_number(number) and phonenumbers.region_code_for_number(number) == country:
            yield text


def _candidates(country: str) -> Iterator[str]:
    if country in _FILM_CODES:
        yield from (f"+1{code}55501{n:02d}" for n in range(100) for code in _FILM_CODES[country])
    elif country == "SE":
        yield from (f"+467017406{n:02d}" for n in range(5, 100))
    example = phonenumbers.example_number_for_type(country, PhoneNumberType.MOBILE)
    if example is not None:
        text = phonenumbers.format_number(example, PhoneNumberFormat.E164)
        yield from (f"{text[:-_DIGITS]}{n:0{_DIGITS}d}" for n in range(10**_DIGITS))
