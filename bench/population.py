"""A million invented users, made inside the database: quick, the same every time, and nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from orchestrator.clock import to_micros
from orchestrator.store import Store, upgrade

NOW = datetime(2026, 12, 6, 9, 30, tzinfo=UTC)
"""Just after the run of Monday, 7 December, has opened."""
ZONES = (
    *("Asia/Shanghai", "Asia/Tokyo", "Asia/Kolkata", "Asia/Jakarta", "Australia/Sydney", "Europe/Berlin"),
    *("Europe/London", "Africa/Lagos", "America/New_York", "America/Chicago", "America/Sao_Paulo", "America/Vancouver"),
)

_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
LUNCH_ZONES = ("Europe/Berlin", "Europe/Paris", "Europe/Madrid", "Europe/Rome", "Europe/Vienna", "Africa/Lagos")
"""Zones whose lunch is at the same instant: everybody is due at once."""

_STATEMENTS = (
    f"""INSERT INTO users (id, external_id, name, locale, zone, zone_key, attributes, created_at, updated_at)
        {_NUMBERS} SELECT i, 'user-' || i, 'Name ' || i, CASE i % 2 WHEN 0 THEN 'zh' ELSE 'en' END, :zone, :zone,
        :attributes, :old, :old FROM n""",
    f"""INSERT INTO address (id, user_id, channel, kind, value, last_seen_at, valid_from)
        {_NUMBERS} SELECT i, i, 'push', 'token', 'token-' || i, :old, :old FROM n WHERE i % 20 <> 0""",
    f"""INSERT INTO address (id, user_id, channel, kind, value, country, last_seen_at, valid_from)
        {_NUMBERS} SELECT :count + i, i, 'sms', 'phone', '+4915' || (100000000 + i), 'DE', :old, :old FROM n
        WHERE i % 2 = 0""",
    f"""INSERT INTO consent (user_id, channel, topic, granted, source, valid_from)
        {_NUMBERS} SELECT i, 'push', 'promotions', i % 10 <> 0, 'bench', :old FROM n""",
    f"""INSERT INTO consent (user_id, channel, topic, granted, source, valid_from)
        {_NUMBERS} SELECT i, 'sms', 'promotions', i % 3 <> 0, 'bench', :old FROM n WHERE i % 2 = 0""",
    f"""INSERT INTO event (user_id, name, at, received_at, source_id)
        {_NUMBERS} SELECT i, 'order_paid', :old, :old, 'order-' || i FROM n""",
)


_ATTRIBUTES = '{"orders": 3, "favourite": "ramen"}'


def _zone(zones: Sequence[str]) -> str:
    cases = " ".join(f"WHEN {index} THEN '{zone}'" for index, zone in enumerate(zones))
    return f"CASE i % {len(zones)} {cases} END"


def fill(url: str, count: int, zones: Sequence[str] = ZONES) -> Store:
    """A new database of ``count`` users: 95 % with a token, half with a phone; 90 % and two thirds of those consent.

    ``url``: a path to a SQLite file, or the ``postgresql://`` address of an empty database.
    """
    store = Store(url)
    upgrade(store)
    old = to_micros(NOW - timedelta(days=90))
    for statement in _STATEMENTS:
        sql = statement.replace(":count", str(count)).replace(":zone", _zone(zones))
        values = {"old": old, **({"attributes": _ATTRIBUTES} if ":attributes" in sql else {})}
        sql = sql.replace(":attributes", "CAST(:attributes AS jsonb)") if store.dialect == "postgresql" else sql
        with store.write() as connection:
            connection.execute(text(sql), values)
    with store.write() as connection:
        for table in ("users", "address") if store.dialect == "postgresql" else ():  # their ids were given, not drawn
            drawn = f"pg_get_serial_sequence('{table}', 'id')"
            connection.exec_driver_sql(f"SELECT setval({drawn}, max(id)) FROM {table}")
        connection.exec_driver_sql("ANALYZE")
    return store
