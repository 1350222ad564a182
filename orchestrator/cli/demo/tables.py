"""Purchases and people as CSV files with mapping files: what ``orchestrator import`` takes from an app's warehouse."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from orchestrator.cli.demo.people import TOPIC, Person
from orchestrator.cli.demo.purchases import History

Line = Sequence[object]


class TableFile(NamedTuple):
    """A file to import, with its mapping."""

    kind: str
    path: Path
    mapping: Path


_MAPPINGS = {
    "users": """\
columns:
  external_id: id
  name: name
  locale: locale
  zone: zone
  country: country
  attributes:
    orders: {column: orders, type: int}
    favourite: favourite
""",
    "addresses": """\
columns:
  user: id
  channel: channel
  value: address
  at: {column: seen, format: "%Y-%m-%d", zone: UTC}   # when the app last reported it
""",
    "consents": f"""\
columns:
  user: id
  channel: channel
  topic: {{value: {TOPIC}}}
  granted: {{column: agreed, type: bool}}
  source: {{value: sign-up}}
""",
    "events": """\
columns:
  user: id
  name: {value: order_paid}
  at: {column: day, format: "%Y-%m-%d", zone: UTC}
  source_id: purchase          # importing the file again changes nothing
  properties:
    amount: {column: dollars, type: float}
    items: {column: items, type: int}
""",
}
_HEADERS = {
    "users": ("id", "name", "locale", "zone", "country", "orders", "favourite"),
    "addresses": ("id", "channel", "address", "seen"),
    "consents": ("id", "channel", "agreed"),
    "events": ("id", "purchase", "day", "dollars", "items"),
}


def write_tables(
    folder: Path, people: Sequence[Person], histories: Sequence[History], shift: timedelta
) -> list[TableFile]:
    """Write all files into ``folder``; ``shift`` is added to the days of purchases. In the order to import them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Iterable[Line]] = {
        "users": ((p.id, p.name, p.locale, p.zone, p.country, p.orders, p.favourite) for p in people),
        "addresses": _addresses(people),
        "consents": ((p.id, channel, str(agreed).lower()) for p in people for channel, agreed in p.agreed),
        "events": _purchases(people, histories, shift),
    }
    return [_write(folder, kind, lines) for kind, lines in rows.items()]


def _write(folder: Path, kind: str, rows: Iterable[Line]) -> TableFile:
    table = TableFile(kind, folder / f"{kind}.csv", folder / f"{kind}.yaml")
    table.mapping.write_text(_MAPPINGS[kind], encoding="utf-8")
    with table.path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADERS[kind])
        writer.writerows(rows)
    return table


def _addresses(people: Iterable[Person]) -> Iterator[Line]:
    for person in people:
        yield from ((person.id, "push", token.value, token.seen) for token in person.tokens)
        if person.phone:
            yield person.id, "sms", person.phone, ""


def _purchases(people: Sequence[Person], histories: Sequence[History], shift: timedelta) -> Iterator[Line]:
    for person, history in zip(people, histories, strict=True):
        for number, one in enumerate(history.purchases, 1):
            yield person.id, f"cdnow-{one.customer:04d}-{number}", one.day + shift, one.dollars, one.items
