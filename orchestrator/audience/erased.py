"""What erased people had refused: kept as keyed hashes alone, and in force again when they are taken in again.

An old export that is imported must not reach somebody who had said no, and nothing may tell who that was. So a row has
the hash of an address, or of the app's id of a user, and what was refused. The key is the deployment's, and not in the
database; of the key the database holds a hash, so that a wrong one is noticed before an opt-out is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, Row, delete, insert, select, text

from orchestrator.audience.consents import ConsentChange, set_consents
from orchestrator.audience.rows import slices
from orchestrator.audience.suppressions import Suppressed, suppress_all
from orchestrator.errors import ConfigError, Problem
from orchestrator.store.remember import recall, remember, remember_first
from orchestrator.store.tables import consent, erased, users

Seal = Callable[[str], str]
"""A keyed hash of a text. May read the key from its file, and raise ConfigError."""
SOURCE = "erased"
REFUSED = "refused"
"""The reason of a refused consent; all others are suppressions'."""
KEY = "erased_key"
"""In ``meta``: the hash of nothing under the key. The daemons' key, and for good once there is an opt-out."""

_seals: WeakKeyDictionary[Engine, Seal] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class OptOut:
    """What somebody had refused, and when. ``digest`` is :func:`of_user`'s or :func:`of_address`'s, sealed."""

    digest: str
    channel: str
    reason: str
    at: datetime
    topic: str = ""


def of_user(name: str) -> str:
    """What is hashed of a user: the app's own id."""
    return f"user\0{name}"


def of_address(channel: str, value: str) -> str:
    """What is hashed of an address."""
    return f"address\0{channel}\0{value}"


def seal_with(engine: Engine, seal: Seal) -> None:
    """Say, once per process and database, how its opt-outs are hashed; the engine is that which writes."""
    _seals[engine] = seal


def begin(connection: Connection) -> Seal:
    """The seal, to hash with: it has to be the daemons'.

    Raises:
        ConfigError: the key is another one than theirs, or cannot be read.
    """
    remember_first(connection, KEY, _seal(connection)(""))
    return _checked(connection)


def settle(connection: Connection) -> None:
    """At a daemon's start: its key is the one to hash with, unless there are opt-outs that another one hashed.

    Raises:
        ConfigError: there are.
    """
    if not check(connection):
        remember(connection, KEY, _seal(connection)(""))


def check(connection: Connection) -> bool:
    """Whether there are any opt-outs, and if so that this process has the key that hashed them.

    Raises:
        ConfigError: it has not.
    """
    return _any(connection) and _checked(connection) is not None


def keep(connection: Connection, digests: Collection[str], refused: Iterable[OptOut]) -> int:
    """Keep what a person refuses now; what was kept of an earlier erasure of theirs is replaced. How many."""
    connection.execute(delete(erased).where(erased.c.digest.in_(digests)))
    once = {(one.digest, one.channel, one.topic, one.reason): asdict(one) for one in refused}
    if once:
        connection.execute(insert(erased), list(once.values()))
    return len(once)


def hold_users(connection: Connection, names: Collection[str]) -> None:
    """Users have been added: what they refused before they were erased is in force again."""
    found = _found(connection, {of_user(name): name for name in names})
    if not found:
        return
    ids: dict[str, int] = {}
    for some in slices(sorted({name for name, _ in found})):
        ids.update(connection.execute(_IDS.where(users.c.external_id.in_(some))).all())
    theirs = [(ids[name], row) for name, row in found]
    suppress_all(connection, [_banned(row, user_id=user) for user, row in theirs if row.reason != REFUSED])
    set_consents(connection, [_refusal(user, row) for user, row in theirs if row.reason == REFUSED])


_IDS = select(users.c.external_id, users.c.id)


def hold_addresses(connection: Connection, addresses: Iterable[tuple[str, str]]) -> None:
    """Addresses (channel, value) are somebody's anew: what was refused for them is in force again."""
    found = _found(connection, {of_address(*one): one for one in addresses})
    if found:
        suppress_all(connection, [_banned(row, address=value) for (_, value), row in found])


def _banned(row: Row[Any], *, address: str | None = None, user_id: int | None = None) -> Suppressed:
    return Suppressed(row.channel, row.reason, SOURCE, row.at, address, user_id)


def _refusal(user_id: int, row: Row[Any]) -> ConsentChange:
    return ConsentChange(user_id, row.channel, row.topic, granted=False, source=SOURCE, at=row.at, dated=True)


def believed(connection: Connection, changes: Sequence[ConsentChange]) -> Sequence[ConsentChange]:
    """Of statements from a file those that count: an agreement without a date may be older than what was erased."""
    doubtful = {one.user_id for one in changes if one.granted and not one.dated}
    if not doubtful or not _any(connection):
        return changes
    held: set[tuple[int, str, str]] = set()
    for some in slices(sorted(doubtful)):
        current = (consent.c.user_id.in_(some), consent.c.valid_until.is_(None))
        said = select(consent.c.user_id, consent.c.channel, consent.c.topic).where(*current, consent.c.source == SOURCE)
        held.update(tuple(row) for row in connection.execute(said))
    return [one for one in changes if one.dated or not one.granted or (one.user_id, one.channel, one.topic) not in held]


def _any(connection: Connection) -> bool:
    """Whether there is any opt-out of somebody erased."""
    return connection.execute(_ANY).first() is not None


_ANY = text("SELECT 1 FROM erased LIMIT 1")


def _found(connection: Connection, wanted: Mapping[str, Any]) -> list[tuple[Any, Row[Any]]]:
    """What is kept of these, each with what it is of. Where there are no opt-outs at all: one look, and no hashing."""
    if not wanted or not _any(connection):
        return []
    seal = _checked(connection)
    of = {seal(words): one for words, one in wanted.items()}
    found: list[tuple[Any, Row[Any]]] = []
    for some in slices(list(of)):
        rows = connection.execute(select(erased).where(erased.c.digest.in_(some)))
        found += [(of[row.digest], row) for row in rows]
    return found


def _seal(connection: Connection) -> Seal:
    seal = _seals.get(connection.engine)
    if seal is None:
        raise _wrong("is not known here", "this program has to be told which key opt-outs are hashed with")
    return seal


def _checked(connection: Connection) -> Seal:
    seal = _seal(connection)
    if seal("") != recall(connection, KEY):
        hint = "put the deployment's own key there: without it nobody knows what erased people had refused"
        raise _wrong("is not the key that opt-outs of erased people were hashed with", hint)
    return seal


def _wrong(message: str, hint: str) -> ConfigError:
    return ConfigError([Problem("orchestrator.yaml", 0, "erasure_key_file", message, hint)])
