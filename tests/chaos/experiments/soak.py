"""R31: hours of work in a few minutes or many: memory, files and the log of SQLite do not grow."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.ledger.states import State
from tests.chaos.checker import Accounting
from tests.chaos.experiments.kills import reached
from tests.chaos.ground import NOT_SHORT, Ground, Told, experiment, held
from tests.chaos.scene import THREE_CHANNELS, People, Scene
from tests.far_end import free_port

WAL_BYTES = 64 << 20
RATE, MOST = 150.0, 300_000
"""Messages a second, and in all: whoever compares the books holds them in memory, some 4 KB a message."""
LONGEST = 120.0
"""Minutes."""
LUNCH_MINUTES = 70.0
"""From when a scene begins to when its window closes, in business time."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a process had at some moment."""

    rss: float
    """Megabytes."""
    files: int
    wal: int


def look(pid: int, database: str) -> Looked:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    wal = Path(f"{database}-wal")
    return Looked(
        pages * 4096 / 1e6, len(list(Path(f"/proc/{pid}/fd").iterdir())), wal.stat().st_size if wal.exists() else 0
    )


@experiment(
    "R31",
    "a daemon on SQLite at work for minutes, callbacks on",
    "2 hours; RSS < 10 % after the first part, fds flat, WAL < 64 MB",
    sizes=NOT_SHORT,
)
def soak(ground: Ground) -> Told:
    minutes = min(ground.minutes, LONGEST)
    messages = min(int(minutes * 60 * RATE), MOST)
    with ground.scene("sqlite", speed=min(1.0, LUNCH_MINUTES / (3 * minutes))) as scene:
        seen, took, found = _worked(scene, messages, minutes)
    first, last = seen[len(seen) // 3 :][0], seen[-1]
    growth = last.rss / first.rss - 1
    most = max(one.wal for one in seen)
    held([f"R31 memory grew by {growth:.0%}, from {first.rss:.0f} to {last.rss:.0f} MB"] * (growth > 0.1))
    held([f"R31 {last.files} files open, {first.files} before"] * (last.files > first.files + 8))
    held([f"R31 the log of SQLite had {most >> 20} MB"] * (most > WAL_BYTES))
    figures = (
        f"RSS {first.rss:.0f} → {last.rss:.0f} MB, files {first.files} → {last.files}, WAL at most {most / 1e6:.0f} MB"
    )
    return Told(f"{took / 60:.1f} minutes, {messages:,} messages", figures, found)


def _worked(scene: Scene, messages: int, minutes: float) -> tuple[list[Looked], float, Accounting]:
    """What the daemon has, look by look; how long it took; the books."""
    scene.populate(People.mixed(messages), **THREE_CHANNELS)
    scene.steady()  # so many people take their time
    rate = messages / (minutes * 60) * 0.6
    options = ["--connections", "32", "--rate", str(rate), "--port-of-api", str(free_port())]
    victim, began = scene.start("--daemon", *options), time.monotonic()
    victim.wait_up()
    seen = []
    while time.monotonic() < began + minutes * 60:
        time.sleep(min(5.0, minutes * 2))
        assert victim.alive, victim.log.read_text()[-2000:]
        seen.append(look(victim.process.pid, scene.database))
    scene.wait_done(minutes * 30 + 120)
    victim.hit(signal.SIGTERM)
    assert victim.end() == 0, victim.log.read_text()[-2000:]
    return seen, time.monotonic() - began, _delivered(scene, messages)


def _delivered(scene: Scene, messages: int) -> Accounting:
    """The providers' callbacks have moved messages on, and the books agree."""
    found = reached(scene, messages)
    held([f"R31 no callback was taken in: {found.states}"] * (State.DELIVERED not in found.states))
    return found
