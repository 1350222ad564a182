"""The checker can fail: each promise is broken on purpose, and it says which."""

from __future__ import annotations

import pytest

from orchestrator.ledger.states import State
from tests.chaos.checker import BrokenPromiseError, check
from tests.chaos.scene import People, Scene

FIRST = "(SELECT min(id) FROM message)"
TAMPERING = {
    f"DELETE FROM message WHERE id = {FIRST}": "I1 message .* is lost",
    "DELETE FROM member WHERE user_id = 1": "I1 user 1 has no decision",
    "UPDATE run SET state = 'planning'": "I1 run 1 is still planned",
    f"UPDATE message SET state = 'planned' WHERE id = {FIRST}": "I1 message .* is planned .* nobody is at it",
    f"UPDATE message SET state = 'claimed' WHERE id = {FIRST}": "I9 message .* is claimed, held by None",
    f"DELETE FROM attempt WHERE message_id = {FIRST}": "I2 message .* was taken 1 times in 0 attempts",
    "UPDATE attempt SET provider_id = 'projects/p/messages/0'": "I2 .* the provider does not know it",
    f"UPDATE message SET held_out = TRUE WHERE id = {FIRST}": "I2 message .* is held out and was sent",
    "UPDATE address SET value = value || 'x'": "I2 message .* went to somebody else",
    "UPDATE member SET zone_key = 'Asia/Tokyo'": "I4 message .* was taken at",
    "UPDATE worker SET lease_until = started_at": "I9 worker 1 settled message .* after its lease",
    "UPDATE run SET audience = audience + 1": "I10 run 1 counts",
    f"UPDATE message SET attempts = 2 WHERE id = {FIRST}": "I10 message .* was marked 2 times",
    f"INSERT INTO transition (at, message_id, old, new, actor) VALUES (0, {FIRST}, 'accepted', 'planned', 'x')": (
        "I12 message .* went from accepted to planned"
    ),
    f"INSERT INTO transition (at, message_id, old, new, actor) VALUES (0, {FIRST}, 'planned', 'expired', 'x')": (
        "I12 message .* was expired and is accepted"
    ),
}


def test_every_kind_of_tampering_is_found(scene: Scene) -> None:
    scene.populate(People(push=4, sms=4), holdout="0%")
    scene.finish()
    assert scene.check().states == {State.ACCEPTED: 8}
    timeline, accepted = scene.timeline, scene.far.accepted()
    with scene.writer() as store:
        for statement, complaint in TAMPERING.items():
            with store.writer_engine.connect() as connection:  # rolled back at the end
                connection.exec_driver_sql(statement)
                with pytest.raises(BrokenPromiseError, match=complaint):
                    check(connection, accepted, timeline, kills=0, over=True)


def test_what_a_provider_took_twice_or_from_nobody_is_found(scene: Scene) -> None:
    scene.populate(People(push=2, sms=2), holdout="0%")
    scene.finish()
    timeline, accepted = scene.timeline, scene.far.accepted()
    push = next(record for record in accepted if record["provider"] == "fcm")
    text = next(record for record in accepted if record["provider"] == "twilio")
    cases = [
        ([*accepted, text], "I3 text message .* was taken 2 times"),
        ([*accepted, {**push, "collapse_key": "another"}], "I3 push .* went out under the collapse keys"),
        ([*accepted, {**push, "message_id": "7"}], "I2 a provider took 7, which is not in the ledger"),
        (accepted[1:], "I2 .* the provider does not know it"),
    ]
    with scene.reader() as store, store.read() as connection:
        for records, complaint in cases:
            with pytest.raises(BrokenPromiseError, match=complaint):
                check(connection, records, timeline, kills=0, over=True)


def test_a_recovery_that_sends_text_messages_again_is_found(scene: Scene) -> None:
    """The naive recovery: whatever a dead worker held goes back to the queue."""
    scene.populate(People(sms=4), holdout="0%")
    scene.dies("--die-at", "sent:1")
    with scene.writer() as store, store.write() as connection:
        connection.exec_driver_sql("UPDATE message SET state = 'planned', worker_id = NULL WHERE state = 'sending'")
    scene.finish()
    with pytest.raises(BrokenPromiseError, match=r"I3 text message .* was taken 2 times"):
        scene.check()
