"""Messages with a request behind them whose answer was lost, waiting to be sent again: they may have arrived.

Whatever takes such a message out of the queue must not say that it was certainly not sent: it ends as ``unknown``,
under the reason of its end, and late receipts still move it on. Caps count it meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sqlalchemy import Connection, TextClause, text

from orchestrator.ledger.ids import ids_among
from orchestrator.ledger.states import State
from orchestrator.store.dialect import among, one_of_sql, within_sql


def in_doubt_sql(message: str, ledger: str = "", more: str = "") -> str:
    """A condition on rows ``message`` that were tried: some answer was lost. ``ledger``: the schema and a dot.

    ``more``: a condition (``AND …``) on ``tried.message_id``, by which PostgreSQL need not open every partition.
    """
    return f"""({message}.attempts > 0 AND EXISTS (SELECT 1 FROM {ledger}attempt AS tried
        WHERE tried.message_id = {message}.id AND tried.outcome = 'ambiguous' {more}))"""


def ended_sql(state: State, dialect: str = "") -> str:
    """The state, in SQL, of a ``message`` that leaves the queue for good; ``dialect``: it is bound which run's."""
    tried = in_doubt_sql("message", more=within_sql(dialect, "tried.message_id"))
    return f"CASE WHEN {tried} THEN '{State.UNKNOWN}' ELSE '{state}' END"


@cache
def _sql(dialect: str) -> TextClause:
    tried = in_doubt_sql("message", more=within_sql(dialect, "tried.message_id"))
    return text(f"SELECT id FROM message WHERE id {one_of_sql(dialect, 'ids')} AND {tried}")


def in_doubt(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Which of these messages may have arrived."""
    if not ids:
        return set()
    return set(connection.execute(_sql(connection.dialect.name), {"ids": among(ids), **ids_among(ids)}).scalars())
