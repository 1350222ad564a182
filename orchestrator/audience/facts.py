"""What a message may say of its user: the values that templates know as ``user``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from orchestrator.audience.rows import slices
from orchestrator.store.tables import users


def facts_of(connection: Connection, user_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The facts of users by id: ``id`` (the app's own), ``name``, ``locale``, ``country``, and the app's attributes.

    An attribute called like one of the four is hidden by it. Who does not exist is not in the answer.
    """
    columns = (users.c.id, users.c.external_id, users.c.name, users.c.locale, users.c.country, users.c.attributes)
    found: dict[int, dict[str, Any]] = {}
    for some in slices(list(dict.fromkeys(user_ids))):
        for row in connection.execute(select(*columns).where(users.c.id.in_(some))):
            own = {"id": row.external_id, "name": row.name, "locale": row.locale, "country": row.country}
            found[row.id] = {**row.attributes, **own}
    return found
