"""What ``doctor`` looks at on this machine and in the database: what would go wrong later, and what to do about it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from orchestrator.audience import erased
from orchestrator.campaign.load import load_bundle
from orchestrator.campaign.spec import Campaign
from orchestrator.campaign.version import read_bundle
from orchestrator.channel.base import Health
from orchestrator.channel.plugins import calls_back
from orchestrator.clock import Clock
from orchestrator.daemon.capacity import look_at_connections
from orchestrator.daemon.control import socket_path
from orchestrator.daemon.line import Line
from orchestrator.daemon.restoring import behind, guard_of
from orchestrator.daemon.servers import look_at_postgresql, look_at_redis
from orchestrator.daemon.wiring import redis_address, sealer_of
from orchestrator.errors import ConfigError, NotFoundError, OrchestratorError
from orchestrator.ledger.restored import REASON as RESTORED
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.policy.predicates import OWN_ID
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.store.engine import lock_holder
from orchestrator.store.guard import GuardAwayError
from orchestrator.store.migrate import newest

FINE, WARNING, BROKEN = Health.FINE, Health.WARNING, Health.BROKEN
SCARCE, FULL = 1 << 30, 100 << 20
"""Bytes left on the disk."""
OLD = timedelta(days=400)
RECENT_RUNS = 5


def look_around(settings: Settings, clock: Clock) -> Iterator[Line]:
    """The machine, the settings, the database, what waits in it."""
    yield _sqlite(settings)
    yield _zone_data(clock.machine())
    yield _disk(settings)
    yield from _settings(settings)
    if (address := redis_address(settings)) is not None:
        yield from look_at_redis(address)
    try:
        store = Store(settings.database, writer=False)
    except NotFoundError:
        yield Line("database", WARNING, "there is none yet", "import users, or launch a campaign: it is made then")
        return
    try:
        yield from _database(store, settings, clock)
    finally:
        store.close()


def _sqlite(settings: Settings) -> Line:
    """SQLite before 3.51.3 (but 3.44.6 and 3.50.7) can lose writes of several WAL connections; ours has one writer."""
    if "://" in settings.database:
        return Line("sqlite", FINE, "not used: the database is PostgreSQL")
    found = sqlite3.sqlite_version_info
    if found >= (3, 51, 3) or found in {(3, 44, 6), (3, 50, 7)}:
        return Line("sqlite", FINE, f"{sqlite3.sqlite_version} has the WAL fix")
    said = f"{sqlite3.sqlite_version} is without the WAL fix of 3.51.3; safe as long as one process writes the file"
    return Line("sqlite", WARNING, said, "open the file with no other program while the daemon runs, or use PostgreSQL")


def _zone_data(machine: datetime) -> Line:
    """The package's version is year and release: a release every two to three months, so its age is told by it."""
    found = version("tzdata")
    year, _, release = found.partition(".")
    released = datetime(int(year), 1, 1, tzinfo=UTC) + timedelta(days=60 * int(release.partition(".")[0] or 0))
    if machine - released < OLD:
        return Line("zone data", FINE, f"tzdata {found} from its package")
    hint = "pip install --upgrade tzdata: zones change every year"
    return Line("zone data", WARNING, f"tzdata {found} is more than a year old", hint)


def _disk(settings: Settings) -> Line:
    folder = Path.cwd() if "://" in settings.database else Path(settings.database).resolve().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    health = BROKEN if free < FULL else WARNING if free < SCARCE else FINE
    hint = "" if health is FINE else "make room: nothing is sent that cannot be written down first"
    return Line("disk", health, f"{free / (1 << 30):,.1f} GiB free", hint)


def _settings(settings: Settings) -> Iterator[Line]:
    if not settings.accounts:
        yield Line("accounts", WARNING, "none is configured: nothing can be sent", "see docs/reference/channels")
    needs = sorted(name for name, one in settings.accounts.items() if _calls_back(name, one.provider))
    mail = any(one.channel == "email" for one in settings.accounts.values())
    if settings.public_url:
        yield Line("public_url", FINE, settings.public_url)
    elif needs or mail:
        who = ", ".join(needs) or "unsubscribe links of mail"
        found = f"not set: {who} cannot reach this deployment"
        yield Line("public_url", WARNING, found, "set public_url to what the outside calls: https://…")
    keys = len(settings.api_keys)
    hint = "" if keys else "set api_keys, or no event can come in"
    yield Line("api keys", FINE if keys else WARNING, f"{keys} set", hint)


def _calls_back(name: str, provider: str) -> bool:
    try:
        return calls_back(name, provider)
    except ConfigError:  # no such provider: opening the account says so
        return False


_AWAY = "see that PostgreSQL runs, that `database` leads there, and that it lets this user in"
_OLDER = "orchestrator db upgrade brings it to this program's schema; else see the error's class"


def _database(store: Store, settings: Settings, clock: Clock) -> Iterator[Line]:
    looks: tuple[Callable[[], Iterator[Line]], ...] = (
        lambda: look_at_postgresql(store, clock) if store.path is None else _writer(store, store.path),
        lambda: _schema(store),
        lambda: _guard(store, settings, clock),
        lambda: _erased(store, settings),
        lambda: _stops(store),
        lambda: look_at_connections(store, settings, clock),
        lambda: _campaigns(store, settings),
        lambda: _sums(store),
    )
    for look in looks:
        try:
            yield from look()
        except SQLAlchemyError as error:
            away = store.path is None and isinstance(error, OperationalError)
            yield Line("database", BROKEN, f"cannot be read: {type(error).__name__}", _AWAY if away else _OLDER)
            return
        except OrchestratorError as error:
            yield Line("database", BROKEN, error.message, error.hint)
            return


def _writer(store: Store, path: Path) -> Iterator[Line]:
    running = socket_path(path).exists() and bool(lock_holder(path))
    with store.read() as connection:
        connection.execute(text("SELECT count(*) FROM run"))
    said = f"written by process {lock_holder(path)}" if running else "nobody writes it: no daemon is running"
    yield Line("database", FINE, f"{path.name} can be read; {said}")


def _schema(store: Store) -> Iterator[Line]:
    with store.read() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    if found < newest():
        said = f"the schema is of {found}, and this program's is {newest()}"
        yield Line("schema", WARNING, said, "orchestrator db upgrade; older processes go on working beside it")
    elif found > newest():
        said = f"the schema is of {found}, which this program does not know: it is the older one of an upgrade"
        yield Line("schema", FINE, said, "upgrade this program too")
    else:
        yield Line("schema", FINE, f"{found}, as this program wants it")


def _guard(store: Store, settings: Settings, clock: Clock) -> Iterator[Line]:
    guard = guard_of(settings, clock, store)
    if guard is None:
        said = "none: whatever was sent since a backup would be sent again by a restored one"
        yield Line("restore guard", WARNING, said, "set `redis`: it remembers until when each run was sent")
        return
    try:
        found = behind(store, clock, guard)
    except GuardAwayError:  # the line of redis says so
        return
    finally:
        guard.close()
    if found:
        said = f"{len(found):,} of the runs were sent further than this database knows: it is older"
        yield Line("restore guard", BROKEN, said, "orchestrator restore status; then: orchestrator restore accept")
    else:
        yield Line("restore guard", FINE, "this database knows all that was sent")


def _erased(store: Store, settings: Settings) -> Iterator[Line]:
    """The key of what erased people had refused: without it nobody new is taken in."""
    try:
        with store.read() as connection:
            erased.seal_with(connection.engine, sealer_of(settings, make=False))
            known = erased.check(connection)
    except ConfigError as error:
        yield Line("erasure key", BROKEN, error.problems[0].message, error.problems[0].hint)
        return
    if known:
        yield Line("erasure key", FINE, "opt-outs of erased people were hashed with this one")


def _stops(store: Store) -> Iterator[Line]:
    with store.read() as connection:
        stopped = stopped_accounts(connection)
    for name, reason in sorted(stopped.items()):
        yield Line(f"account {name}", BROKEN, f"stopped: {reason}", what_to_do(name, reason))


def what_to_do(account: str, reason: str) -> str:
    """How an operator gets a stopped account back into use."""
    if reason == RESTORED:
        return "see what was sent since the backup, then: orchestrator restore accept"
    return f"mend it at the provider or in the settings, then: orchestrator accounts resume {account}"


_CONSENT = text("""
    SELECT EXISTS (SELECT 1 FROM consent WHERE consent.channel = :channel AND consent.topic = :topic
                   AND consent.granted AND consent.valid_until IS NULL)""")
_LIVE = text("SELECT name, version FROM campaign WHERE state = 'running' ORDER BY name")


def _campaigns(store: Store, settings: Settings) -> Iterator[Line]:
    """Of what is running, and of the files: steps that no account carries, topics that nobody has agreed to."""
    with store.read() as connection:
        for name, found, running in _bundles(connection, settings):
            if isinstance(found, OrchestratorError):
                yield Line(
                    f"campaign {name}", WARNING, found.message.splitlines()[0], "orchestrator validate says more"
                )
                continue
            yield from _steps(connection, settings, found, BROKEN if running else WARNING)


def _bundles(connection: Connection, settings: Settings) -> Iterator[tuple[str, Campaign | OrchestratorError, bool]]:
    running = {row.name: row.version for row in connection.execute(_LIVE)}
    files = {path.stem for path in settings.campaigns.glob("*.yaml")} - {"topics", "attributes"}
    for name in sorted(running.keys() | files):
        try:
            if name in running:
                yield name, read_bundle(connection, running[name]).campaign, True
            else:
                yield name, load_bundle(name, settings.campaigns, settings.templates).campaign, False
        except OrchestratorError as error:
            yield name, error, name in running


def _steps(connection: Connection, settings: Settings, found: Campaign, without: Health) -> Iterator[Line]:
    for channel, named in sorted({(step.channel, step.account) for step in found.steps}, key=str):
        there = [name for name, one in settings.accounts.items() if one.channel == channel and named in {None, name}]
        if not there:
            said = f"no account {named}" if named else f"no account for {channel}"
            yield Line(f"campaign {found.name}", without, said, "add one under accounts")
    for channel in sorted({step.channel for step in found.steps} - set(OWN_ID)):
        if not connection.execute(_CONSENT, {"channel": channel, "topic": found.topic}).scalar():
            said = f"nobody has agreed to {found.topic} on {channel}: nobody would get anything"
            yield Line(f"campaign {found.name}", WARNING, said, "orchestrator import consents, or POST /v1/consents")


_SUMS = text(f"""
    SELECT run.id, run.campaign, run.audience, (SELECT count(*) FROM member WHERE member.run_id = run.id) AS members
    FROM run WHERE run.state IN ('active', 'done') AND run.forgotten_at IS NULL
    ORDER BY run.id DESC LIMIT {RECENT_RUNS}""")


def _sums(store: Store) -> Iterator[Line]:
    with store.read() as connection:
        rows = connection.execute(_SUMS).all()
    wrong = [row for row in rows if row.audience != row.members]
    for row in wrong:
        said = f"run {row.id} of {row.campaign} has {row.members:,} members for an audience of {row.audience:,}"
        yield Line("ledger", BROKEN, said, "rows were lost or added by hand: compare with a backup")
    if rows and not wrong:
        yield Line("ledger", FINE, f"the members of the last {len(rows)} runs add up")
