"""The local socket: how the command line acts through the process that owns the SQLite file.

One request a connection, JSON lines both ways: ``{"verb", "args"}``; then any number of ``{"progress": n}``; then
``{"result"}`` or ``{"error", "message", "hint"}``. The socket belongs to the user who runs the daemon, to nobody else.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson

from orchestrator import errors
from orchestrator.daemon.verbs import VERBS, Desk, Verb
from orchestrator.errors import ConfigError, InputError, OrchestratorError, Problem

log = logging.getLogger(__name__)

LONGEST_PATH = 100  # a Unix socket's path is at most 108 bytes on Linux
LONGEST_LINE = 1 << 20


def socket_path(database: Path) -> Path:
    """Where the daemon of this SQLite file listens."""
    beside = database.with_name(database.name + ".sock")
    if len(str(beside)) <= LONGEST_PATH:
        return beside
    name = hashlib.sha256(str(database).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"orchestrator-{name}.sock"


async def serve(desk: Desk, path: Path) -> asyncio.Server:
    """Listen. Verbs run on one thread, one after the other."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="control")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                await _answer(desk, thread, reader, writer)
        finally:
            writer.close()

    path.unlink(missing_ok=True)  # noqa: ASYNC240  # once, at start
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.fchmod(line.fileno(), 0o600)  # what bind makes has this mode from the first moment (Linux)
    line.bind(str(path))
    path.chmod(0o600)  # noqa: ASYNC240  # elsewhere
    return await asyncio.start_unix_server(handle, sock=line, limit=LONGEST_LINE)


async def _answer(
    desk: Desk, thread: ThreadPoolExecutor, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    loop = asyncio.get_running_loop()

    def progress(count: int) -> None:
        loop.call_soon_threadsafe(writer.write, orjson.dumps({"progress": count}) + b"\n")

    request = orjson.loads(await reader.readline())
    try:
        verb = _verb(request["verb"])
        there = replace(desk, progress=progress)
        result = await loop.run_in_executor(thread, lambda: verb(there, **request["args"]))
        answer: dict[str, Any] = {"result": result}
    except OrchestratorError as error:
        problems = [asdict(problem) for problem in error.problems] if isinstance(error, ConfigError) else []
        answer = {"error": type(error).__name__, "message": error.message, "hint": error.hint, "problems": problems}
    except Exception:
        log.exception("verb_failed", extra={"verb": request["verb"]})
        said = f"the daemon could not {request['verb']}: something is broken in it"
        answer = {"error": "OrchestratorError", "message": said, "hint": "its log says what, at verb_failed"}
    writer.write(orjson.dumps(answer) + b"\n")
    await writer.drain()


def _verb(name: str) -> Verb:
    if name not in VERBS:
        raise InputError(f"the running daemon does not know {name!r}", hint="is it an older release?")
    return VERBS[name]


def ask(path: Path, verb: str, args: dict[str, Any], progress: Callable[[int], None]) -> dict[str, Any] | None:
    """Let the daemon do it; None when there is no daemon.

    Raises:
        OrchestratorError: what the daemon raised.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        try:
            line.connect(str(path))
            _refuse_strangers(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        with suppress(ConnectionError):
            line.sendall(orjson.dumps({"verb": verb, "args": args}) + b"\n")
            for answer in _lines(line):
                if "progress" in answer:
                    progress(answer["progress"])
                elif "error" in answer:
                    raise _error(answer)
                else:
                    result: dict[str, Any] = answer["result"]
                    return result
    raise OrchestratorError("the daemon went away before it answered", hint="look at its log, then try again")


def _refuse_strangers(path: Path) -> None:
    """The folder may be everybody's (a long path's socket is in /tmp): a stranger's socket is told nothing.

    Raises:
        OrchestratorError: it is neither ours nor root's.
    """
    if path.stat().st_uid not in {os.getuid(), 0}:
        raise OrchestratorError(f"{path} is another user's", hint="remove it, or run this as the daemon's user")


def _lines(line: socket.socket) -> Iterator[dict[str, Any]]:
    with line.makefile("rb") as stream:
        for text in stream:
            yield orjson.loads(text)


def _error(answer: dict[str, Any]) -> OrchestratorError:
    """The daemon's error, as its own class again."""
    kind = getattr(errors, answer["error"], OrchestratorError)
    if kind is ConfigError:
        return ConfigError([Problem(**problem) for problem in answer["problems"]])
    raised: OrchestratorError = kind(answer["message"], hint=answer["hint"])
    return raised
