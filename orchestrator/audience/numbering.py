"""A name for rows that have none: what they say, and their number among the equal ones of the same file.

Two equal rows of one file are two events; the same row read again tomorrow is not a third. How often each has been seen
is counted in a scratch database on disk, so that a file of any length takes the same memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from hashlib import blake2b

import orjson

from orchestrator.audience.events import IncomingEvent
from orchestrator.clock import to_micros

_DIGEST = 12


def fingerprint(event: IncomingEvent) -> bytes:
    """20 bytes of everything an event says, its instant first: logs come in order of time, and so their index grows."""
    at = to_micros(event.at) + (1 << 63)
    said = orjson.dumps((event.external_user_id, event.name, event.properties), option=orjson.OPT_SORT_KEYS)
    return at.to_bytes(8, "big") + blake2b(said, digest_size=_DIGEST).digest()


class Numbering:
    """Numbers the rows of one file in the order they come."""

    def __init__(self) -> None:
        self._scratch = sqlite3.connect("", isolation_level=None)  # a file that is deleted when it is closed
        self._scratch.execute("PRAGMA journal_mode=OFF")
        self._scratch.execute("CREATE TABLE seen (print BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")

    def number(self, prints: Sequence[bytes]) -> list[str]:
        """A source id for each of these rows, which follow those numbered before."""
        marks = ", ".join("?" * len(prints))
        known = self._scratch.execute(f"SELECT print, times FROM seen WHERE print IN ({marks})", list(prints))
        times: dict[bytes, int] = dict(known.fetchall())
        names = []
        for one in prints:
            times[one] = times.get(one, 0) + 1
            names.append(f"row:{one.hex()}" + (f":{times[one]}" if times[one] > 1 else ""))
        self._scratch.execute("BEGIN")
        self._scratch.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", times.items())
        self._scratch.execute("COMMIT")
        return names

    def close(self) -> None:
        """Let go of the scratch database."""
        self._scratch.close()
