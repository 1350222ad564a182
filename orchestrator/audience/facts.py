"""What a message may say of its user: the values that templates know as ``user``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select

from orchestrator.audience.rows import slices
from orchestrator.store.tables import users

_COLUMNS = (users.c.id, users.c.external_id, users.c.name, users.c.locale, users.c.country, users.c.attributes)
_FACTS = select(*_COLUMNS).where(users.c.id.in_(bindparam("ids", expanding=True)))  # built once: asked for every batch


def facts_of(connection: Connection, user_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The facts of users by id: ``id`` (the app's own), ``name``, ``locale``, ``country``, and the app's attributes.

    An attribute called like one of the four is hidden by it. Who does not exist is not in the answer.
    """
    found: dict[int, dict[str, Any]] = {}
    for some in slices(list(dict.fromkeys(user_ids))):
        for user_id, external_id, name, locale, country, attributes in connection.execute(_FACTS, {"ids": some}).all():
            found[user_id] = {**attributes, "id": external_id, "name": name, "locale": locale, "country": country}
    return found
