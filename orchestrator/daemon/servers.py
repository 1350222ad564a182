"""What ``doctor`` looks at on the servers that several processes share: PostgreSQL, and Redis or Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import Connection, make_url, text
from sqlalchemy.pool import QueuePool

from orchestrator.channel.base import Health
from orchestrator.clock import Clock, to_micros
from orchestrator.daemon.line import Line
from orchestrator.daemon.roles import LEADING
from orchestrator.ledger.skew import MOST, skew
from orchestrator.limits.shared import ask, connect
from orchestrator.store import Store
from orchestrator.store.blocks import NOT_OURS, OWN_THEM, blocks, missing_blocks, ours

FINE, WARNING, BROKEN = Health.FINE, Health.WARNING, Health.BROKEN
OLDEST = 13
"""The first release of PostgreSQL that everything here was written for."""
SPARE = 2
"""Processes that should still find connections: the old one and the new one of an upgrade."""
SLOW = timedelta(milliseconds=5)
"""Every batch asks the limiter twice."""
FULL = 0.9


def look_at_postgresql(store: Store, clock: Clock) -> Iterator[Line]:
    """The server, its clock, its room, what it forgets, and whether somebody leads."""
    with store.read() as connection:
        yield _release(connection)
        yield _clock(skew(connection, clock))
        yield _connections(connection, store)
        yield from _settings(connection)
        yield from _between(connection, store)
        yield from _blocks(connection)
        yield from _leaders(connection, clock)


def _release(connection: Connection) -> Line:
    number, name = connection.execute(_RELEASE).one()
    if int(number) < OLDEST * 10_000:
        return Line("database", BROKEN, f"PostgreSQL {name} is too old", f"upgrade it to {OLDEST} at least")
    return Line("database", FINE, f"PostgreSQL {name} answers")


_RELEASE = text("SELECT current_setting('server_version_num'), split_part(current_setting('server_version'), ' ', 1)")


def _clock(apart: timedelta) -> Line:
    said = f"{apart.total_seconds():.1f} s from the database's"
    if apart <= MOST:
        return Line("clock", FINE, said)
    hint = "let both be set by NTP (timedatectl set-ntp true): until then this machine sends and leads nothing"
    return Line("clock", BROKEN, said, hint)


def _connections(connection: Connection, store: Store) -> Line:
    most, used = connection.execute(_CONNECTIONS).one()
    pool = store.writer_engine.pool
    assert isinstance(pool, QueuePool)
    each = pool.size() + pool._max_overflow  # noqa: SLF001  # SQLAlchemy has no other way to ask
    said = f"{used} of {most} in use; a process takes up to {each}"
    if most - used >= SPARE * each:
        return Line("connections", FINE, said)
    hint = "raise max_connections, or put PgBouncer before it: docs/howto/operate.md"
    return Line("connections", WARNING, said, hint)


_CONNECTIONS = text("""
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')""")

_LOSES = (
    "what was committed before a message left may be gone after a crash, and the message leaves again: switch it on"
)
_WANTED = {
    "fsync": (BROKEN, _LOSES),
    "full_page_writes": (BROKEN, "a crash may tear pages: switch it on"),
    "synchronous_commit": (WARNING, _LOSES),
    "autovacuum": (WARNING, "the ledger's rows change often: without it the tables grow and claims get slow"),
}


def _settings(connection: Connection) -> Iterator[Line]:
    found = {name: connection.execute(_SETTING, {"name": name}).scalar_one() for name in _WANTED}
    off = [name for name, value in found.items() if value == "off"]
    for name in off:
        health, hint = _WANTED[name]
        yield Line("database", health, f"{name} is off", hint)
    if not off:
        yield Line("database", FINE, f"{', '.join(_WANTED)} are on")


_SETTING = text("SELECT current_setting(:name)")


def _between(connection: Connection, store: Store) -> Iterator[Line]:
    """A pooler shows itself by another port than the one that was asked (so does a port that is forwarded)."""
    asked, answers = make_url(store.url).port or 5432, connection.execute(_PORT).scalar_one()
    if answers is not None and answers != asked:
        hint = "if it is PgBouncer in transaction mode: docs/howto/postgresql.md has what it needs"
        yield Line("database", FINE, f"port {asked} leads to a server on port {answers}: something is between", hint)


_PORT = text("SELECT inet_server_port()")


def _blocks(connection: Connection) -> Iterator[Line]:
    """Partitions are made ahead of the runs, by the sweeper."""
    missing, there = missing_blocks(connection), blocks(connection)
    if not ours(connection):
        yield Line("partitions", BROKEN, NOT_OURS, OWN_THEM)
    elif missing:
        said = f"no partition for the runs from {missing[0].first} on"
        yield Line(
            "partitions", WARNING, said, "is a process with the role sweeper running? its log says blocks_not_made"
        )
    elif there:
        yield Line("partitions", FINE, f"{len(there)}, made ahead of the runs")


def _leaders(connection: Connection, clock: Clock) -> Iterator[Line]:
    held = set(connection.execute(_LEADERS, {"machine": to_micros(clock.machine())}).scalars())
    live = connection.execute(_WORKERS, {"machine": to_micros(clock.machine())}).scalar_one()
    if not held and not live:
        yield Line("processes", WARNING, "none is running", "orchestrator run")
        return
    if without := sorted(role.value for role in LEADING if role.value not in held):
        hint = f"start one: orchestrator run {' '.join(f'--role {role}' for role in without)}"
        yield Line("processes", BROKEN, f"nobody is {' or '.join(without)}", hint)
    if not live:
        yield Line("processes", BROKEN, "no worker: nothing is sent", "start one: orchestrator run --role worker")
    if live and not without:
        yield Line("processes", FINE, f"{live} workers, a scheduler and a sweeper")


_LEADERS = text("SELECT role FROM leader WHERE until > :machine")
_WORKERS = text("SELECT count(*) FROM worker WHERE ended_at IS NULL AND lease_until > :machine")


def look_at_redis(address: str) -> Iterator[Line]:
    """Whether the server of the shared rates answers, how fast, and whether it has room."""
    told = ask(connect(address))
    if told is None:
        hint = "start it, or mend `redis`: nothing is sent while it does not answer"
        yield Line("redis", BROKEN, "no answer", hint)
        return
    said = f"{told.name} answers in {told.took / timedelta(milliseconds=1):.1f} ms"
    if told.took > SLOW:
        yield Line("redis", WARNING, said, "put it nearer: every batch asks it twice")
    else:
        yield Line("redis", FINE, f"{said}; rates are those of all processes together")
    if told.filled > FULL and told.refuses:
        said = f"{told.filled:.0%} of its memory is used, and it refuses what is beyond"
        yield Line("redis", WARNING, said, "raise maxmemory, or give the rates a server of their own")
