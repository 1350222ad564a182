"""Where tracked links lead, kept before the messages that carry them leave."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy import Connection

from orchestrator.audience.rows import insert
from orchestrator.store.tables import link

REMEMBERED = 4096


@dataclass(slots=True)
class Targets:
    """Writes a link once, and remembers the latest ones, since most messages of a run share theirs.

    Thread-safe.
    """

    _known: OrderedDict[int, None] = field(default_factory=OrderedDict)
    _turn: Lock = field(default_factory=Lock)

    def write(self, connection: Connection, targets: Iterable[Mapping[int, str]]) -> list[int]:
        """Keep those that may be new, in the caller's transaction; its result is for :meth:`remember` once it holds."""
        wanted = {number: url for one in targets for number, url in one.items()}
        fresh = {number: url for number, url in wanted.items() if number not in self._known}
        insert(connection, link, ("id", "url"), sorted(fresh.items()))
        return list(wanted)

    def remember(self, numbers: Iterable[int]) -> None:
        """These are on disk."""
        with self._turn:
            for number in numbers:
                self._known[number] = None
                self._known.move_to_end(number)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
