"""Opens and clicks in a segment are those of people."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert

from orchestrator.audience.segment import clause, count
from orchestrator.store.engine import Store
from orchestrator.store.tables import event, message, run, users
from tests.audience.conftest import NOW


@pytest.mark.parametrize(
    ("properties", "found"), [(None, 1), ({"confidence": "human"}, 1), ({"confidence": "machine"}, 0), ({"x": 1}, 1)]
)
@pytest.mark.parametrize(("question", "name"), [("opened", "message_opened"), ("clicked", "link_clicked")])
def test_people_alone_open_and_click(
    store: Store, properties: dict[str, Any] | None, found: int, question: str, name: str
) -> None:
    row = {"id": 1, "campaign": "c", "version": "v", "local_date": "d", "state": "active"}
    sent = {"id": 17, "run_id": 1, "user_id": 1, "step": 1, "lane_id": 1, "address_id": 1, "arm": "a"}
    times = {"due_at": NOW, "deadline": NOW, "state_at": NOW, "sent_at": NOW}
    about = {"user_id": 1, "at": NOW, "received_at": NOW, "source_id": "e", "message_id": 17}
    with store.write() as connection:
        connection.execute(insert(users).values(external_id="u", attributes={}, created_at=NOW, updated_at=NOW))
        connection.execute(insert(run).values(**row, as_of=NOW, closes_at=NOW, created_at=NOW))
        connection.execute(insert(message).values(**sent, **times, held_out=False, state="accepted"))
        connection.execute(insert(event).values(**about, name=name, properties=properties))
        for campaign, expected in (("c", found), ("d", 0)):
            segment = clause("s", {"s": {"name": "s", "where": {"campaign": {question: campaign, "within": "1d"}}}})
            assert count(connection, segment, NOW) == expected
