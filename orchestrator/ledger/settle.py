"""What came of a request, written: state, attempt, and what is next. Grouped; fenced by the worker's id."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, TextClause, text

from orchestrator.clock import to_micros
from orchestrator.ledger import lease
from orchestrator.ledger.ids import MessageId, ids_among
from orchestrator.ledger.in_doubt import in_doubt
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.receipts import apply_kept
from orchestrator.ledger.states import State
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.dialect import (
    among,
    driver_sql,
    held_by_sql,
    named_sql,
    one_of_sql,
    prepared,
    rows,
    rows_sql,
    within_sql,
)


class Settlement(NamedTuple):
    """The end of one attempt. ``due_at`` (and maybe ``address_id``) when it goes back to ``planned``."""

    id: MessageId
    n: int
    account: str
    started_at: datetime
    ended_at: datetime
    outcome: str
    state: State
    reason: str | None = None
    code: str = ""
    provider_id: str | None = None
    detail: str = ""
    due_at: datetime | None = None
    address_id: int | None = None


@cache
def _settle_sql(dialect: str) -> str:
    return f"""
    UPDATE message SET state = :state, reason = :reason, worker_id = NULL, state_at = :now,
                       due_at = coalesce(:due_at, due_at), address_id = coalesce(:address_id, address_id),
                       provider_id = coalesce(:provider_id, provider_id)
    WHERE id = :id AND {held_by_sql(dialect, State.SENDING)}"""


@cache
def _accept_sql(dialect: str) -> TextClause:
    """Most answers: what is not named here needs no index to be written again."""
    return prepared(f"""
        UPDATE message SET state = 'accepted', reason = NULL, worker_id = NULL, state_at = :now,
                           provider_id = coalesce(answer.provider_id, message.provider_id)
        FROM {rows_sql(dialect, "answers", id="bigint", provider_id="text")} AS answer
        WHERE message.id = answer.id AND {held_by_sql(dialect, State.SENDING, "message.")}
              {named_sql(dialect, "message.id", "ids")}""")


@cache
def _attempt_sql(dialect: str) -> TextClause:
    columns = {"message_id": "bigint", "n": "smallint", "worker_id": "bigint", "account": "text"}
    columns |= {"started_at": "bigint", "ended_at": "bigint", "outcome": "text", "code": "text"}
    columns |= {"provider_id": "text", "detail": "text"}
    named = ", ".join(columns)
    return prepared(
        f"INSERT INTO attempt ({named}) SELECT {named} FROM {rows_sql(dialect, 'attempts', **columns)} AS a"
    )


def settle(
    connection: Connection, holder: Holder, now: datetime, settlements: Sequence[Settlement]
) -> Sequence[Settlement]:
    """Write the ends of attempts, and say how; receipts that overtook the answer are applied too.

    Raises:
        LeaseLostError: the holder's lease ran out; recovery has these messages.
    """
    lease.check(connection, holder)
    if not settlements:
        return settlements
    settlements = _honest(connection, settlements)
    accepted = [item for item in settlements if item.state is State.ACCEPTED]
    others = [_row(item, holder, now) for item in settlements if item.state is not State.ACCEPTED]
    dialect = connection.dialect.name
    if accepted:
        answers = {"answers": rows([(item.id, item.provider_id) for item in accepted]), "now": to_micros(now)}
        answers |= {"worker": holder.worker, "ids": among(item.id for item in accepted)}
        connection.execute(_accept_sql(dialect), answers)
    if others:
        connection.exec_driver_sql(driver_sql(dialect, _settle_sql(dialect)), others)
    connection.execute(_attempt_sql(dialect), {"attempts": rows([_attempt(item, holder) for item in settlements])})
    actor = f"worker {holder.worker}"
    record(
        connection,
        [
            Transition(now, item.state, actor, State.SENDING, item.reason, message_id=item.id)
            for item in settlements
            if item.state is not State.ACCEPTED
        ],
    )
    apply_kept(connection, [item.id for item in settlements if item.state in {State.ACCEPTED, State.UNKNOWN}])
    return settlements


@cache
def _before_sql(dialect: str) -> TextClause:
    return text(f"""
        SELECT attempt.message_id, attempt.n FROM attempt
        JOIN {rows_sql(dialect, "tried", id="bigint", n="smallint")} AS tried
             ON tried.id = attempt.message_id AND tried.n = attempt.n
        WHERE attempt.worker_id = :worker {within_sql(dialect, "attempt.message_id")}""")


@cache
def _sending_sql(dialect: str) -> TextClause:
    return text(f"""
        SELECT id FROM message WHERE id {one_of_sql(dialect, "ids")} AND {held_by_sql(dialect, State.SENDING)}""")


def settled_before(
    connection: Connection, holder: Holder, tried: Sequence[tuple[MessageId, int]]
) -> set[tuple[int, int]]:
    """Which of these attempts (a message's id, and its how manieth) this worker has written, answered or not."""
    if not tried:
        return set()
    values = {"tried": rows(tried), "worker": holder.worker, **ids_among([one for one, _ in tried])}
    return {(row.message_id, row.n) for row in connection.execute(_before_sql(connection.dialect.name), values)}


def on_their_way(connection: Connection, holder: Holder, ids: Sequence[MessageId]) -> set[int]:
    """Which of these messages this worker has marked, and not settled."""
    values = {"ids": among(ids), "worker": holder.worker}
    return set(connection.execute(_sending_sql(connection.dialect.name), values).scalars()) if ids else set()


def _honest(connection: Connection, settlements: Sequence[Settlement]) -> Sequence[Settlement]:
    """Whatever was answered now: a message of which an earlier answer was lost has not certainly failed."""
    ended = [item.id for item in settlements if item.n > 1 and item.state in {State.FAILED, State.EXPIRED}]
    doubtful = in_doubt(connection, ended)
    if not doubtful:
        return settlements
    return [item._replace(state=State.UNKNOWN) if item.id in doubtful else item for item in settlements]


def _attempt(item: Settlement, holder: Holder) -> tuple[str | int | None, ...]:
    """A row of what was tried, in the order of :func:`_attempt_sql`."""
    times = (to_micros(item.started_at), to_micros(item.ended_at))
    said = (item.outcome, item.code, item.provider_id, item.detail)
    return (item.id, item.n, holder.worker, item.account, *times, *said)


def _row(item: Settlement, holder: Holder, now: datetime) -> dict[str, Any]:
    """What an end other than ``accepted`` binds."""
    return {
        "id": item.id,
        "worker": holder.worker,
        "state": str(item.state),  # SQLite's driver looks long for how to adapt an enum
        "reason": item.reason,
        "provider_id": item.provider_id,
        "address_id": item.address_id,
        "due_at": None if item.due_at is None else to_micros(item.due_at),
        "now": to_micros(now),
    }
