"""What a message may say of its user: the values that templates know as ``user``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, TextualSelect, text

from orchestrator.store.dialect import among, among_sql
from orchestrator.store.tables import users

_COLUMNS = (users.c.id, users.c.external_id, users.c.name, users.c.locale, users.c.country, users.c.attributes)


@cache
def _facts_sql(dialect: str) -> TextualSelect:
    """Built once, and one text however many are asked for: it is for every batch."""
    names = ", ".join(column.name for column in _COLUMNS)
    return text(f"SELECT {names} FROM users WHERE id IN {among_sql(dialect, 'ids')}").columns(*_COLUMNS)


def facts_of(connection: Connection, user_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The facts of users by id: ``id`` (the app's own), ``name``, ``locale``, ``country``, and the app's attributes.

    An attribute called like one of the four is hidden by it. Who does not exist is not in the answer.
    """
    found: dict[int, dict[str, Any]] = {}
    rows = connection.execute(_facts_sql(connection.dialect.name), {"ids": among(user_ids)}).all() if user_ids else ()
    for user_id, external_id, name, locale, country, attributes in rows:
        found[user_id] = {**attributes, "id": external_id, "name": name, "locale": locale, "country": country}
    return found
