"""A mail server that is not ours: postfix's ``smtp-sink``, which takes everything and keeps nothing.

Taken from PATH, else from Debian's package unpacked into ``.peers/`` (no root, nothing installed). ``smtp-source`` from
the same package is what a C program reaches against the same sink.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PEERS = Path(__file__).parents[2] / ".peers"
BACKLOG = 500


@dataclass(frozen=True, slots=True)
class Postfix:
    """The two programs, and where their libraries are."""

    sink: str
    source: str
    libraries: str

    @property
    def environment(self) -> dict[str, str]:
        """For a child process."""
        return {**os.environ, "LD_LIBRARY_PATH": self.libraries}


def find_postfix() -> Postfix | None:
    """The programs; None where Debian's package cannot be had."""
    if (sink := shutil.which("smtp-sink")) and (source := shutil.which("smtp-source")):
        return Postfix(sink, source, "")
    folder = PEERS / "postfix"
    if not (folder / "usr/sbin/smtp-sink").exists() and not _fetched(folder):
        return None
    programs = folder / "usr/sbin"
    return Postfix(str(programs / "smtp-sink"), str(programs / "smtp-source"), str(folder / "usr/lib/postfix"))


def _fetched(folder: Path) -> bool:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", "postfix"], cwd=folder, check=True, capture_output=True, timeout=120)
        [package] = folder.glob("postfix_*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True, capture_output=True, timeout=60)
    except (subprocess.SubprocessError, OSError, ValueError):
        return False
    return True


@contextmanager
def sink(postfix: Postfix, *flags: str) -> Iterator[int]:
    """A running sink, and its port. ``flags``: how it misbehaves (smtp-sink(1))."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    user = ["-u", "root"] if os.geteuid() == 0 else []  # it refuses to be root without being told
    command = [postfix.sink, *user, *flags, f"127.0.0.1:{port}", str(BACKLOG)]
    process = subprocess.Popen(command, env=postfix.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(5)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def source_rate(postfix: Postfix, port: int, count: int, size: int, sessions: int) -> float:
    """Mails a second that postfix's own ``smtp-source`` delivers, each of ``size`` bytes, over kept connections."""
    command = [postfix.source, "-d", "-s", str(sessions), "-l", str(size), "-m", str(count), f"127.0.0.1:{port}"]
    began = time.perf_counter()
    subprocess.run(command, env=postfix.environment, check=True, capture_output=True, timeout=300)
    return count / (time.perf_counter() - began)
