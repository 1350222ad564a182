"""The generated people: one for every customer of the sample, the same each time for the same seed.

Everything about them is invented but their purchases. Each has a home, where they live through their day; the app knows
it of most of them, of some only the country, of a few nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from orchestrator.cli.demo.phones import Phones
from orchestrator.cli.demo.places import (
    CHINESE_DISHES,
    CHINESE_GIVEN,
    CHINESE_SURNAMES,
    ENGLISH_DISHES,
    ENGLISH_NAMES,
    PLACES,
    Place,
)
from orchestrator.cli.demo.purchases import History

SEED = 19970101
TOPIC = "promotions"

ZONE_KNOWN, COUNTRY_KNOWN = 0.90, 0.08
"""Of the rest nothing is known but perhaps the phone number."""
HAS_PUSH, TWO_TOKENS, DEAD_TOKEN, STALE_TOKEN = 0.86, 0.12, 0.02, 0.03
HAS_PHONE, PUSH_AGREED, SMS_AGREED = 0.60, 0.90, 0.70
FAVOURITE_KNOWN = 0.93
_FRESH_DAYS, _STALE_DAYS = 200, 300  # push tokens that were not seen for 270 days are not tried any more


@dataclass(frozen=True, slots=True)
class Token:
    """A push token, and when the app last reported it."""

    value: str
    seen: date


@dataclass(frozen=True, slots=True)
class Person:
    """``zone`` and ``country`` are what the app knows; ``home`` is where they are. ``agreed`` by channel."""

    id: str
    name: str
    locale: str
    zone: str
    country: str
    home: str
    tokens: tuple[Token, ...]
    phone: str
    agreed: tuple[tuple[str, bool], ...]
    favourite: str
    orders: int
    dormant_days: int
    mean_dollars: float

    @property
    def chinese(self) -> bool:
        """Whether they use the app in Chinese."""
        return self.locale.startswith("zh")


def generate(histories: Iterable[History], yesterday: date, shift: timedelta, seed: int = SEED) -> list[Person]:
    """People for these histories, on the day after ``yesterday``; ``shift`` is what moves purchases there."""
    phones = Phones()
    return [_person(history, yesterday, shift, seed, phones) for history in histories]


def _person(history: History, yesterday: date, shift: timedelta, seed: int, phones: Phones) -> Person:
    chance = Random(f"{seed}:{history.customer}")  # their own: the same whoever else is in the demonstration
    place = chance.choices(PLACES, [place.weight for place in PLACES])[0]
    chinese = chance.random() < place.chinese
    zone, country = _known(chance, place)
    tokens = _tokens(chance, yesterday)
    phone = phones.next(place.country) if chance.random() < HAS_PHONE else ""
    return Person(
        id=f"u-{history.customer:04d}",
        name=_name(chance, chinese=chinese),
        locale=_locale(place, chinese=chinese),
        zone=zone,
        country=country,
        home=place.zone,
        tokens=tokens,
        phone=phone,
        agreed=tuple(_agreed(chance, has_phone=bool(phone))),
        favourite=_favourite(chance, chinese=chinese),
        orders=len(history.purchases),
        dormant_days=(yesterday - history.last - shift).days,
        mean_dollars=history.mean_dollars,
    )


def _known(chance: Random, place: Place) -> tuple[str, str]:
    drawn = chance.random()
    if drawn < ZONE_KNOWN:
        return place.zone, place.country
    return "", place.country if drawn < ZONE_KNOWN + COUNTRY_KNOWN else ""


def _name(chance: Random, *, chinese: bool) -> str:
    if chinese:
        return chance.choice(CHINESE_SURNAMES) + chance.choice(CHINESE_GIVEN)
    return chance.choice(ENGLISH_NAMES)


def _locale(place: Place, *, chinese: bool) -> str:
    return ("zh-TW" if place.country in {"TW", "HK"} else "zh-CN") if chinese else "en"


def _favourite(chance: Random, *, chinese: bool) -> str:
    known = chance.random() < FAVOURITE_KNOWN
    return chance.choice(CHINESE_DISHES if chinese else ENGLISH_DISHES) if known else ""


def _tokens(chance: Random, yesterday: date) -> tuple[Token, ...]:
    if chance.random() >= HAS_PUSH:
        return ()
    count = 2 if chance.random() < TWO_TOKENS else 1
    return tuple(_token(chance, yesterday) for _ in range(count))


def _token(chance: Random, yesterday: date) -> Token:
    prefix = "dead-" if chance.random() < DEAD_TOKEN else ""
    days = chance.randint(_STALE_DAYS, 500) if chance.random() < STALE_TOKEN else chance.randint(0, _FRESH_DAYS)
    return Token(f"{prefix}{chance.getrandbits(88):022x}:APA91b{chance.getrandbits(256):064x}", yesterday - days * _DAY)


_DAY = timedelta(days=1)


def _agreed(chance: Random, *, has_phone: bool) -> Iterable[tuple[str, bool]]:
    yield "push", chance.random() < PUSH_AGREED
    if has_phone:
        yield "sms", chance.random() < SMS_AGREED
