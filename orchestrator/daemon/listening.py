"""What a process serves over HTTP, in the daemon's own event loop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from typing_extensions import override

from orchestrator.errors import OrchestratorError


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the daemon has one."""

    @contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True)
class Listener:
    """An application that is being served on ``port``."""

    port: int
    _server: uvicorn.Server
    _serving: asyncio.Task[None]

    async def end(self) -> None:
        """Answer what is under way, and let go."""
        self._server.should_exit = True
        await self._serving


async def listen(app: FastAPI, host: str, port: int, setting: str) -> Listener:
    """Serve ``app`` until :meth:`Listener.end`; port 0 takes a free one. ``setting``: which one says where.

    Raises:
        OrchestratorError: somebody else listens there, or there is no such address.
    """
    config = uvicorn.Config(
        app, http="httptools", log_config=None, access_log=False, timeout_graceful_shutdown=5, lifespan="on"
    )
    server, ears = _Server(config), _socket(host, port, setting)
    serving = asyncio.create_task(server.serve([ears]))
    while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
        await asyncio.sleep(0.01)
    if serving.done():
        serving.result()
    return Listener(ears.getsockname()[1], server, serving)


def _socket(host: str, port: int, setting: str) -> socket.socket:
    """Our own: uvicorn would end the process with a line of its own."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else error  # of names that nobody knows they are negative
        hint = f"stop what listens there, or set another {setting}"
        raise OrchestratorError(f"cannot listen on {host}:{port}: {reason}", hint=hint) from None
