"""Single facts about a deployment, by name: the table ``meta``."""

from __future__ import annotations

from sqlalchemy import Connection, text


def recall(connection: Connection, key: str) -> str | None:
    """What was remembered last under this name."""
    found: str | None = connection.execute(_RECALL, {"key": key}).scalar()
    return found


def remember(connection: Connection, key: str, value: str) -> None:
    """In the place of what there was; several processes may do so at the same time."""
    connection.execute(_REMEMBER, {"key": key, "value": value})


def remember_first(connection: Connection, key: str, value: str) -> None:
    """Unless there is something already."""
    connection.execute(_REMEMBER_FIRST, {"key": key, "value": value})


_RECALL = text("SELECT value FROM meta WHERE key = :key")
_INSERT = "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO"
_REMEMBER = text(f"{_INSERT} UPDATE SET value = excluded.value")
_REMEMBER_FIRST = text(f"{_INSERT} NOTHING")
