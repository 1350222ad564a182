"""Who was merged into whom. The old user keeps row, members and messages; what is said of them goes to the other.

Who is merged into themselves was erased, or is being erased: nobody's audience, and nobody's other name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, exists, literal_column, select

from orchestrator.audience.rows import slices
from orchestrator.store.tables import user_alias


def aliases(connection: Connection, user_ids: Iterable[int]) -> dict[int, int]:
    """Of these users, those who were merged, with whom they are now."""
    found: dict[int, int] = {}
    for some in slices(list(dict.fromkeys(user_ids))):
        rows = connection.execute(_ALIASES.where(user_alias.c.old_user_id.in_(some)))
        found.update(rows.all())
    return found


_OTHER = user_alias.c.old_user_id != user_alias.c.user_id
_ALIASES = select(user_alias.c.old_user_id, user_alias.c.user_id).where(_OTHER)


def gone(user: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a user was erased, or is being erased: SQL over their id."""
    mine = (user_alias.c.old_user_id == user, user_alias.c.user_id == user)
    return exists(select(literal_column("1")).select_from(user_alias).where(*mine).correlate_except(user_alias))


def erased_among(connection: Connection, user_ids: Sequence[int]) -> set[int]:
    """Of these users, those who were erased."""
    found: set[int] = set()
    for some in slices(user_ids):
        mine = select(user_alias.c.old_user_id).where(user_alias.c.old_user_id.in_(some), ~_OTHER)
        found.update(connection.execute(mine).scalars())
    return found


def now_called(found: Mapping[int, int], user_id: int | None) -> int | None:
    """Whom a user is now, given what :func:`aliases` found."""
    return None if user_id is None else found.get(user_id, user_id)


def family(connection: Connection, user_id: int) -> tuple[int, ...]:
    """A person's ids: the one in use first, then those that were merged into it, oldest merge first."""
    now = aliases(connection, [user_id]).get(user_id, user_id)
    order = (user_alias.c.merged_at, user_alias.c.old_user_id)
    rows = select(user_alias.c.old_user_id).where(user_alias.c.user_id == now, _OTHER).order_by(*order)
    return (now, *connection.execute(rows).scalars())
