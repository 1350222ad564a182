"""Accounts that must not be used: written when a provider's answer says so, lifted by an operator."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, select, text

from orchestrator.clock import to_micros
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.tables import stop

_INSERT = """
    INSERT INTO stop (account, reason, since, until) VALUES (:account, :reason, :since, NULL)
    ON CONFLICT (account) DO"""
_STOP = text(f"{_INSERT} NOTHING RETURNING account")
_AGAIN = text(f"""{_INSERT} UPDATE SET reason = excluded.reason, since = excluded.since, until = NULL
    WHERE stop.reason <> 'restored'""")  # that one ends by `restore accept` alone


def stop_account(  # one value each
    connection: Connection, account: str, reason: str, machine: datetime, now: datetime, actor: str
) -> None:
    """Nobody uses this account until an operator says so; the history is told once, however many answers say it."""
    values = {"account": account, "reason": reason, "since": to_micros(machine)}
    if connection.execute(_STOP, values).first() is None:
        connection.execute(_AGAIN, values)
    else:
        record(connection, [Transition(now, "stopped", actor, None, f"account {account}: {reason}")])


def resume_account(connection: Connection, account: str, now: datetime, actor: str) -> bool:
    """Use it again; False when it was not stopped."""
    if not connection.execute(delete(stop).where(stop.c.account == account)).rowcount:
        return False
    record(connection, [Transition(now, "resumed", actor, "stopped", f"account {account}")])
    return True


def stopped_accounts(connection: Connection) -> dict[str, str]:
    """The stopped accounts, with the reason of each."""
    return {row.account: row.reason for row in connection.execute(select(stop.c.account, stop.c.reason))}
