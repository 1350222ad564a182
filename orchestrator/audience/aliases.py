"""Who was merged into whom. The old user keeps row, members and messages; what is said of them goes to the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from orchestrator.audience.rows import slices
from orchestrator.store.tables import user_alias


def aliases(connection: Connection, user_ids: Iterable[int]) -> dict[int, int]:
    """Of these users, those who were merged, with whom they are now."""
    found: dict[int, int] = {}
    for some in slices(list(dict.fromkeys(user_ids))):
        rows = connection.execute(_ALIASES.where(user_alias.c.old_user_id.in_(some)))
        found.update(rows.all())
    return found


_ALIASES = select(user_alias.c.old_user_id, user_alias.c.user_id)


def now_called(found: Mapping[int, int], user_id: int | None) -> int | None:
    """Whom a user is now, given what :func:`aliases` found."""
    return None if user_id is None else found.get(user_id, user_id)


def family(connection: Connection, user_id: int) -> tuple[int, ...]:
    """A person's ids: the one in use first, then those that were merged into it, oldest merge first."""
    now = aliases(connection, [user_id]).get(user_id, user_id)
    order = (user_alias.c.merged_at, user_alias.c.old_user_id)
    rows = select(user_alias.c.old_user_id).where(user_alias.c.user_id == now).order_by(*order)
    return (now, *connection.execute(rows).scalars())
