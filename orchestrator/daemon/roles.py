"""What a process of a deployment does, and which of several does what one alone may do."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from uuid import uuid4

from sqlalchemy.exc import SQLAlchemyError

from orchestrator.clock import Clock
from orchestrator.errors import InputError, did_you_mean
from orchestrator.ledger import place
from orchestrator.ledger.leader import LEASE, lead, resign
from orchestrator.store import Store

log = logging.getLogger(__name__)


class Role(StrEnum):
    """A part of the daemon's work. Any number of processes may have any of them, on any number of machines."""

    SCHEDULER = "scheduler"
    """Due runs and their plans, attribution, alerts: one process at a time, the others stand by."""
    SWEEPER = "sweeper"
    """Dead workers, passed deadlines, runs that are over: one process at a time, the others stand by."""
    WORKER = "worker"
    """Sends, and helps to plan large runs."""
    WEB = "web"
    """Takes in events, callbacks, and what people ask."""


ALL = frozenset(Role)
LEADING = frozenset({Role.SCHEDULER, Role.SWEEPER})
"""What one process does at a time."""
_NEVER = datetime.min.replace(tzinfo=UTC)


def roles(names: Collection[str]) -> frozenset[Role]:
    """The roles of these names; ``all``, or none named, is all of them.

    Raises:
        InputError: there is no such role.
    """
    if not names or "all" in names:
        return ALL
    known = [role.value for role in Role]
    if unknown := sorted(set(names) - set(known)):
        hint = did_you_mean(unknown[0], known) or f"one of {', '.join(known)}, all"
        raise InputError(f"there is no role {unknown[0]!r}", hint=hint)
    return frozenset(map(Role, names))


@dataclass(slots=True)
class Leadership:
    """Whether this process leads in a role. On SQLite it does: it is the only one that writes."""

    store: Store
    clock: Clock
    wanted: frozenset[Role]
    holder: str = field(default_factory=lambda: f"{place.here()}:{os.getpid()}:{uuid4().hex[:8]}")
    _until: dict[Role, datetime] = field(default_factory=dict, init=False)

    @property
    def alone(self) -> bool:
        """Whether there can be no other process."""
        return self.store.path is not None

    def leads(self, role: Role) -> bool:
        """Whether this process leads now, from memory: whoever was frozen does not."""
        return self.alone or self.clock.machine() < self._until.get(role, _NEVER)

    def ask(self) -> None:
        """Go on leading, or begin to where nobody does. Without a database nobody leads."""
        if self.alone:
            return
        for role in sorted(self.wanted & LEADING):
            machine = self.clock.machine()
            try:
                with self.store.write() as connection:
                    leads = lead(connection, role, self.holder, machine)
            except SQLAlchemyError as error:
                log.warning("leader_unasked", extra={"role": role, "error": type(error).__name__})
                continue
            if leads and role not in self._until:
                log.info("leads", extra={"role": role})
            if leads:
                self._until[role] = machine + LEASE
            elif self._until.pop(role, None) is not None:
                log.warning("leads_no_more", extra={"role": role})

    def resign(self) -> None:
        """Let another lead at once."""
        if not self.alone and self._until:
            self._until.clear()
            with suppress(SQLAlchemyError), self.store.write() as connection:  # away: the lease ends by itself
                resign(connection, self.holder)
