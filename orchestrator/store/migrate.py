"""Bring a database to this program's schema."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from orchestrator.store.dialect import one_at_a_time_sql
from orchestrator.store.engine import Store

_SCRIPTS = Path(__file__).parent / "migrations"


def upgrade(store: Store) -> None:
    """Apply what is missing; nothing when there is nothing. Safe to call at every start."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    with store.writer_engine.begin() as connection:
        connection.exec_driver_sql(one_at_a_time_sql(store.dialect))  # several programs may start at once
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
