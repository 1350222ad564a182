"""The restore guard: a high-water mark outside the database, so that an old backup does not send again.

A small append-only file beside the database: a line for each committed mark that let something leave (run, instant).
Kept by campaign and local date or instant, for a restored database may give the same run id to another run. Lines are
written at once and survive the process; they are fsynced at most once a second, so a power cut may lose the last second
of them: then the guard is behind the ledger, which is harmless.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from orchestrator.clock import from_micros, to_micros

log = logging.getLogger(__name__)

SYNC_SECONDS = 1.0
KEPT = timedelta(days=60)
"""How long a run is remembered after its last mark: no run's messages live longer."""

RunKey = tuple[str, str]
"""Campaign, and the run's local date or instant: ``2026-12-01``, ``2026-12-01T01:00:00Z``."""
_OF = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}Z)?")


def guard_path(database: str) -> Path | None:
    """Where the guard of this database is; None where there is no file beside which it could be."""
    if "://" in database:
        return None
    path = Path(database).resolve()
    return path.with_name(path.name + ".guard")


def read_guard(path: Path) -> dict[RunKey, datetime]:
    """The last mark of each run. A torn last line is a power cut's doing, and ignored."""
    found: dict[RunKey, datetime] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return found
    for line in lines:
        try:
            campaign, of, micros, end = line.split(" ")
            key, at = (campaign, of), from_micros(int(micros))
        except (ValueError, OverflowError):
            continue
        if end == "." and _OF.fullmatch(of):
            found[key] = max(at, found.get(key, at))
    return found


@dataclass(slots=True)
class Guard:
    """The open file. ``marked`` may be called from any thread, and never raises: a full disk is logged."""

    path: Path
    monotonic: Callable[[], float]
    _file: int = field(init=False)
    _synced: float = field(default=0.0, init=False)
    _dirty: bool = field(default=False, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        """Open it, new if there is none."""
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def marked(self, campaign: str, of: str, at: datetime) -> None:
        """A mark has been committed, and what it marked is about to leave; ``of``: the run's date or instant."""
        line = f"{campaign} {of} {to_micros(at)} .\n".encode()
        with self._lock:
            try:
                os.write(self._file, line)
                self._dirty = True
                now = self.monotonic()
                if now - self._synced >= SYNC_SECONDS:
                    self._sync(now)
            except OSError as error:
                log.error("guard_not_written", extra={"error": error.strerror})  # noqa: TRY400  # the ledger has it

    def _sync(self, now: float) -> None:
        os.fdatasync(self._file)
        self._synced, self._dirty = now, False

    def sync(self) -> None:
        """Bring to the disk what is not there yet; call it now and then."""
        with self._lock:
            if self._dirty:
                self._sync(self.monotonic())

    def close(self) -> None:
        """Sync and close."""
        self.sync()
        os.close(self._file)


def remembered(path: Path, now: datetime) -> dict[RunKey, datetime]:
    """The last mark of each run, but of those long over: their messages may be forgotten, by a ledger that is whole."""
    return {key: at for key, at in read_guard(path).items() if at > now - KEPT}


def compact_guard(path: Path, now: datetime) -> None:
    """One line a run, and none of runs long over. Nobody may have the file open."""
    kept = remembered(path, now)
    if not path.exists():
        return
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.writelines(f"{campaign} {of} {to_micros(at)} .\n" for (campaign, of), at in kept.items())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
