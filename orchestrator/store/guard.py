"""The restore guard: a high-water mark outside the database, so that an old backup does not send again.

It remembers the last committed mark of each run that let something leave, by campaign and local date or instant: a
restored database may give the same run id to another run. Here is the guard of a SQLite database, a small append-only
file beside it. Lines are written at once and survive the process; they are fsynced at most once a second, so a power
cut may lose the last second of them: then the guard is behind the ledger, which is harmless.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from orchestrator.clock import from_micros, to_micros
from orchestrator.errors import OrchestratorError

log = logging.getLogger(__name__)

SYNC_SECONDS = 1.0
KEPT = timedelta(days=60)
"""How long a run is remembered after its last mark: no run's messages wait longer."""

RunKey = tuple[str, str]
"""Campaign, and the run's local date or instant: ``2026-12-01``, ``2026-12-01T01:00:00Z``."""
_OF = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}Z)?")


class GuardAwayError(OrchestratorError):
    """The guard does not answer: whether the database knows all that was sent cannot be said, so nothing may leave."""


class Guard(Protocol):
    """Where marks are remembered."""

    def tidy(self, now: datetime) -> None:
        """Forget runs long over; at a process's start, before its first mark."""

    def marked(self, campaign: str, of: str, at: datetime) -> None:
        """A mark has been committed, and what it marked is about to leave; ``of``: the run's date or instant.

        Called from any thread; never raises: the ledger has it, and what cannot be written is logged.
        """

    def remembered(self, now: datetime) -> dict[RunKey, datetime]:
        """The last mark of each run, but of those long over.

        Raises:
            GuardAwayError: it does not answer.
        """

    def keep(self) -> None:
        """Bring to the disk what is not there yet; called now and then."""

    def close(self) -> None:
        """Let go of it, with everything kept."""


@dataclass(slots=True)
class FileGuard:
    """A file, opened with the first mark. Nobody else may write it meanwhile; anybody may read it."""

    path: Path
    monotonic: Callable[[], float]
    _file: int | None = field(default=None, init=False)
    _synced: float = field(default=0.0, init=False)
    _dirty: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def tidy(self, now: datetime) -> None:
        """One line a run, and none of runs long over."""
        kept = self.remembered(now)
        if not self.path.exists():
            return
        fresh = self.path.with_name(self.path.name + ".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.writelines(f"{campaign} {of} {to_micros(at)} .\n" for (campaign, of), at in kept.items())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)

    def marked(self, campaign: str, of: str, at: datetime) -> None:
        """Append a line: it survives the process. A full disk is logged."""
        line = f"{campaign} {of} {to_micros(at)} .\n".encode()
        with self._lock:
            try:
                os.write(self._opened(), line)
                self._dirty = True
                now = self.monotonic()
                if now - self._synced >= SYNC_SECONDS:
                    self._sync(now)
            except OSError as error:
                log.error("guard_not_written", extra={"error": error.strerror})  # noqa: TRY400  # the ledger has it

    def remembered(self, now: datetime) -> dict[RunKey, datetime]:
        """The last mark of each run, but of those long over. A torn last line is a power cut's doing, and ignored."""
        found: dict[RunKey, datetime] = {}
        for key, at in self._lines():
            if at > now - KEPT:
                found[key] = max(at, found.get(key, at))
        return found

    def keep(self) -> None:
        """Bring to the disk what is not there yet."""
        with self._lock:
            if self._dirty:
                self._sync(self.monotonic())

    def close(self) -> None:
        """Sync and close."""
        self.keep()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._file

    def _sync(self, now: float) -> None:
        os.fdatasync(self._opened())
        self._synced, self._dirty = now, False

    def _lines(self) -> Iterator[tuple[RunKey, datetime]]:
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                campaign, of, micros, end = line.split(" ")
                at = from_micros(int(micros))
            except (ValueError, OverflowError):
                continue
            if end == "." and _OF.fullmatch(of):
                yield (campaign, of), at
