"""What the generated people do with their phones. Simulated: a claim about nobody, and evidence of nothing.

Everybody opens the app by themselves now and then, whether or not they get a message; who bought lately and often,
more. A message brings some of them back who would not have come that day: that is the true effect, and it is ours to
know. All figures are here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from math import exp
from random import Random
from zoneinfo import ZoneInfo

from orchestrator.cli.demo.people import Person

HABIT_LEAST, HABIT_RECENT, HABIT_PER_ORDER, HABIT_MOST = 0.06, 0.16, 0.012, 0.45
"""Chance of opening the app unasked, a day: a little for anybody, more the fresher and the more frequent the orders."""
RECENT_DAYS = 150
EFFECT = {"dish": 0.15, "coupon": 0.22}
"""Chance that a push brings an average person back, by the copy that it carries."""
SMS_FACTOR = 0.6
HUNGER = 0.3
"""How much more a message does at 11:45 than at 10:30."""
TAPS = 0.7
"""Of those whom a push brings back: they tap it. The rest find the app themselves, as all do after an SMS."""
ORDERS, ORDERS_UNASKED = 0.30, 0.15
SAYS_STOP = 0.03
_STOP_WORDS = {True: ("退订", "R", "TD", "不要再发了"), False: ("STOP", "Stop please", "UNSUBSCRIBE")}
_WAKING = (0, 0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 5, 6, 4, 3, 3, 3, 4, 6, 7, 6, 5, 3, 1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Act:
    """Something a person does at a business instant: an app event, or a reply to an SMS (``text``)."""

    at: datetime
    person: str
    name: str
    message_id: str = ""
    text: str = ""
    amount: float = 0.0
    unasked: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message on somebody's phone."""

    message_id: str
    channel: str
    coupon: bool
    at: datetime


def habit(person: Person) -> float:
    """Their chance of opening the app unasked, a day."""
    recent = HABIT_RECENT * exp(-person.dormant_days / RECENT_DAYS)
    return min(HABIT_LEAST + recent + HABIT_PER_ORDER * person.orders, HABIT_MOST)


def own_days(person: Person, first: date, since: datetime, end: datetime, chance: Random) -> Iterator[Act]:
    """What they do unasked from ``since`` on, at hours of their own day when people use phones.

    ``first`` is the local date their life is drawn from: whoever begins to look later sees the same life.
    """
    zone = ZoneInfo(person.home)
    day = first
    while day <= end.astimezone(zone).date():
        drawn, at = chance.random(), _some_time(day, zone, chance)
        orders = chance.random() < ORDERS_UNASKED
        if drawn < habit(person) and since <= at < end:
            yield from _visit(person, at, chance, orders=orders, unasked=True)
        day += _DAY


def _some_time(day: date, zone: ZoneInfo, chance: Random) -> datetime:
    hour = chance.choices(range(24), _WAKING)[0]
    return datetime.combine(day, time(hour, chance.randrange(60), chance.randrange(60)), zone)


def effect(person: Person, arrival: Arrival) -> float:
    """The chance that this message brings this person back: the true effect."""
    local = arrival.at.astimezone(ZoneInfo(person.home))
    into = ((local.hour - 10) * 60 + local.minute - 30) / 75
    hunger = 1 + HUNGER * (min(max(into, 0.0), 1.0) - 0.5)
    interest = 0.6 + 0.8 * exp(-person.dormant_days / RECENT_DAYS)
    copy = EFFECT["coupon" if arrival.coupon else "dish"]
    return copy * hunger * interest * (SMS_FACTOR if arrival.channel == "sms" else 1)


def response(person: Person, arrival: Arrival, chance: Random) -> Iterator[Act]:
    """What they do because of a message."""
    comes, taps, orders = chance.random() < effect(person, arrival), chance.random() < TAPS, chance.random() < ORDERS
    if arrival.channel == "sms" and chance.random() < SAYS_STOP:
        at = arrival.at + timedelta(minutes=chance.uniform(1, 30))
        yield Act(at, person.id, "reply", arrival.message_id, chance.choice(_STOP_WORDS[person.chinese]))
        return
    if not comes:
        return
    at = arrival.at + timedelta(minutes=1 + min(chance.expovariate(1 / 18), 240))
    if taps and arrival.channel == "push":
        yield Act(at, person.id, "message_opened", arrival.message_id, unasked=False)
        at += timedelta(seconds=2)
    yield from _visit(person, at, chance, orders=orders, unasked=False)


def _visit(person: Person, at: datetime, chance: Random, *, orders: bool, unasked: bool) -> Iterator[Act]:
    yield Act(at, person.id, "app_open", unasked=unasked)
    if orders:
        later = at + timedelta(minutes=chance.uniform(2, 15))
        amount = round(person.mean_dollars * chance.lognormvariate(0, 0.3), 2)
        yield Act(later, person.id, "order_paid", amount=amount, unasked=unasked)
