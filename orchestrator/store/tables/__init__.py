"""The schema, a page each: audience, campaigns, ledger. What changes there gets a migration (a test compares the two).

Instants are microseconds since 1970 (see :mod:`orchestrator.clock`); ``valid_from``/``valid_until`` bound a version
of a row, half-open, and the current one has no ``valid_until``. Identifiers of messages and lanes embed their run, so
that a second row for the same (member, step) cannot exist, and a partition by run needs no other key.
"""

from __future__ import annotations

from orchestrator.store.tables.audience import (
    address,
    consent,
    erased,
    event,
    opt_in,
    suppression,
    user_alias,
    users,
)
from orchestrator.store.tables.campaigns import (
    best_hour,
    campaign,
    enrolled,
    event_cursor,
    run,
    shard,
    slot,
    slot_hour,
    version,
    waiting,
)
from orchestrator.store.tables.columns import Id, Instant, Json, metadata
from orchestrator.store.tables.ledger import (
    alert,
    attempt,
    inbox_item,
    lane,
    leader,
    link,
    member,
    message,
    meta,
    receipt,
    spend,
    stop,
    transition,
    warmed,
    worker,
)

__all__ = [
    "Id",
    "Instant",
    "Json",
    "address",
    "alert",
    "attempt",
    "best_hour",
    "campaign",
    "consent",
    "enrolled",
    "erased",
    "event",
    "event_cursor",
    "inbox_item",
    "lane",
    "leader",
    "link",
    "member",
    "message",
    "meta",
    "metadata",
    "opt_in",
    "receipt",
    "run",
    "shard",
    "slot",
    "slot_hour",
    "spend",
    "stop",
    "suppression",
    "transition",
    "user_alias",
    "users",
    "version",
    "waiting",
    "warmed",
    "worker",
]
