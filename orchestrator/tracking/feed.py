"""The app's own inbox as the app reads it: a user's items, newest first, and the marks that they were seen and read.

Fetched is delivered; read is opened by a person (:mod:`orchestrator.tracking.acks`). A user who was merged into another
sees the items of both, under either name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from sqlalchemy import Connection, func, or_, select, update
from typing_extensions import override

from orchestrator.audience.aliases import family
from orchestrator.audience.users import user_ids
from orchestrator.channel.callback import carried_id
from orchestrator.clock import from_micros, to_micros
from orchestrator.store.tables import inbox_item
from orchestrator.tracking.acks import Ack, Deed, take_acks
from orchestrator.tracking.ingest import Name

PAGE = 20
LONGEST_PAGE = 100
MAX_IDS = 100
_CURSOR = re.compile(r"([0-9]{1,16})-([0-9]{1,19})")
_LARGEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last item of a page: the next page begins behind it."""

    at: datetime
    message_id: int

    @override
    def __str__(self) -> str:
        """As it stands in a request."""
        return f"{to_micros(self.at)}-{self.message_id}"


@dataclass(frozen=True, slots=True)
class Item:
    """One item. ``seen``: it was fetched before."""

    message_id: int
    title: str
    body: str
    link: str
    image: str
    data: dict[str, str]
    at: datetime
    expires_at: datetime
    read_at: datetime | None
    seen: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some items of a user; ``unread`` counts over all of them, ``after`` leads to the next page."""

    items: tuple[Item, ...] = ()
    unread: int = 0
    after: Cursor | None = None

    @property
    def unseen(self) -> list[int]:
        """The items that are fetched for the first time."""
        return [item.message_id for item in self.items if not item.seen]


@dataclass(frozen=True, slots=True)
class Mark:
    """Items of a user that were seen, or read too. ``ids`` None: a batch of those that are unread."""

    user: str
    ids: tuple[int, ...] | None
    at: datetime
    deed: Deed = Deed.DELIVERED


class TokenIn(BaseModel):
    """Whose inbox a pass is for, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: Name
    seconds: Annotated[int, Field(ge=60, le=30 * 86400)] = 86400


def _ids(value: Any) -> Any:
    if value == "all":
        return value
    if not isinstance(value, list):
        raise PydanticCustomError("ids", 'must be a list of item ids, or "all"')
    found = [carried_id(one) if isinstance(one, str) else None for one in value[: MAX_IDS + 1]]
    if None in found:
        raise PydanticCustomError("ids", "must be the decimal strings that the items carry as `id`")
    return tuple(found)


class ReadIn(BaseModel):
    """Which items were read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: Annotated[
        tuple[int, ...] | Literal["all"],
        BeforeValidator(_ids, json_schema_input_type=list[str] | Literal["all"]),
        Field(max_length=MAX_IDS),
    ]


def read_token_request(body: bytes) -> TokenIn | None:
    """None when it cannot be read."""
    try:
        return TokenIn.model_validate(orjson.loads(body))
    except (orjson.JSONDecodeError, ValidationError):
        return None


def read_marks(body: bytes) -> ReadIn | None:
    """None when it cannot be read."""
    try:
        return ReadIn.model_validate(orjson.loads(body))
    except (orjson.JSONDecodeError, ValidationError):
        return None


def read_cursor(text: str) -> Cursor | None:
    """Where a page ended; None for what no page said."""
    found = _CURSOR.fullmatch(text)
    if found is None or int(found[2]) > _LARGEST:
        return None
    return Cursor(from_micros(int(found[1])), int(found[2]))


def fetch(connection: Connection, user: str, now: datetime, after: Cursor | None = None, limit: int = PAGE) -> Page:
    """A page of a user's items that have not expired; empty for somebody we do not know."""
    ids = _names(connection, user)
    if not ids:
        return Page()
    mine = (inbox_item.c.user_id.in_(ids), inbox_item.c.expires_at > now)
    wanted = select(inbox_item).where(*mine)
    if after is not None:
        same = (inbox_item.c.at == after.at) & (inbox_item.c.message_id < after.message_id)
        wanted = wanted.where(or_(inbox_item.c.at < after.at, same))
    newest = (inbox_item.c.at.desc(), inbox_item.c.message_id.desc())
    rows = connection.execute(wanted.order_by(*newest).limit(limit + 1)).all()
    unread = connection.execute(select(func.count()).where(*mine, inbox_item.c.read_at.is_(None))).scalar_one()
    items = tuple(_item(row) for row in rows[:limit])
    return Page(items, unread, Cursor(items[-1].at, items[-1].message_id) if len(rows) > limit else None)


def _names(connection: Connection, user: str) -> tuple[int, ...]:
    """The ids under which a person has items."""
    found = user_ids(connection, [user]).get(user)
    return () if found is None else family(connection, found)


def _item(row: Any) -> Item:
    return Item(
        **{name: getattr(row, name) for name in ("message_id", "title", "body", "link", "image", "at", "expires_at")},
        data=row.data or {},
        read_at=row.read_at,
        seen=row.seen_at is not None,
    )


@dataclass(frozen=True, slots=True)
class Marked:
    """How many items a mark changed; ``more``: of those that are unread, not all were in this batch."""

    count: int = 0
    more: bool = False


@dataclass(slots=True)
class FeedBook:
    """Writes marks. Used from one database thread."""

    batch: int = field(default=MAX_IDS)

    def take(self, connection: Connection, marks: Sequence[Mark]) -> list[Marked]:
        """Write several marks, in order, in the caller's transaction; each repeats without harm."""
        return [self._take(connection, mark) for mark in marks]

    def _take(self, connection: Connection, mark: Mark) -> Marked:
        names = _names(connection, mark.user)
        column = inbox_item.c.read_at if mark.deed is Deed.OPENED else inbox_item.c.seen_at
        mine = (inbox_item.c.user_id.in_(names), inbox_item.c.expires_at > mark.at, column.is_(None))
        wanted = select(inbox_item.c.message_id).where(*mine).order_by(inbox_item.c.at.desc())
        if mark.ids is not None:
            wanted = wanted.where(inbox_item.c.message_id.in_(mark.ids))
        fresh = connection.execute(wanted.limit(self.batch)).scalars().all() if names else []
        if fresh:
            seen = {inbox_item.c.seen_at: func.coalesce(inbox_item.c.seen_at, to_micros(mark.at))}
            changed = update(inbox_item).where(inbox_item.c.message_id.in_(fresh))
            connection.execute(changed.values({**seen, column: mark.at}))
            take_acks(connection, [[Ack(number, mark.deed, mark.at, "inbox") for number in fresh]], mark.at)
        return Marked(len(fresh), mark.ids is None and len(fresh) == self.batch)
