"""HTTP/2: how many streams and connections there are, servers that are none or fall silent, and the end."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop

from orchestrator.channel import http2, http2_pool
from orchestrator.channel.http2 import Connection
from orchestrator.channel.http2_connect import NotSpokenError, client_context
from orchestrator.channel.http2_frames import Code, Kind, frame, number_frame
from orchestrator.channel.http2_pool import Pool
from orchestrator.channel.transport import Answer, Failure, NoAnswer
from tests.channel.http2_asking import BROKEN, OK, ask, fields, opened, proves, until
from tests.channel.http2_end import (
    Act,
    Asked,
    Http2End,
    answers,
    silence,
)


def test_one_stream_until_it_is_proven(tls: ssl.SSLContext, ca_file: Path) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, answers(200, after=0.1)) as (pool, far):
            waiting = [asyncio.create_task(ask(pool)) for _ in range(10)]
            await until(lambda: len(far.requests) == 1)
            await asyncio.sleep(0.05)
            assert len(far.requests) == 1
            await asyncio.gather(*waiting)
            assert far.lines[0].most_at_once == 9

    asyncio.run(main())


def test_two_hundred_streams_over_three_connections_obey_the_limit_that_shrinks_to_one(
    tls: ssl.SSLContext, ca_file: Path
) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, answers(200, after=0.01), connections=3, most_streams=100) as (pool, far):
            await asyncio.gather(*(ask(pool) for _ in range(3)))
            found = await asyncio.gather(*(ask(pool, f"/{n}") for n in range(200)))
            assert {each.status for each in found if isinstance(each, Answer)} == {200}
            assert len(far.lines) == 3
            assert max(line.most_at_once for line in far.lines) <= 100
            assert min(line.most_at_once for line in far.lines) > 20  # spread
            for line in far.lines:
                line.allow(1)
            await ask(pool)
            await asyncio.sleep(0.05)
            for line in far.lines:
                line.most_at_once = 0
            await asyncio.gather(*(ask(pool, f"/{n}") for n in range(30)))
            assert [line.most_at_once for line in far.lines] == [1, 1, 1]
            for line in far.lines:
                line.allow(50)
            await asyncio.sleep(0.05)
            await asyncio.gather(*(ask(pool, f"/{n}") for n in range(90)))
            assert max(line.most_at_once for line in far.lines) > 1
            assert len(far.requests) == 3 + 200 + 1 + 30 + 90
            assert len(far.lines) == 3

    asyncio.run(main())


def test_no_stream_in_time_means_not_sent(tls: ssl.SSLContext, ca_file: Path) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, answers(200, after=2.5), most_streams=1, patience=1.5) as (pool, far):
            first, second = await asyncio.gather(ask(pool), ask(pool))
            assert (first, second) == (NoAnswer(Failure.TIMEOUT, left=True), NoAnswer(Failure.POOL, left=False))
            assert len(far.requests) == 1

    asyncio.run(main())


def test_who_waited_past_its_time_to_begin_sends_nothing_and_keeps_no_stream(
    tls: ssl.SSLContext, ca_file: Path
) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, answers(200, after=0.3), most_streams=1) as (pool, far):
            late = pool.request(lambda _: fields("/late"), b"", begin_by=time.monotonic() + 0.1)
            found = await asyncio.gather(ask(pool), late, ask(pool))
            assert found[1] == NoAnswer(Failure.POOL, left=False)
            assert [isinstance(each, Answer) for each in found] == [True, False, True]
            assert [each.head[":path"] for each in far.requests] == ["/m", "/m"]

    asyncio.run(main())


def test_a_connection_whose_last_taker_was_cancelled_is_closed_when_it_is_given_up(
    tls: ssl.SSLContext, ca_file: Path
) -> None:
    async def main() -> None:
        async with Http2End(tls, most_streams=1).plays(OK) as far:

            def given_up(_pool: Pool, connection: Connection, _answer: Answer) -> None:
                taker.cancel()  # a stream is kept for it by now
                connection.retire()

            timeout = timedelta(seconds=2)
            pool = Pool(far.url, client_context(ca_file), given_up, connections=1, timeout=timeout)
            first = asyncio.create_task(ask(pool))
            taker = asyncio.create_task(ask(pool))
            assert isinstance(await first, Answer)
            with pytest.raises(asyncio.CancelledError):
                await taker
            await until(lambda: far.lines[0].goodbyes)
            await pool.close()

    asyncio.run(main())


def test_a_process_that_stood_still_begins_nothing_whose_time_is_over(tls: ssl.SSLContext, ca_file: Path) -> None:
    """It would end at once, as one that may have been accepted."""

    async def main() -> None:
        async with opened(tls, ca_file, OK, silence, most_streams=1, patience=0.4) as (pool, far):
            await ask(pool)
            first, second = asyncio.create_task(ask(pool)), asyncio.create_task(ask(pool, "/late"))
            await until(lambda: len(far.requests) == 2)
            asyncio.get_running_loop().call_later(0.05, first.cancel)  # a stream is free now
            time.sleep(0.6)  # noqa: ASYNC251  # all of the process stands still
            assert await second == NoAnswer(Failure.POOL, left=False)
            assert len(far.requests) == 2

    asyncio.run(main())


def test_a_request_without_an_answer_ends_with_its_time(tls: ssl.SSLContext, ca_file: Path) -> None:
    """Not before it, and hardly later, although nobody looks but five times a second."""

    async def main() -> None:
        async with opened(tls, ca_file, OK, silence, patience=0.7) as (pool, far):
            await ask(pool)
            now = asyncio.get_running_loop().time
            began = now()
            assert await ask(pool) == NoAnswer(Failure.TIMEOUT, left=True)
            assert 0.7 <= now() - began < 1.7
            await until(lambda: not far.lines[0].at_once)  # it was cancelled there

    asyncio.run(main())


def test_who_gives_up_frees_the_stream(tls: ssl.SSLContext, ca_file: Path) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, silence, OK, most_streams=1) as (pool, far):
            first = asyncio.create_task(ask(pool))
            second = asyncio.create_task(ask(pool))
            third = asyncio.create_task(ask(pool))
            await until(lambda: len(far.requests) == 1)
            second.cancel()
            first.cancel()
            assert isinstance(await third, Answer)
            assert len(far.requests) == 2

    asyncio.run(main())


# Connections.


def test_a_server_that_is_not_one(tls: ssl.SSLContext, ca_file: Path, tmp_path: Path) -> None:
    async def trouble(pool: Pool) -> str:
        assert await ask(pool) == NoAnswer(Failure.CONNECT, left=False)
        await pool.close()
        return pool.trouble

    async def main() -> None:
        short = timedelta(seconds=0.6)
        async with Http2End(tls).plays(OK) as far:
            strangers = Pool(far.url, client_context(), proves, connections=2, timeout=short)
            assert "certificate" in await trouble(strangers)
            wrong_name = Pool(
                f"https://127.0.0.1:{far.port}", client_context(ca_file), proves, connections=1, timeout=short
            )
            assert "certificate" in await trouble(wrong_name)
            far.tls.set_alpn_protocols(["http/1.1"])
            assert await trouble(Pool(far.url, client_context(ca_file), proves, connections=1, timeout=short))
            assert far.requests == []
        assert await trouble(Pool(far.url, client_context(ca_file), proves, connections=1, timeout=short))
        nowhere = Pool("https://nothing.invalid", client_context(ca_file), proves, connections=1, timeout=short)
        assert await trouble(nowhere)

    asyncio.run(main())


def test_a_server_that_accepts_and_says_nothing(ca_file: Path) -> None:
    async def main() -> None:
        writers: list[asyncio.StreamWriter] = []
        mute = await asyncio.start_server(lambda _, writer: writers.append(writer), "localhost", 0)
        port = mute.sockets[0].getsockname()[1]
        timeout = timedelta(seconds=0.4)
        pool = Pool(f"https://localhost:{port}", client_context(ca_file), proves, connections=1, timeout=timeout)
        started = asyncio.get_running_loop().time()
        assert await ask(pool) == NoAnswer(Failure.CONNECT, left=False)
        assert asyncio.get_running_loop().time() - started < 1
        await pool.close()
        for writer in writers:
            writer.transport.abort()
        mute.close()
        await asyncio.sleep(0.01)

    asyncio.run(main())


def test_an_idle_connection_is_asked_whether_it_is_there(tls: ssl.SSLContext, ca_file: Path) -> None:
    async def main() -> None:
        async with Http2End(tls).plays(OK) as far:
            pool = Pool(
                far.url,
                client_context(ca_file),
                proves,
                connections=1,
                timeout=timedelta(seconds=2),
                idle_ping=timedelta(seconds=0.1),
            )
            await ask(pool)
            await until(lambda: far.lines[0].pings >= 2)
            assert isinstance(await ask(pool), Answer)
            assert len(far.lines) == 1
            await pool.close()

    asyncio.run(main())


def test_a_connection_that_fell_silent_is_given_up(
    tls: ssl.SSLContext, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "PONG_WITHIN", timedelta(seconds=0.1))

    def fall_silent(asked: Asked) -> None:
        asked.line.deaf = True

    async def main() -> None:
        async with opened(tls, ca_file, OK, fall_silent, OK, patience=1.5) as (pool, far):
            await ask(pool)
            assert await ask(pool) == NoAnswer(Failure.TIMEOUT, left=True)
            assert isinstance(await ask(pool), Answer)  # on another one
            assert [each.line for each in far.requests] == [far.lines[0], far.lines[0], far.lines[1]]

    asyncio.run(main())


def writes(data: bytes) -> Act:
    def act(asked: Asked) -> None:
        asked.line.transport.write(data)

    return act


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Code.FRAME_SIZE_ERROR),
        (number_frame(Kind.WINDOW_UPDATE, 0, 0), Code.PROTOCOL_ERROR),
        (frame(Kind.PING, 0, 0, b"8 bytes.") * 1500, Code.ENHANCE_YOUR_CALM),
    ],
)
def test_who_breaks_the_protocol_is_told_so_and_left(
    tls: ssl.SSLContext, ca_file: Path, data: bytes, code: Code, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, OK, silence, writes(data), OK, patience=10) as (pool, far):
            await ask(pool)
            assert set(await asyncio.gather(ask(pool), ask(pool))) == {BROKEN}
            await until(far.lines[0].transport.is_closing)
            assert far.lines[0].goodbyes == [code]
            assert isinstance(await ask(pool), Answer)  # on another one
            assert len(far.lines) == 2

    run(main())


def test_what_a_server_does_not_read_is_kept_here_until_it_does(tls: ssl.SSLContext, ca_file: Path) -> None:
    async def main() -> None:
        async with opened(tls, ca_file) as (pool, far):
            await ask(pool)
            (connection,), (line,) = pool._connections, far.lines
            connection.pause_writing()
            assert connection.room == 0
            line.h2.ping(b"8 bytes.")
            line.flush()
            await asyncio.sleep(0.1)
            assert line.pongs == 0
            connection.resume_writing()
            await until(lambda: line.pongs == 1)

    asyncio.run(main())


def test_closing_ends_everything(tls: ssl.SSLContext, ca_file: Path) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, silence, patience=10, most_streams=1) as (pool, far):
            waiting = [asyncio.create_task(ask(pool)) for _ in range(3)]
            await until(lambda: len(far.requests) == 1)
            await pool.close()
            found = await asyncio.gather(*waiting)
            assert [each.left for each in found if isinstance(each, NoAnswer)] == [True, False, False]

    asyncio.run(main())


def test_a_connection_that_hangs_takes_few_of_the_requests_that_come_one_by_one(
    tls: ssl.SSLContext, ca_file: Path
) -> None:
    """In one turn of the loop many share a connection; over time they go where there is the most room."""

    async def main() -> None:
        async with opened(tls, ca_file, OK, connections=2, patience=1) as (pool, far):
            for _ in range(50):  # on a busy machine the first is through with four before a second is wanted
                await asyncio.gather(*(ask(pool) for _ in range(4)))
                if len(far.lines) == 2:
                    break
            await asyncio.gather(*(ask(pool) for _ in range(4)))
            assert len(far.lines) == 2
            far.requests[-1].line.deaf = True
            waiting = []
            for _ in range(12):
                waiting.append(asyncio.create_task(ask(pool)))
                await asyncio.sleep(0.02)
            found = await asyncio.gather(*waiting)
            assert sum(isinstance(each, Answer) for each in found) >= 10

    asyncio.run(main())


def test_who_waits_is_served_by_the_connection_there_is_when_another_reaches_no_http_2(
    tls: ssl.SSLContext, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, answers(200, after=0.1), connections=2, most_streams=1) as (pool, _):
            assert isinstance(await ask(pool), Answer)

            async def older(*_: object, **__: object) -> Connection:
                raise NotSpokenError

            monkeypatch.setattr(http2_pool, "connect", older)
            found = await asyncio.gather(*(ask(pool) for _ in range(3)))
            assert all(isinstance(each, Answer) for each in found)

    asyncio.run(main())
