"""Bring a database to this program's schema."""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy import Connection, inspect

from orchestrator.store.blocks import keep_blocks
from orchestrator.store.dialect import one_at_a_time_sql
from orchestrator.store.engine import Store
from orchestrator.store.remember import recall, remember_first

_SCRIPTS = Path(__file__).parent / "migrations"
_VERSION = "alembic_version"


def upgrade(store: Store) -> None:
    """Apply what is missing; nothing when there is nothing. Safe to call at every start."""
    store.again(_upgrade)  # whoever is at work meanwhile may wait for a migration that waits for them
    keep_blocks(store)


def _upgrade(connection: Connection) -> None:
    connection.exec_driver_sql(one_at_a_time_sql(connection.dialect.name))  # several programs may start at once
    if (_revision(connection) or "") < newest():  # a later program's has what this one needs
        _migrate(connection)
    if connection.dialect.name == "postgresql":
        remember_first(connection, IDENTITY, secrets.token_hex(8))


IDENTITY = "database"
"""In ``meta``: which database this is, also once it was restored; what is kept of it elsewhere is named so."""


def identity(store: Store) -> str:
    """Which database this is; "" before its schema was last brought up to date."""
    with store.read() as connection:
        return recall(connection, IDENTITY) or ""


def newest() -> str:
    """The revision that this program knows last: migrations are files, named by their revision, in order."""
    return max(path.stem for path in (_SCRIPTS / "versions").glob("[0-9]*.py"))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION):
        return None
    found: str | None = connection.exec_driver_sql(f"SELECT version_num FROM {_VERSION}").scalar_one_or_none()
    return found


def _migrate(connection: Connection) -> None:
    from alembic import command  # +10 MB, which a daemon whose database is up to date never pays
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
