"""Many people at once, in one transaction."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.audience import people
from orchestrator.store import Store
from tests import world


def crowd(store: Store, n: int, prefix: str = "u", zone: str = "Europe/Berlin", country: str = "DE") -> None:
    """``n`` people with a push token who agreed to promotions."""
    at = world.OPENING - timedelta(days=60)
    with store.write() as connection:
        rows = [people.UserRow(f"{prefix}{i}", "U", "en", zone, country) for i in range(n)]
        people.upsert_users(connection, rows, at)
        known = people.user_ids(connection, [row.external_id for row in rows])
        tokens = [people.AddressRow(name, "push", f"token-{name}", at) for name in known]
        people.upsert_addresses(connection, tokens, at)
        for user in known.values():
            people.set_consent(connection, user, "push", "promotions", granted=True, source="test", at=at)
