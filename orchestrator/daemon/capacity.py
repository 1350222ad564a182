"""What ``doctor`` says of connections: whether an account has enough of them for its rate, by how long answers took."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from statistics import fmean

from sqlalchemy import Connection, text

from orchestrator.channel.base import Health
from orchestrator.clock import Clock, to_micros
from orchestrator.daemon.line import Line
from orchestrator.ledger.ids import ids_of_run
from orchestrator.settings import AccountSettings, Settings
from orchestrator.store import Store

SEEN = 500
"""Answers of an account that count, of its latest runs."""
LOOKED_AT = 20_000
"""Attempts of a run that are read for them, at most: other accounts' may be among them."""
ENOUGH = 50
"""Fewer say nothing."""
RUNS = 10
"""The latest ones, some of which may only be planned."""
MOST = 1000
"""Connections that the settings allow."""

_WORKERS = text("SELECT count(*) FROM worker WHERE ended_at IS NULL AND lease_until > :machine")
_RUNS = text("SELECT DISTINCT run_id FROM lane WHERE account = :account ORDER BY run_id DESC LIMIT :n")
_TOOK = text(f"""
    SELECT ended_at - started_at FROM (
        SELECT account, started_at, ended_at FROM attempt
        WHERE message_id >= :first_id AND message_id < :past_id LIMIT {LOOKED_AT}) AS latest
    WHERE account = :account AND ended_at IS NOT NULL LIMIT :n""")


def look_at_connections(store: Store, settings: Settings, clock: Clock) -> Iterator[Line]:
    """A line for each account whose connections are what keeps it below its rate."""
    with store.read() as connection:
        workers = max(connection.execute(_WORKERS, {"machine": to_micros(clock.machine())}).scalar_one(), 1)
        for name, account in sorted(settings.accounts.items()):
            took = _took(connection, name)
            if len(took) < ENOUGH:
                continue
            seconds = clock.machine_span(timedelta(microseconds=fmean(took))).total_seconds()
            if (line := _line(name, account, seconds, workers)) is not None:
                yield line


def _took(connection: Connection, account: str) -> list[int]:
    """Microseconds that the latest runs' answers took; requests without an answer are not among them."""
    found: list[int] = []
    for run in connection.execute(_RUNS, {"account": account, "n": RUNS}).scalars().all():
        asked = {"account": account, "n": SEEN - len(found), **ids_of_run(run)}
        found += connection.execute(_TOOK, asked).scalars()
    return found


def _line(name: str, account: AccountSettings, seconds: float, workers: int) -> Line | None:
    through = workers * account.connections / seconds if seconds > 0 else math.inf
    if through >= account.rate:
        return None
    found = (
        f"answers take {seconds * 1000:,.0f} ms on average: {account.connections} connections let {through:,.0f} "
        f"messages a second through{f' in {workers} workers' if workers > 1 else ''}, "
        f"and its rate is {account.rate:,.0f}"
    )
    wanted = math.ceil(account.rate * seconds / workers)
    more = [f"raise accounts.{name}.connections to {min(wanted, MOST):,}"] * (account.connections < MOST)
    more += ["start more workers"] * (wanted > MOST)
    return Line(f"account {name}", Health.WARNING, found, ", and ".join(more))
