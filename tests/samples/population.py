"""The sample customers with what the six campaigns ask of people: points, carts, mailboxes, consents by topic.

Purchases are real (data/cdnow), people are the demonstration's; the rest is drawn from a seed of each person's own.
Everything goes through the real importer.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from random import Random

from orchestrator.cli.context import Context
from orchestrator.cli.demo.people import Person
from orchestrator.cli.demo.population import populate, take_in

PEOPLE = 300
YESTERDAY = date(2026, 12, 5)
"""The last purchase: the day before the first of the runs is planned."""
CART_ON = "2026-12-07T06:00:00Z"
LAPSES = (5, 15, 15, 15, 26, 57)
"""Points lapse on few dates, many at once: so many days later."""
TIERS = ("bronze", "bronze", "silver", "gold")
CARTS = ("linen shirt, blue", "cast-iron pan", "rain jacket", "亚麻衬衫", "铸铁锅", "儿童雨衣")

_MAPPINGS = {
    "users": """\
columns:
  external_id: id
  attributes: {tier: tier, points: points, points_expire_on: expires, cart_item: cart, cart_value: value,
    week_orders: week}
""",
    "addresses": "columns: {user: id, channel: {value: email}, value: mailbox}\n",
    "consents": "columns: {user: id, channel: channel, topic: topic, granted: {column: agreed, type: bool}}\n",
    "events": """\
columns: {user: id, name: {value: cart_updated}, at: at, source_id: event}
""",
}
_HEADERS = {
    "users": ("id", "tier", "points", "expires", "cart", "value", "week"),
    "addresses": ("id", "mailbox"),
    "consents": ("id", "channel", "topic", "agreed"),
    "events": ("id", "event", "at"),
}
Line = tuple[object, ...]


def settle(context: Context, folder: Path) -> None:
    """Import everybody: the demonstration's tables first, then what is ours."""
    population = populate(YESTERDAY, PEOPLE)
    take_in(context, folder, population)
    rows: dict[str, Iterable[Line]] = {
        "users": (_attributes(person) for person in population.people),
        "addresses": ((p.id, f"{p.id}@mail.example") for p in population.people if _chance(p, "mail") < 0.9),
        "consents": (row for person in population.people for row in _consents(person)),
        "events": ((p.id, f"cart-{p.id}", CART_ON) for p in population.people if _cart(p)),
    }
    for kind, lines in rows.items():
        _import(context, folder, kind, lines)


def _import(context: Context, folder: Path, kind: str, lines: Iterable[Line]) -> None:
    path, mapping = folder / f"more-{kind}.csv", folder / f"more-{kind}.yaml"
    mapping.write_text(_MAPPINGS[kind], encoding="utf-8")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADERS[kind])
        writer.writerows(lines)
    done = context.act("import", kind=kind, path=str(path), mapping=str(mapping))
    assert done["rejected"] == 0, done
    assert done["read"] > PEOPLE / 10


def _chance(person: Person, what: str) -> float:
    return Random(f"{person.id}:{what}").random()


def _cart(person: Person) -> str:
    return Random(f"{person.id}:cart").choice(CARTS) if _chance(person, "has cart") < 0.4 else ""


def _attributes(person: Person) -> Line:
    chance = Random(f"{person.id}:points")
    points = chance.choice((0, 40, 120, 350, 1280))
    expires = YESTERDAY + timedelta(days=chance.choice(LAPSES)) if points else ""
    cart = _cart(person)
    return person.id, chance.choice(TIERS), points, expires, cart, 42.5 if cart else "", chance.randint(0, 3)


def _consents(person: Person) -> Iterator[Line]:
    for channel, topic in (
        ("email", "promotions"), ("email", "account"), ("push", "account"), ("email", "weekly-recap"),
    ):  # fmt: skip
        yield person.id, channel, topic, str(_chance(person, f"{channel} {topic}") < 0.85).lower()
