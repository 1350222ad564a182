"""A name for rows that have none: what they say, and their number among the equal ones of the same file.

Two equal rows of one file are two events; the same row read again tomorrow is not a third. How often each has been seen
is counted in a scratch database on disk, so that a file of any length takes the same memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from hashlib import blake2b

_DIGEST = 12
_BIAS = 1 << 63


def fingerprint(user: str, name: str, at: int, properties: str) -> bytes:
    """20 bytes of everything an event says, its instant first: logs come in order of time, and so their index grows."""
    said = f"{len(user)} {user} {len(name)} {name} {properties}"
    return (at + _BIAS).to_bytes(8, "big") + blake2b(
        said.encode("utf-8", "surrogatepass"), digest_size=_DIGEST
    ).digest()


class Numbering:
    """Numbers the rows of one file in the order they come."""

    def __init__(self) -> None:
        self._scratch = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # a file that goes away
        self._scratch.execute("PRAGMA journal_mode=MEMORY")
        self._scratch.execute("PRAGMA cache_size=-65536")
        self._scratch.execute("CREATE TABLE seen (print BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")

    def number(self, prints: Sequence[bytes]) -> list[str]:
        """A source id for each of these rows, which follow those numbered before."""
        if self._all_new(prints):
            return [f"row:{one.hex()}" for one in prints]
        marks = ", ".join("?" * len(prints))
        known = self._scratch.execute(f"SELECT print, times FROM seen WHERE print IN ({marks})", list(prints))
        times: dict[bytes, int] = dict(known.fetchall())
        names = []
        for one in prints:
            times[one] = times.get(one, 0) + 1
            names.append(f"row:{one.hex()}" + (f":{times[one]}" if times[one] > 1 else ""))
        self._keep(times)
        return names

    def _all_new(self, prints: Sequence[bytes]) -> bool:
        """Whether none was seen before, or stands twice among them: then they are seen now, by one statement."""
        self._scratch.execute("BEGIN")
        added = self._scratch.executemany("INSERT OR IGNORE INTO seen VALUES (?, 1)", [(one,) for one in prints])
        all_new = added.rowcount == len(prints)
        self._scratch.execute("COMMIT" if all_new else "ROLLBACK")
        return all_new

    def _keep(self, times: Mapping[bytes, int]) -> None:
        self._scratch.execute("BEGIN")
        self._scratch.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", times.items())
        self._scratch.execute("COMMIT")

    def close(self) -> None:
        """Let go of the scratch database."""
        self._scratch.close()
