"""Who has refused just now, in this process: what is marked already, and has not left, does not leave any more.

The gate asks the database at the mark. Between that commit and the request lie some milliseconds, in which a refusal
may be committed. So whoever writes one notes it here before its commit, and the worker looks here right before the
request: a message that it finds goes back to the queue as never begun, and the gate has the last word. A note too many
(the transaction was undone, or is about another topic) costs a message one more turn.

Other processes learn of it at their next mark; a mark is good for a few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from threading import Lock
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine

KEPT_SECONDS = 30.0
"""Longer than a mark is good for, and than a transaction takes from its note to its commit."""
MOST = 100_000
"""A list that is imported is no news of this second: of more, the oldest are forgotten."""

Whom = tuple[str, int | str]
"""A channel, and a user's id or an address."""

_lock = Lock()
_noted: WeakKeyDictionary[Engine, dict[Whom, float]] = WeakKeyDictionary()
"""By database: when each was noted, on the machine's clock, oldest first."""


def note(connection: Connection, whom: Iterable[Whom]) -> None:
    """Note refusals; in the transaction that writes them."""
    now = time.monotonic()
    with _lock:
        known = _noted.setdefault(connection.engine, {})
        for one in whom:
            known.pop(one, None)
            known[one] = now
        while known and (len(known) > MOST or next(iter(known.values())) < now - KEPT_SECONDS):
            del known[next(iter(known))]


def just_refused(engine: Engine, channel: str, user_id: int, address: str) -> bool:
    """Whether this user, or whoever has this address, has refused the channel just now."""
    known = _noted.get(engine)
    if not known:
        return False
    since = time.monotonic() - KEPT_SECONDS
    return any(known.get(one, 0.0) > since for one in ((channel, user_id), (channel, address)))
