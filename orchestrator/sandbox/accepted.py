"""``accepted.jsonl``: everything a provider took responsibility for, on disk before the sender is told.

Requests that arrive while an fsync is under way share the next one, so a thousand a second cost a few dozen of them.
Records stay on disk; memory holds where each ends and which belong to an address.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

Record = dict[str, Any]


class LogError(Exception):
    """The log cannot be used; the message says why and what to do."""


class AcceptedLog:
    """The log of one sandbox. ``append`` belongs to one event loop; a record can be read once its append returned."""

    def __init__(self, path: Path) -> None:
        """Open or create the log and read back what is in it.

        Raises:
            LogError: another sandbox has it open, or a line in it is not ours.
        """
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise LogError(f"{path} is in use by another sandbox: stop it, or give another --state") from None
        self._ends = array("Q", [0])  # _ends[n] is where record n ends; records count from 1
        self._by_address: dict[str, array[int]] = {}  # latest address last
        self._providers: dict[str, frozenset[str]] = {}  # by address; the sets are few, and shared
        self._sets: dict[frozenset[str], frozenset[str]] = {}
        self.kept: Callable[[Record], None] | None = None
        """Hears of each record that is appended, once it is on disk."""
        self.by_provider: Counter[str] = Counter()
        self._taken = 0  # sequence numbers given out, on disk or not
        self._pending: list[tuple[bytes, Record, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._broken: OSError | None = None
        self._read_back()

    def __len__(self) -> int:
        """How many records are safely on disk; also the last one's number."""
        return len(self._ends) - 1

    async def append(self, record: Record, identify: Callable[[int], str]) -> Record:
        """Number ``record``, name it (``identify`` of its number becomes ``id``), and return it once it is on disk.

        Raises:
            OSError: it could not be written; nothing more will be.
        """
        if self._broken is not None:
            raise self._broken
        self._taken += 1
        record = {"seq": self._taken, "id": identify(self._taken), **record}
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((orjson.dumps(record) + b"\n", record, future))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await future
        if self.kept is not None:
            self.kept(record)
        return record

    def get(self, seq: int) -> Record | None:
        """The record of that number."""
        if not 1 <= seq <= len(self):
            return None
        record: Record = orjson.loads(self._read(seq, seq))
        return record

    def page(self, after: int, limit: int) -> list[bytes]:
        """Up to ``limit`` records after number ``after``, each as the JSON it is kept as."""
        first = max(after, 0) + 1
        last = min(first + limit - 1, len(self))
        return self._read(first, last).splitlines() if first <= last else []

    def of(self, address: str) -> Sequence[int]:
        """Numbers of the records to one address, oldest first."""
        return self._by_address.get(address, array("Q"))

    def providers_at(self, address: str) -> frozenset[str]:
        """The providers that have taken something for an address."""
        return self._providers.get(address, frozenset())

    def addresses(self, fragment: str, limit: int, wanted: Callable[[str], bool]) -> list[str]:
        """Addresses that contain ``fragment``, the one written to latest first."""
        found = (a for a in reversed(self._by_address) if fragment in a and wanted(a))
        return list(islice(found, limit))

    def close(self) -> None:
        """Give up the file."""
        os.close(self._descriptor)

    def _read(self, first: int, last: int) -> bytes:
        start = self._ends[first - 1]
        return os.pread(self._descriptor, self._ends[last] - start, start)

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                await loop.run_in_executor(None, self._write, b"".join(line for line, _, _ in batch))
            except OSError as error:
                self._break(error, batch)
                return
            for line, record, future in batch:
                self._index(len(line), record)
                if not future.done():
                    future.set_result(None)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fdatasync(self._descriptor)

    def _break(self, error: OSError, batch: list[tuple[bytes, Record, asyncio.Future[None]]]) -> None:
        # Numbers were given out that are not on disk: go on and the log would have holes. Refuse instead.
        self._broken = error
        for _, _, future in [*batch, *self._pending]:
            if not future.done():
                future.set_exception(error)
        self._pending.clear()

    def _index(self, length: int, record: Record) -> None:
        address = record["to"]
        self.by_provider[record["provider"]] += 1
        self._ends.append(self._ends[-1] + length)
        numbers = self._by_address.pop(address, None) or array("Q")
        numbers.append(len(self._ends) - 1)
        self._by_address[address] = numbers
        met = self._providers.get(address, frozenset()) | {record["provider"]}
        self._providers[address] = self._sets.setdefault(met, met)

    def _read_back(self) -> None:
        with self._path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):  # cut short by a crash, so never answered
                    os.ftruncate(self._descriptor, self._ends[-1])
                    break
                self._index(len(line), self._parsed(line))
        self._taken = len(self)

    def _parsed(self, line: bytes) -> Record:
        try:
            record: Record = orjson.loads(line)
            if record["seq"] == len(self._ends) and record["provider"] and record["to"]:
                return record
        except (orjson.JSONDecodeError, KeyError, TypeError):
            pass
        raise LogError(
            f"{self._path}:{len(self._ends)}: not a record of this log: move the file away, or give another --state"
        )
