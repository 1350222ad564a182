"""The campaigns, people and limits of the walk: each as the files say it, and as the oracle reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

from orchestrator.campaign.version import Bundle
from orchestrator.policy.caps import Backoff, CapRule, Caps
from tests import world
from tests.walk.wallclock import Hours

TOPIC = "promotions"
ACCOUNTS = {"fcm": "push", "backup": "push", "twilio": "sms"}
"""In the order of preference."""
RESEND = {"fcm": True, "backup": True, "twilio": False}
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Leg:
    """A step. All else is of later ones: ``unless``, ``needs`` and ``awaits`` are words of the file, or events."""

    channel: str
    after: timedelta = timedelta(0)
    unless: str = ""
    needs: str = ""
    awaits: str = ""
    within: timedelta = timedelta(0)

    @property
    def soonest(self) -> timedelta:
        """When it is due at the earliest, from the step before."""
        return timedelta(0) if self.awaits else self.after

    @property
    def latest(self) -> timedelta:
        """When it is decided at the latest."""
        return self.within if self.awaits else self.after


@dataclass(frozen=True, slots=True)
class OwnDates:
    """Dates of people's own: which attribute, so many days before or after, once or every year."""

    attribute: str
    days: int
    yearly: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """A campaign. ``arms``: name, weight, own window."""

    name: str
    hours: Hours
    legs: tuple[Leg, ...]
    segment: str = "everybody"
    exclude: tuple[str, ...] = ()
    weekdays: frozenset[int] = frozenset(range(7))
    late_next: bool = False
    expires: timedelta = 24 * HOUR
    spread: float = 0.0
    arms: tuple[tuple[str, int, Hours | None], ...] = (("all", 1, None),)
    holdout: float = 0.0
    priority: int = 50
    drop_if_back: bool = True
    recheck: bool = False
    tags: tuple[str, ...] = ()
    max_audience: int | None = None
    sms_budget: int | None = None
    converts: bool = False
    """Whether there is a conversion."""
    exits: bool = False
    """Whether who has converted gets nothing more."""
    relative: OwnDates | None = None
    """Each run only for those whose own date it is."""

    @property
    def tagged(self) -> tuple[str, ...]:
        """What caps know it by."""
        return self.tags or (TOPIC,)

    def hours_of(self, arm: str) -> Hours:
        """The window of an arm."""
        return next(own for name, _, own in self.arms if name == arm) or self.hours

    def dates(self, day: date) -> tuple[date, ...]:
        """The dates whose windows a run's messages may use."""
        later = (day + timedelta(days=n) for n in range(1, 8))
        return (day, next(d for d in later if d.weekday() in self.weekdays)) if self.late_next else (day,)


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def definition(shape: Shape) -> dict[str, Any]:
    """The campaign as its file says it."""
    window = {"local": shape.hours.text, "late": "next" if shape.late_next else "skip", "spread": f"{shape.spread:.0%}"}
    window["expires_after"] = f"{shape.expires // HOUR}h"
    days = "every" if len(shape.weekdays) == 7 else ",".join(_DAYS[day] for day in sorted(shape.weekdays))
    found: dict[str, Any] = {
        "name": shape.name,
        "title": {"en": shape.name, "zh": shape.name},
        "topic": TOPIC,
        "priority": shape.priority,
        "holdout": f"{shape.holdout:.0%}",
        "drop_if_back": shape.drop_if_back,
        "audience": {"segment": shape.segment, "exclude": list(shape.exclude)},
        "schedule": {"days": days},
        "window": window,
        "goal": {"event": "app_open", "within": "24h"},
        "steps": [_step(leg) for leg in shape.legs],
        "tags": list(shape.tags),
    }
    if len(shape.arms) > 1:
        found["experiment"] = {"arms": [_arm(window, *arm) for arm in shape.arms]}
    if (own := shape.relative) is not None:
        told = {"attribute": own.attribute, "offset": f"{own.days}d", "yearly": own.yearly}
        found["schedule"]["relative_to"] = told
    if shape.converts:
        found["goal"]["conversion"] = {"event": "order_paid", "within": "72h"}
        found["exit_on_conversion"] = shape.exits
    found |= {"recheck": "segment"} if shape.recheck else {}
    found |= {"max_audience": shape.max_audience} if shape.max_audience else {}
    return found | ({"budget": {"sms": shape.sms_budget}} if shape.sms_budget else {})


def _step(leg: Leg) -> dict[str, Any]:
    spans = {"after": leg.after, "within": leg.within}
    when: dict[str, Any] = {name: f"{span // timedelta(minutes=1)}m" for name, span in spans.items() if span}
    words = {"not": leg.unless, "is": leg.needs, "wait_for": leg.awaits}
    when |= {name: word for name, word in words.items() if word}
    return {"channel": leg.channel, "template": "walk", **({"when": when} if when else {})}


def _arm(window: dict[str, Any], name: str, weight: int, own: Hours | None) -> dict[str, Any]:
    return {"name": name, "weight": weight, **({"window": {**window, "local": own.text}} if own else {})}


SEGMENTS: dict[str, Any] = {
    "everybody": {"name": "everybody", "where": {"not": {"attribute": "locale", "equals": "nowhere"}}},
    "lapsed": {"name": "lapsed", "where": {"did_not": "app_open", "within": "36h"}},
    "gold": {"name": "gold", "where": {"attribute": "tier", "equals": "gold"}},
    "buyers": {"name": "buyers", "where": {"did": "order_paid", "at_least": 1, "within": "30d"}},
}
TEMPLATES = {
    "walk/push.en.j2": 'title: Hello\n\n{% if user.tier == "vip" %}{{ skip("vip") }}{% endif %}Ready.\n',
    "walk/sms.en.j2": '{% if user.tier == "vip" %}{{ skip("vip") }}{% endif %}Ready. Reply STOP to opt out\n',
}
TIERS = (*("none",) * 5, "gold", "gold", "vip")


@cache
def bundle_of(shape: Shape) -> Bundle:
    """What is launched."""
    made = world.bundle({}, **definition(shape))
    return Bundle(made.campaign, made.definition, SEGMENTS, TEMPLATES)


def _hours(text: str) -> Hours:
    start, end = (int(part[:2]) * 60 + int(part[3:]) for part in text.split("-"))
    return Hours(start, end if end > start else end + 1440)


_PUSH, _SMS = Leg("push"), Leg("sms")
_UNLESS_BACK = (_PUSH, Leg("sms", timedelta(minutes=25), unless="reopened"))
_LUNCH, _NIGHT, _GAP, _DAY, _LONG = (
    _hours(text) for text in ("10:30-11:45", "22:00-02:00", "01:30-03:30", "00:00-24:00", "08:00-21:00")
)
_WORKDAYS = frozenset(range(5))
SHAPES: dict[str, tuple[Shape, ...]] = {
    "lunch": (
        Shape("lunch", _LUNCH, _UNLESS_BACK, segment="lapsed", spread=0.5, holdout=0.2),
        Shape(
            "lunch",
            _LONG,
            (_PUSH, Leg("sms", timedelta(minutes=40))),
            arms=(("a", 1, None), ("b", 2, _LUNCH)),
            holdout=0.3,
        ),
        Shape("lunch", _LONG, (_SMS, Leg("push", HOUR)), exclude=("gold",), weekdays=_WORKDAYS, sms_budget=4),
    ),
    "night": (
        Shape("night", _NIGHT, (_PUSH,), late_next=True, expires=48 * HOUR, priority=80, drop_if_back=False),
        Shape(
            "night",
            _GAP,
            (_PUSH, Leg("sms", timedelta(minutes=15))),
            priority=80,
            recheck=True,
            segment="lapsed",
            drop_if_back=False,
        ),
        Shape("night", _NIGHT, (_SMS,), late_next=True, expires=30 * HOUR, priority=30, max_audience=7, spread=0.25),
    ),
    "news": (
        Shape("news", _DAY, (_SMS,), priority=20, tags=("news",), sms_budget=6, recheck=True, exclude=("buyers",)),
        Shape("news", _DAY, (_PUSH, Leg("sms", timedelta(minutes=10), unless="reopened")), priority=90, holdout=0.2),
        Shape("news", _LONG, (_PUSH,), tags=("news", "urgent"), priority=20, weekdays=_WORKDAYS),
    ),
}
"""Every campaign in the forms that it may be launched in."""

_MINUTES = {n: timedelta(minutes=n) for n in (5, 10, 20, 30)}
FOLLOW_UPS: tuple[Shape, ...] = (
    Shape("care", _LONG, (_PUSH, Leg("sms", _MINUTES[20], unless="delivered"), Leg("push", HOUR, unless="clicked"))),
    Shape(
        "care",
        _DAY,
        (_PUSH, Leg("sms", _MINUTES[10], awaits="opened", within=3 * HOUR), Leg("push", HOUR, needs="opened")),
        drop_if_back=False,
        holdout=0.2,
    ),
    Shape("care", _DAY, (_SMS, Leg("push", awaits="order_paid", within=2 * HOUR)), priority=70, late_next=True),
    Shape(
        "care",
        _LONG,
        (
            _PUSH,
            Leg("sms", _MINUTES[5], awaits="reopened", within=4 * HOUR),
            Leg("push", awaits="clicked", within=HOUR),
        ),
        drop_if_back=False,
        spread=0.5,
    ),
    Shape("care", _LONG, (_PUSH, Leg("sms", _MINUTES[30], unless="converted")), converts=True, exits=True),
    Shape(
        "care",
        _NIGHT,
        (_PUSH, Leg("sms", HOUR, awaits="converted", within=HOUR), Leg("push", _MINUTES[30], needs="order_paid")),
        converts=True,
        late_next=True,
        expires=48 * HOUR,
    ),
)
"""Steps that go by what has happened, in the forms of one more campaign."""

OWN_DATES: tuple[Shape, ...] = (
    Shape("dates", _LONG, (_PUSH, Leg("sms", HOUR, unless="opened")), relative=OwnDates("renews", -1)),
    Shape("dates", _DAY, (_SMS,), relative=OwnDates("birthday", 0, yearly=True), recheck=True, late_next=True),
    Shape("dates", _LUNCH, (_PUSH,), relative=OwnDates("birthday", 2, yearly=True), holdout=0.2),
)
"""Runs that are each for those whose own date it is, in the forms of one more campaign."""

CAPS = (
    Caps(),
    Caps((CapRule(1, 24 * HOUR),), frozenset({"urgent"})),
    Caps((CapRule(2, 6 * HOUR), CapRule(1, 2 * HOUR, "sms"), CapRule(3, 72 * HOUR, tag=TOPIC))),
    Caps((CapRule(0, HOUR, "push", "news"), CapRule(2, 24 * HOUR)), horizon=2 * HOUR),
    Caps((CapRule(2, 12 * HOUR, "push"),), backoff=Backoff(2, (3 * HOUR, 24 * HOUR), frozenset({"push", "sms"}))),
)
"""What the caps file says, one time or another."""

PLACES: tuple[tuple[str | None, str | None], ...] = (
    ("Europe/Berlin", "DE"),
    ("America/New_York", None),
    ("Asia/Shanghai", "CN"),
    ("Australia/Lord_Howe", None),
    ("Europe/Lisbon", None),
    (None, "PT"),
    ("Pacific/Kiritimati", "KI"),
    (None, None),
    ("America/New_York", "US"),
    ("Europe/Berlin", None),
)
"""Zones and countries of people: clocks that change at their own time, by half an hour, or not at all."""

STARTS = tuple(
    datetime(*ymd, 6, tzinfo=UTC)
    for ymd in (
        *((2026, 12, 5), (2026, 3, 27), (2026, 10, 23), (2026, 3, 6), (2026, 10, 30), (2026, 4, 3)),
        *((2026, 10, 2), (2026, 2, 27), (2026, 12, 30), (2027, 3, 26)),
    )
)
"""A day or two before clocks change somewhere, or a month or a year ends."""


@dataclass(frozen=True, slots=True)
class Say:
    """What the provider does with a request, and what it says of it. ``took``: whether it is delivered."""

    name: str
    took: bool = False
    wait: int = 0
    weight: int = 1


SAYINGS = tuple(
    one
    for one in (
        Say("accepted", took=True, weight=10),
        Say("retry"),
        Say("retry_unsent"),
        Say("retry_once"),
        Say("retry_after", wait=90),
        Say("account_wait", wait=120),
        Say("dead", weight=2),
        Say("refuses"),
        Say("unfit"),
        Say("stop"),
        Say("lost", took=True, weight=2),
        Say("lost_before"),
    )
    for _ in range(one.weight)
)
"""As often as they are drawn."""
