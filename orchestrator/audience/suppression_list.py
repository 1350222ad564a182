"""The list of suppressions, out and by hand: written for other systems, added to and lifted by operators.

What is written can be imported again (:mod:`orchestrator.audience.takers`) and changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, or_, select

from orchestrator.audience.suppressions import Suppressed, lift, suppress_all
from orchestrator.audience.users import user_ids
from orchestrator.errors import InputError, NotFoundError
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.tables import address, suppression, users

COLUMNS = ("channel", "address", "user", "reason", "source", "at")
MAPPING = "columns: {channel: channel, address: address, user: user, reason: reason, source: source, at: at}"
"""The mapping file with which the written list is imported."""
FORCED = frozenset({"complaint"})
"""Reasons that are lifted only on purpose: who complained once is not asked a second time."""
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"\+\d+")


@dataclass(frozen=True, slots=True)
class Target:
    """Of whom a suppression is: an address of a channel, or a user there by the app's own id."""

    channel: str
    address: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        """One of the two."""
        if (self.address is None) == (self.user is None):
            raise InputError("of whom? give an address or a user, one of the two")


def exported(connection: Connection) -> Iterator[tuple[str, ...]]:
    """Every suppression that holds now, by :data:`COLUMNS`; no cell is a spreadsheet's formula."""
    current = (
        select(suppression, users.c.external_id)
        .outerjoin(users, users.c.id == suppression.c.user_id)
        .where(suppression.c.valid_until.is_(None))
        .order_by(suppression.c.id)
        .execution_options(yield_per=1000)
    )
    for row in connection.execute(current):
        said = (row.channel, row.address or "", row.external_id or "", row.reason, row.source)
        yield (*map(guarded, said), row.valid_from.isoformat())


def guarded(text: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP); a phone number is none."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(text: str) -> str:
    """What :func:`guarded` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


def add(connection: Connection, target: Target, reason: str, at: datetime, actor: str) -> bool:
    """Send no more to an address or user; whether that is news.

    Raises:
        NotFoundError: there is no such user.
    """
    user_id = _user(connection, target)
    one = Suppressed(target.channel, reason, actor, at, target.address, user_id)
    news = suppress_all(connection, [one]) > 0
    if news:
        record(connection, [Transition(at, "suppressed", actor, reason=f"{target.channel}: {reason}")])
    return news


@dataclass(frozen=True, slots=True)
class Lifted:
    """The reasons that were lifted, and those that still hold."""

    reasons: tuple[str, ...]
    held: tuple[str, ...]


def lift_by_hand(
    connection: Connection, target: Target, because: str, at: datetime, actor: str, *, force: bool = False
) -> Lifted:
    """Let a person be sent to again on a channel: the address, and whoever has it; the user, and their addresses.

    A STOP holds for both. Who lifted it, when and why stays in the history, without the address.

    Raises:
        InputError: no reason is given for it.
        NotFoundError: there is no such user, or nothing to lift.
    """
    if not because.strip():
        raise InputError("why may it be lifted?", hint="what the person said, and where: it is kept as proof")
    addresses, user_id = _person(connection, target)
    of_them = or_(suppression.c.address.in_(addresses), suppression.c.user_id == (user_id or 0))
    current = select(suppression.c.id, suppression.c.reason).where(
        suppression.c.channel == target.channel, of_them, suppression.c.valid_until.is_(None)
    )
    holding = {row.id: row.reason for row in connection.execute(current.order_by(suppression.c.id))}
    if not holding:
        raise NotFoundError("there is no such suppression", hint="`orchestrator suppression export` lists all of them")
    reasons = {reason for reason in holding.values() if force or reason not in FORCED}
    if reasons:
        for address_of, user in [*((one, None) for one in addresses), *([(None, user_id)] if user_id else [])]:
            lift(connection, channel=target.channel, at=at, address=address_of, user_id=user, reasons=reasons)
        numbers = ", ".join(f"#{number} {reason}" for number, reason in holding.items() if reason in reasons)
        words = f"{target.channel} {numbers}: {because.strip()[:200]}"
        record(connection, [Transition(at, "suppression_lifted", actor, reason=words)])
    return Lifted(tuple(sorted(reasons)), tuple(sorted(set(holding.values()) - reasons)))


def _person(connection: Connection, target: Target) -> tuple[list[str], int | None]:
    """Their addresses on the channel, and who they are, where that is known."""
    current = address.c.channel == target.channel, address.c.valid_until.is_(None)
    if target.address is not None:
        owner = select(address.c.user_id).where(*current, address.c.value == target.address)
        return [target.address], connection.execute(owner).scalar()
    user_id = _user(connection, target)
    theirs = select(address.c.value).where(*current, address.c.user_id == user_id)
    return list(connection.execute(theirs).scalars()), user_id


def _user(connection: Connection, target: Target) -> int | None:
    if target.user is None:
        return None
    found = user_ids(connection, [target.user]).get(target.user)
    if found is None:
        raise NotFoundError(f"there is no user {target.user[:64]!r}", hint="give the id that the app uses")
    return found
