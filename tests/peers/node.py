"""Far ends from npm: installed into ``.peers/`` once, without their install scripts, and started on a free port."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.far_end import free_port, wait_for

PEERS = Path(__file__).parents[2] / ".peers"
INSTALL_SECONDS = 180


def installed(*packages: str) -> Path | None:
    """The ``node_modules`` that holds these packages; None without npm, or when they cannot be had."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return None
    PEERS.mkdir(exist_ok=True)
    with (PEERS / "npm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test processes run side by side
        modules = PEERS / "node_modules"
        missing = [name for name in packages if not (modules / name.rpartition("@")[0]).exists()]
        if missing and not _install(npm, missing):
            return None
        return modules


def _install(npm: str, packages: Sequence[str]) -> bool:
    command = [npm, "install", "--prefix", str(PEERS), "--ignore-scripts", "--no-audit", "--no-fund", *packages]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (subprocess.SubprocessError, OSError):
        return False
    return True


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[int]:
    """A process that listens on ``port`` after a while, until the block ends."""
    import socket

    def up() -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            wait_for(up, f"{Path(command[0]).name} to listen", seconds=60)
            time.sleep(0.2)
            yield port
        finally:
            process.terminate()
            process.wait(10)


__all__ = ["free_port", "installed", "running"]
