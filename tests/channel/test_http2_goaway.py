"""HTTP/2: GOAWAY tells what was processed, however its bytes come; a careless reading of it is caught."""

from __future__ import annotations

import asyncio
import random
import ssl
from pathlib import Path

import pytest
from hyperframe.frame import GoAwayFrame, PingFrame
from typing_extensions import override

from orchestrator.channel.http2 import Connection
from orchestrator.channel.http2_frames import Farewell, Frame, Incoming, Kind, farewell_in
from orchestrator.channel.transport import Answer, NoAnswer
from tests.channel.http2_asking import BROKEN, NOT_PROCESSED, OK, Result, ask, opened, until
from tests.channel.http2_end import (
    Asked,
)

# GOAWAY.


async def answers_and_accepted(tls: ssl.SSLContext, ca_file: Path) -> tuple[list[Result], set[str]]:
    """Ten streams; the server takes the first six, answers two of them, says so by GOAWAY and dies."""
    accepted: set[str] = set()

    def act(asked: Asked) -> None:
        if len(far.requests) < 11:  # with the one that proved the connection
            return
        taken, line = far.requests[1:7], asked.line
        accepted.update(each.head[":path"] for each in taken)
        for each in taken[:2]:
            line.answer(each.number, 200)
        line.goaway(taken[-1].number)
        line.transport.close()

    async with opened(tls, ca_file, OK, act) as (pool, far):
        await ask(pool)
        found = await asyncio.gather(*(ask(pool, f"/{n}") for n in range(10)))
        assert len(far.requests) == 11
        return found, accepted


def none_accepted_is_called_unsent(found: list[Result], accepted: set[str]) -> None:
    unsent = {f"/{n}" for n, each in enumerate(found) if isinstance(each, NoAnswer) and not each.left}
    assert not unsent & accepted


def test_goaway_tells_streams_apart(tls: ssl.SSLContext, ca_file: Path) -> None:
    found, accepted = asyncio.run(answers_and_accepted(tls, ca_file))
    none_accepted_is_called_unsent(found, accepted)
    assert [each.status for each in found if isinstance(each, Answer)] == [200, 200]
    assert found[2:6] == [BROKEN] * 4
    assert found[6:] == [NOT_PROCESSED] * 4


class Careless(Connection):
    """Takes every stream that has no answer after a GOAWAY for not processed."""

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        for stream in self._session.streams.values():
            stream.end(NOT_PROCESSED)
        super().connection_lost(exc)


def test_a_careless_reading_of_goaway_is_caught(
    tls: ssl.SSLContext, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.channel.http2_connect.Connection", Careless)
    found, accepted = asyncio.run(answers_and_accepted(tls, ca_file))
    with pytest.raises(AssertionError):
        none_accepted_is_called_unsent(found, accepted)


def test_after_goaway_what_is_under_way_is_answered_and_the_rest_goes_elsewhere(
    tls: ssl.SSLContext, ca_file: Path
) -> None:
    def act(asked: Asked) -> None:
        asked.line.goaway(2**31 - 1)  # first of all: nothing new, please
        asked.line.goaway(asked.number)
        asyncio.get_running_loop().call_later(0.1, lambda: asked.line.answer(asked.number, 201))

    async def main() -> None:
        async with opened(tls, ca_file, act, OK) as (pool, far):
            first = asyncio.create_task(ask(pool))
            await until(lambda: bool(far.requests))
            second = await ask(pool)
            assert isinstance(second, Answer)
            assert second.status == 200
            answer = await first
            assert isinstance(answer, Answer)
            assert answer.status == 201
            assert [each.line for each in far.requests] == far.lines
            await until(far.lines[0].transport.is_closing)  # it was drained

    asyncio.run(main())


def test_goaways_are_found_however_the_bytes_come() -> None:
    chance = random.Random(4)
    goaway = GoAwayFrame(0, last_stream_id=7, error_code=2, additional_data=b'{"reason":"Shutdown"}').serialize()
    ping = PingFrame(0, b"12345678").serialize()
    for _ in range(300):
        frames = [goaway if chance.random() < 0.3 else ping for _ in range(chance.randrange(1, 8))]
        data, incoming, found = b"".join(frames), Incoming(), list[Frame]()
        while data:
            size = chance.randrange(1, 30)
            found += incoming.frames(data[:size])
            data = data[size:]
        assert [kind for kind, *_ in found] == [Kind.GOAWAY if each == goaway else Kind.PING for each in frames]
        farewells = {farewell_in(payload) for kind, *_, payload in found if kind == Kind.GOAWAY}
        assert farewells <= {Farewell(7, 2, b'{"reason":"Shutdown"}')}
    assert Farewell(7, 2, b'{"reason":"Shutdown"}').reason == "Shutdown"
    assert [Farewell(1, 0, debug).reason for debug in (b"", b"[1]", b'{"reason": 5}', b'{"reason": "a b"}')] == [""] * 4
