"""What a daemon holds in memory, as a process of its own with API, console, ticks and dispatcher: idle, or sending.

``sending COUNT``: so many pushes are planned and due when it starts, and leave as fast as they can through FCM to
nginx. The memory is what Linux counts as resident; what is imported is told by ``-X importtime``.

Run as ``python -m bench.memory idle`` or ``python -m bench.memory sending COUNT``; prints one JSON object.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.dispatch import DEFINITION, TEMPLATE
from bench.door import LUNCH, owed, plan
from bench.nginx import Nginx, nginx
from bench.plan import SEGMENT
from bench.population import LUNCH_ZONES, fill
from orchestrator.content.files import read_folder
from tests.far_end import free_port, wait_for

ROOT = Path(__file__).parents[1]
HEAVY = ("alembic", "mako", "numpy", "pandas", "pyarrow", "scipy", "statsmodels")
"""Never imported by a daemon whose database is up to date: what only reports, Parquet and migrations need."""
IDLE_SECONDS = 10.0
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running one."""

    process: subprocess.Popen[bytes]
    log: Path

    def megabytes(self, line: str = "VmRSS") -> float:
        """Resident memory now, or at its highest (``VmHWM``); a MB is 2^20 bytes, as in all benchmarks."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{line}:\s+(\d+) kB", status)
        assert found is not None
        return round(int(found[1]) / 1024, 1)

    def imported(self) -> list[str]:
        """Which of the heavy libraries."""
        names = set(re.findall(r"^import time:.*\| +([a-z_]+)$", self.log.read_text(), re.MULTILINE))
        return sorted(names.intersection(HEAVY))


@contextmanager
def daemon(folder: Path, far: Nginx) -> Iterator[Daemon]:
    """One over ``bench.db`` in ``folder``, whose business day begins at lunch."""
    port, log = free_port(), folder / "daemon.log"
    options = {"service_account_file": str(far.service_account()), "base_url": far.url}
    account = {"channel": "push", "provider": "fcm", "rate": 1e5, "burst": 5000, "ramp": 0, "connections": 128}
    clock = {"start": LUNCH.isoformat(), "origin": datetime.now(UTC).isoformat(), "speed": 1.0}
    settings = {
        "port": port,
        "database": "bench.db",
        "clock": clock,
        "accounts": {"fcm": {**account, "options": options}},
    }
    (folder / "orchestrator.yaml").write_text(json.dumps(settings))
    (folder / "campaigns").mkdir(exist_ok=True)
    (folder / "templates").mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    command = [sys.executable, "-X", "importtime", "-m", "orchestrator", "run", "--json-logs"]
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env={**kept, "PYTHONPATH": str(ROOT)}, stdout=said, stderr=said)
        try:
            wait_for(lambda: process.poll() is not None or '"ready"' in log.read_text(), "the daemon", seconds=60)
            assert process.poll() is None, log.read_text()[-3000:]
            yield Daemon(process, log)
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()
            process.wait(10)


def measure(kind: str, count: int) -> dict[str, Any]:
    """Idle or sending."""
    with tempfile.TemporaryDirectory() as name, nginx() as far:
        folder = Path(name)
        if far is None:
            return {"why": "nginx cannot be had here"}
        messages = _planned(folder, count) if kind == "sending" else _planned(folder, 0)
        with daemon(folder, far) as running:
            figures = _sending(running, far, messages) if messages else _idle(running)
        return {**figures, "messages": messages, "heavy": running.imported()}


def _planned(folder: Path, count: int) -> int:
    """A database, in which so many messages are due."""
    store = fill(str(folder / "bench.db"), max(1000, count * 20 // 17), LUNCH_ZONES)
    if count:
        plan(store, DEFINITION, SEGMENT, read_folder(ROOT / "templates", TEMPLATE), {"fcm": "push"})
    messages = owed(store)
    store.close()
    return messages


def _idle(running: Daemon) -> dict[str, Any]:
    time.sleep(IDLE_SECONDS)
    return {"rss_mb": running.megabytes(), "peak_mb": running.megabytes("VmHWM"), "seconds": IDLE_SECONDS}


def _sending(running: Daemon, far: Nginx, messages: int) -> dict[str, Any]:
    before, half, began = running.megabytes(), 0.0, time.perf_counter()
    seen = far.requests()
    while (sent := far.requests() - seen) < messages:
        if not half and sent >= messages / 2:
            half = running.megabytes()
        assert running.process.poll() is None, "the daemon has ended"
        assert time.perf_counter() - began < messages / 100 + 60, f"{sent} of {messages} have left"
        time.sleep(LOOK_SECONDS)
        seen += 1  # our own question
    seconds = time.perf_counter() - began
    return {
        "before_mb": before,
        "half_mb": half or running.megabytes(),
        "rss_mb": running.megabytes(),
        "peak_mb": running.megabytes("VmHWM"),
        "seconds": round(seconds, 1),
        "per_second": round(messages / seconds),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)))
