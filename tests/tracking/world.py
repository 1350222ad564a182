"""A small world for what comes back: a store, one launched campaign, and rows as planning leaves them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select, text

from orchestrator.campaign.document import Document
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.version import Bundle, save_version
from orchestrator.store import Store
from orchestrator.store.tables import address, lane, member, message, run, slot, users

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEFINITION = {
    "name": "lunch-winback",
    "topic": "promotions",
    "audience": {"segment": "everybody"},
    "schedule": {"dates": ["2026-12-01"]},
    "window": {"local": "10:30-11:45"},
    "steps": [{"channel": "sms", "template": "lunch-winback"}],
    "goal": {
        "event": "app_open",
        "within": "24h",
        "conversion": {"event": "order_paid", "within": "72h", "value": "amount"},
    },
}


@dataclass
class World:
    """Rows made by hand, with the ids they got."""

    store: Store

    def launched(self) -> str:
        bundle = Bundle(parse_campaign(Document("campaigns/lunch-winback.yaml", DEFINITION, {})), DEFINITION, {}, {})
        with self.store.write() as connection:
            return save_version(connection, bundle, NOW)

    def run(self, number: int = 1, *, state: str = "active", anchors: tuple[datetime | None, ...] = (NOW,)) -> int:
        version = self.launched()
        row = {"id": number, "campaign": "lunch-winback", "version": version, "local_date": f"2026-12-{number:02}"}
        slots = [
            {"run_id": number, "step": 0, "arm": "", "zone_key": str(n), "country": "", "due_at": anchor}
            for n, anchor in enumerate(anchors)
        ]
        with self.store.write() as connection:
            connection.execute(
                insert(run).values(state=state, as_of=NOW, closes_at=NOW + 48 * HOUR, created_at=NOW, **row)
            )
            connection.execute(insert(slot), slots)
        return number

    def user(self, number: int) -> int:
        row = {"id": number, "external_id": f"u-{number}", "attributes": {}, "created_at": NOW, "updated_at": NOW}
        with self.store.write() as connection:
            if connection.execute(select(users.c.id).where(users.c.id == number)).first() is None:
                connection.execute(insert(users).values(row))
                if self.store.dialect == "postgresql":  # who comes by themselves is numbered after them
                    connection.execute(text("SELECT setval('users_id_seq', (SELECT max(id) FROM users))"))
        return number

    def member(self, run_id: int, user_id: int, anchor: datetime | None, *, held_out: bool = False) -> None:
        row = {"run_id": run_id, "user_id": self.user(user_id), "arm": "all", "held_out": held_out, "anchor": anchor}
        with self.store.write() as connection:
            connection.execute(insert(member).values(decision="planned", zone_key="", country="", **row))

    def phone(self, user_id: int, value: str) -> int:
        row = {"id": user_id, "user_id": self.user(user_id), "channel": "sms", "kind": "phone", "value": value}
        with self.store.write() as connection:
            connection.execute(insert(address).values(last_seen_at=NOW, valid_from=NOW, **row))
        return user_id

    def message(self, run_id: int, user_id: int, state: str = "accepted", account: str = "sms-main") -> int:
        ids = {"id": run_id << 40 | user_id << 4 | 1, "run_id": run_id, "user_id": user_id, "step": 1}
        row = {"lane_id": run_id << 4 | 1, "address_id": user_id, "arm": "all", "held_out": False, "state": state}
        of_lane = {
            "id": run_id << 4 | 1,
            "run_id": run_id,
            "step": 1,
            "channel": "sms",
            "account": account,
            "priority": 50,
        }
        with self.store.write() as connection:
            if connection.execute(select(lane.c.id).where(lane.c.id == run_id << 4 | 1)).first() is None:
                connection.execute(insert(lane).values(of_lane))
            connection.execute(
                insert(message).values(**ids, **row, due_at=NOW, deadline=NOW + HOUR, sent_at=NOW, state_at=NOW)
            )
        return ids["id"]
