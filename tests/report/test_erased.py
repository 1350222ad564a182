"""An erasure changes nothing of what a run's report says."""

from __future__ import annotations

import hmac
from datetime import timedelta

from sqlalchemy import insert, select

from orchestrator.audience.erased import seal_with
from orchestrator.audience.erasing import erase_user
from orchestrator.audience.people import AddressRow, set_consent, suppress, upsert_addresses
from orchestrator.clock import ManualClock
from orchestrator.report.explain import explain
from orchestrator.report.outcomes import outcomes
from orchestrator.report.tally import tally
from orchestrator.report.values import Launched, Tally
from orchestrator.store import Store
from orchestrator.store.tables import event, message, users
from tests.report.book import AS_OF, NOW

HOUR = timedelta(hours=1)
EVERY = 60


def refuse(store: Store) -> list[str]:
    """A few of those who were sent to refuse afterwards, each in another way, and click; their names."""
    with store.write() as connection:
        sent = select(message.c.user_id, message.c.id, message.c.sent_at, users.c.external_id)
        found = connection.execute(sent.join(users, users.c.id == message.c.user_id).where(message.c.step == 1)).all()
        some = [row for row in found if row.sent_at is not None][::EVERY]
        for number, row in enumerate(some):
            value, later = f"token-{number}", row.sent_at + HOUR
            upsert_addresses(connection, [AddressRow(row.external_id, "push", value, AS_OF)], AS_OF)
            common = {"channel": "push", "source": "t", "at": later}
            match number % 4:
                case 0:
                    suppress(connection, **common, reason="complaint", address=value)
                case 1:
                    suppress(connection, **common, reason="stop", user_id=row.user_id)
                case 2:
                    set_consent(connection, row.user_id, "push", "promotions", granted=True, source="t", at=AS_OF)
                    set_consent(connection, row.user_id, "push", "promotions", granted=False, source="t", at=later)
                case _:
                    shared = AddressRow("u-00001", "push", value, later + HOUR)
                    suppress(connection, **common, reason="unsubscribe", address=value)
                    upsert_addresses(connection, [shared], AS_OF)
            said = {"agent": "a", "confidence": "human" if number % 2 else "machine"}
            click = {"user_id": row.user_id, "name": "link_clicked", "at": later, "received_at": later}
            connection.execute(
                insert(event).values(**click, source_id=f"c{number}", message_id=row.id, properties=said)
            )
    return [row.external_id for row in some]


def test_reports_say_the_same_before_and_after(filled: Store, launched: Launched) -> None:
    names = refuse(filled)
    seal_with(filled.writer_engine, lambda text: hmac.digest(b"k", text.encode(), "sha256").hex())
    before, told = said_of(filled, launched)
    assert any(channel.unsubscribed and channel.complained for channel in before.channels)
    for name in names:
        erase_user(filled, name, ManualClock(NOW), "operator test")
    assert said_of(filled, launched) == (before, told)
    with filled.read() as connection:
        gone = select(users.c.external_id).where(users.c.external_id.startswith("erased:"))
        stories = [explain(connection, name, launched, NOW) for name in connection.execute(gone).scalars()]
    assert [len(story.members) for story in stories] == [1] * len(names)


def said_of(store: Store, launched: Launched) -> tuple[Tally, list[object]]:
    """The report, and every member's row of the export but for the name."""
    with store.read() as connection:
        exported = [[cell for cell in row if not _is_name(cell)] for row in outcomes(connection, launched).rows]
        return tally(connection, launched, NOW), list(exported)


def _is_name(cell: object) -> bool:
    return isinstance(cell, str) and cell.startswith(("u-", "erased:"))
