"""The allow-list of a staging deployment: nothing leaves to anybody else, whatever campaigns say."""

from __future__ import annotations

from collections.abc import Iterable

OnlyTo = frozenset[str] | None
"""Users' own ids, and addresses; None: everybody. Empty: nobody."""


def only_to(entries: Iterable[str] | None) -> OnlyTo:
    """The list as it is compared: mailboxes are the same in capitals."""
    return None if entries is None else frozenset(_same(entry.strip()) for entry in entries)


def allowed(listed: OnlyTo, user: str | None, address: str) -> bool:
    """Whether something may leave to this address of this user (None: nobody's)."""
    return listed is None or _same(address) in listed or (user is not None and _same(user) in listed)


def _same(text: str) -> str:
    return text.casefold() if "@" in text else text
