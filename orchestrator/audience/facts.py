"""What a message may say of its user: the values that templates know as ``user``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection

from orchestrator.store.dialect import among, json_column_sql, one_of_sql, read_all


@cache
def _columns(dialect: str) -> tuple[str, ...]:
    return ("id", "external_id", "name", "locale", "country", json_column_sql(dialect, "attributes"))


@cache
def _rest(dialect: str) -> str:
    """One text however many are asked for: it is for every batch."""
    return f"FROM users WHERE id {one_of_sql(dialect, 'ids')}"


def facts_of(connection: Connection, user_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """The facts of users by id: ``id`` (the app's own), ``name``, ``locale``, ``country``, and the app's attributes.

    An attribute called like one of the four is hidden by it. Who does not exist is not in the answer.
    """
    if not user_ids:
        return {}
    dialect = connection.dialect.name
    found: dict[int, dict[str, Any]] = {}
    known = read_all(connection, _columns(dialect), _rest(dialect), {"ids": among(user_ids)})
    for user_id, external_id, name, locale, country, facts in known:
        facts["id"], facts["name"], facts["locale"], facts["country"] = external_id, name, locale, country
        found[user_id] = facts
    return found
