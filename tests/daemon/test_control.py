"""The local socket: answers whatever happens, and errors come out as what they went in."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.clock import SystemClock
from orchestrator.daemon.control import ask, serve, socket_path
from orchestrator.daemon.verbs import VERBS, Desk
from orchestrator.errors import ConfigError, InputError, NotFoundError, OrchestratorError, Problem
from orchestrator.settings import Settings
from orchestrator.store import Store

pytestmark = pytest.mark.on("sqlite")  # which alone has the socket: PostgreSQL takes any number of writers


def fail(error: Exception) -> Any:
    def verb(_desk: Desk) -> dict[str, Any]:
        raise error

    return verb


def asked(store: Store, verb: str, progress: Any = print, **args: Any) -> Any:
    """Ask a daemon that lives for this one question."""
    assert store.path is not None
    path = socket_path(store.path)

    async def run() -> Any:
        server = await serve(Desk(store, SystemClock(), Settings(database=store.url)), path)
        async with server:
            return await asyncio.to_thread(ask, path, verb, args, progress)

    return asyncio.run(run())


@pytest.mark.parametrize(
    "error",
    [
        InputError("no", hint="do this"),
        NotFoundError("gone"),
        ConfigError([Problem("a.yaml", 3, "x.y", "wrong", "did you mean 'z'?")]),
    ],
)
def test_an_error_comes_out_as_it_went_in(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: OrchestratorError
) -> None:
    monkeypatch.setitem(VERBS, "fail", fail(error))
    with pytest.raises(type(error)) as caught:
        asked(store, "fail")
    assert str(caught.value) == str(error)


def test_what_breaks_in_the_daemon_is_answered_and_logged(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(VERBS, "fail", fail(RuntimeError("secret")))
    with pytest.raises(OrchestratorError, match="something is broken in it") as caught:
        asked(store, "fail")
    assert "secret" not in str(caught.value)
    assert "verb_failed" in caplog.text


def test_a_verb_of_another_release_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="does not know 'dance'"):
        asked(store, "dance")


def test_progress_is_told_on_the_way(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def verb(desk: Desk, upto: int) -> dict[str, Any]:
        for n in range(upto):
            desk.progress(n)
        return {"done": upto}

    monkeypatch.setitem(VERBS, "count", verb)
    seen: list[int] = []
    assert asked(store, "count", seen.append, upto=3) == {"done": 3}
    assert seen == [0, 1, 2]


def test_nobody_there_is_none(tmp_path: Path) -> None:
    assert ask(tmp_path / "no.sock", "pause", {}, print) is None


def test_a_daemon_that_goes_away_is_said(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(path))
        line.listen()
        gone = threading.Thread(target=lambda: line.accept()[0].close())  # noqa: PLW0108  # accepted in the thread
        gone.start()
        with pytest.raises(OrchestratorError, match="went away before it answered"):
            ask(path, "pause", {}, print)


def test_a_long_path_gets_a_short_socket(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120) / "o.db"
    assert len(str(socket_path(long))) < 100
    assert socket_path(long) != socket_path(long.with_name("p.db"))


def test_a_strangers_socket_is_told_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.path is not None
    path = socket_path(store.path)
    heard: list[bytes] = []

    async def run() -> None:
        over = asyncio.Event()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read())
            writer.close()
            await writer.wait_closed()
            over.set()

        async with await asyncio.start_unix_server(listen, path):
            monkeypatch.setattr("orchestrator.daemon.control.os.getuid", lambda: 12345)
            path.chmod(0o777)
            os.chown(path, 23456, -1)
            with pytest.raises(OrchestratorError, match="is another user's"):
                await asyncio.to_thread(ask, path, "launch", {}, print)
            await over.wait()

    if os.getuid():
        pytest.skip("gives a file away: needs root")
    asyncio.run(run())
    assert b"".join(heard) == b""


def test_the_socket_is_its_owners_alone(store: Store) -> None:
    assert store.path is not None
    path = socket_path(store.path)

    async def run() -> int:
        async with await serve(Desk(store, SystemClock(), Settings(database=store.url)), path):
            return path.stat().st_mode & 0o777

    assert asyncio.run(run()) == 0o600


def test_the_daemon_tells_its_breakers_and_without_one_nobody_does(store: Store) -> None:
    assert store.path is not None
    path = socket_path(store.path)
    desk = Desk(store, SystemClock(), Settings(database=store.url), breakers=lambda: {"fcm": "open"})

    async def run() -> Any:
        async with await serve(desk, path):
            return await asyncio.to_thread(ask, path, "breakers", {}, print)

    assert asyncio.run(run()) == {"fcm": "open"}
    assert ask(path, "breakers", {}, print) is None
