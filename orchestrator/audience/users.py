"""Users: taken in by the app's own id, never lost, never emptied by a blank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Select, func, select

from orchestrator.audience.aliases import aliases
from orchestrator.audience.erased import hold_users
from orchestrator.audience.rows import change, insert, slices
from orchestrator.audience.whereabouts import known_country, known_zone, zone_key
from orchestrator.clock import to_micros
from orchestrator.store.tables import user_alias, users


@dataclass(frozen=True, slots=True)
class UserRow:
    """What is said of a user. None says nothing: what is known stays; attributes are merged into the known ones."""

    external_id: str
    name: str | None = None
    locale: str | None = None
    zone: str | None = None
    country: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Upserted:
    """``written`` rows brought something new; the other two count rows whose zone or country nobody knows."""

    written: int
    zones_unknown: int
    countries_unknown: int


_FIELDS = ("name", "locale", "zone", "country", "zone_key")
_COLUMNS = ("external_id", *_FIELDS, "attributes", "created_at", "updated_at")


def upsert_users(connection: Connection, rows: Sequence[UserRow], now: datetime) -> Upserted:
    """Add or change users, at most a thousand or two at a time; an unknown zone or country is as good as none.

    What is said of a user who was merged goes to the one they were merged into.
    """
    known, renamed = _known(connection, [row.external_id for row in rows])
    names = [renamed.get(row.external_id, row.external_id) for row in rows]
    state: dict[str, dict[str, Any]] = {}
    for name, row in zip(names, rows, strict=True):
        state[name] = _merged(state.get(name) or known.get(name) or {"attributes": {}}, row)
    new = {key: values for key, values in state.items() if key not in known}
    changed = {key: values for key, values in state.items() if key in known and values != known[key]}
    at = to_micros(now)
    insert(connection, users, _COLUMNS, [(key, *_values(values), at, at) for key, values in new.items()])
    hold_users(connection, new)
    columns = (*_FIELDS, "attributes", "updated_at")
    change(connection, users, columns, [(*_values(values), at, values["id"]) for values in changed.values()])
    return Upserted(
        written=sum(name in new or name in changed for name in names),
        zones_unknown=sum(row.zone is not None and known_zone(row.zone) is None for row in rows),
        countries_unknown=sum(row.country is not None and known_country(row.country) is None for row in rows),
    )


_Known = dict[str, dict[str, Any]]


def _known(connection: Connection, external_ids: Sequence[str]) -> tuple[_Known, dict[str, str]]:
    """Users by name; and the names of those who were merged, with the name of whom they are now."""
    columns = [users.c.id, users.c.external_id, users.c.attributes, *(users.c[name] for name in _FIELDS)]
    found: _Known = {}
    for some in slices(external_ids):
        for row in connection.execute(select(*columns).where(users.c.external_id.in_(some))).mappings():
            values = dict(row)
            found[values.pop("external_id")] = values
    now_called = aliases(connection, (values["id"] for values in found.values()))
    if not now_called:
        return found, {}
    kept: dict[int, str] = {}
    for some in slices(list(set(now_called.values()))):
        for row in connection.execute(select(*columns).where(users.c.id.in_(some))).mappings():
            values = dict(row)
            kept[values["id"]] = values.pop("external_id")
            found[kept[values["id"]]] = values
    merged = {name: kept[now_called[values["id"]]] for name, values in found.items() if values["id"] in now_called}
    return {name: values for name, values in found.items() if name not in merged}, merged


def _merged(before: Mapping[str, Any], row: UserRow) -> dict[str, Any]:
    zone = known_zone(row.zone) if row.zone else None
    country = known_country(row.country) if row.country else None
    after = {
        **before,
        "name": row.name or before.get("name"),
        "locale": row.locale or before.get("locale"),
        "zone": zone or before.get("zone"),
        "country": country or before.get("country"),
        "attributes": {**before["attributes"], **row.attributes},
    }
    return {**after, "zone_key": zone_key(after["zone"], after["country"])}


def _values(values: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*(values[name] for name in _FIELDS), orjson.dumps(values["attributes"]).decode())


def user_ids(connection: Connection, external_ids: Iterable[str]) -> dict[str, int]:
    """The ids of those who are known; of one who was merged, the id of whom they are now."""
    found: dict[str, int] = {}
    for some in slices(list(dict.fromkeys(external_ids))):
        rows = connection.execute(_IDS.where(users.c.external_id.in_(some)))
        found.update(rows.all())
    return found


_IDS: Select[str, int] = select(users.c.external_id, func.coalesce(user_alias.c.user_id, users.c.id)).outerjoin(
    user_alias, user_alias.c.old_user_id == users.c.id
)


def ensure_users(connection: Connection, external_ids: Iterable[str], now: datetime) -> dict[str, int]:
    """The ids of all of them: who is not known yet is added, with nothing but the name the app calls them by."""
    wanted = list(dict.fromkeys(external_ids))
    known = user_ids(connection, wanted)
    missing = [name for name in wanted if name not in known]
    if missing:
        at = to_micros(now)
        insert(
            connection,
            users,
            ("external_id", "attributes", "created_at", "updated_at"),
            [(n, "{}", at, at) for n in missing],
        )
        hold_users(connection, missing)
        known |= user_ids(connection, missing)
    return known


class UserIds:
    """The ids of users by name, remembered from batch to batch of a file, until anybody is merged."""

    def __init__(self, room: int = 200_000) -> None:
        self._room = room
        self._known: dict[str, int] = {}
        self._added: Mapping[str, int] = {}
        self._merges: Any = None

    def of(self, connection: Connection, external_ids: Iterable[str], now: datetime) -> Mapping[str, int]:
        """The ids of all of these, and maybe of others; who is not known yet is added."""
        merges = connection.execute(_MERGES).one()
        if merges != self._merges or len(self._known) > self._room:
            self._known, self._merges = {}, merges
        for name in self._added:  # their transaction may have been rolled back: then these are nobody's ids
            self._known.pop(name, None)
        missing = sorted(name for name in set(external_ids) if name not in self._known)
        there = user_ids(connection, missing)
        self._added = ensure_users(connection, (name for name in missing if name not in there), now)
        self._known |= there | self._added
        return self._known


_MERGES = select(func.count(), func.max(user_alias.c.merged_at))


def locate(connection: Connection, countries: Mapping[int, str], now: datetime) -> None:
    """Give users without a country the one of their phone number; their zone key follows."""
    at = to_micros(now)
    for some in slices(list(countries)):
        statement = select(users.c.id, users.c.zone).where(users.c.id.in_(some), users.c.country.is_(None))
        rows = [
            (countries[row.id], zone_key(row.zone, countries[row.id]), at, row.id)
            for row in connection.execute(statement)
        ]
        change(connection, users, ("country", "zone_key", "updated_at"), rows)
