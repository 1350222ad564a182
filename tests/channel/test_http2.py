"""One request per call over HTTP/2, and whether one without an answer may have been processed."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame, PingFrame
from typing_extensions import override

from orchestrator.channel import http2
from orchestrator.channel.http2 import Connection, Fields, plain, secret
from orchestrator.channel.http2_connect import client_context
from orchestrator.channel.http2_frames import Farewell, split_goaways
from orchestrator.channel.http2_pool import Pool
from orchestrator.channel.transport import ANSWER_LIMIT, Answer, Failure, NoAnswer
from tests.channel.http2_end import (
    Act,
    Asked,
    Http2End,
    answers,
    cuts,
    garbage,
    goes_away,
    half,
    hangs_up,
    resets,
    silence,
)

OK = answers(200)
Result = Answer | NoAnswer


@pytest.fixture
def ca_file(certificate: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(certificate)
    return path


def proves(_pool: Pool, connection: Connection, answer: Answer) -> None:
    connection.proven = True


def fields(path: str = "/m", field: Callable[[str, str], object] = secret) -> Fields:
    head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost")]
    return [*(plain(*each) for each in head), field(":path", path), field("authorization", "bearer abc")]  # type: ignore[list-item]


@asynccontextmanager
async def opened(
    tls: ssl.SSLContext, ca_file: Path, *acts: Act, patience: float = 2.0, connections: int = 1, **far_options: Any
) -> AsyncIterator[tuple[Pool, Http2End]]:
    async with Http2End(tls, **far_options).plays(*(acts or (OK,))) as far:
        timeout = timedelta(seconds=patience)
        pool = Pool(far.url, client_context(ca_file), proves, connections=connections, timeout=timeout)
        try:
            yield pool, far
        finally:
            await pool.close()


async def ask(pool: Pool, path: str = "/m", body: bytes = b"body") -> Result:
    return await pool.request(lambda _: fields(path), body)


def test_a_request_and_its_answer(tls: ssl.SSLContext, ca_file: Path) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, answers(418, {"a": 1}, x_one="1")) as (pool, far):
            answer = await ask(pool, "/pot")
            assert isinstance(answer, Answer)
            assert (answer.status, answer.body, answer.headers["x-one"], answer.whole) == (418, b'{"a": 1}', "1", True)
            (asked,) = far.requests
            assert (asked.head[":path"], bytes(asked.body)) == ("/pot", b"body")

    asyncio.run(main())


@pytest.mark.parametrize(("field", "kept_out"), [(secret, True), (plain, False)])
def test_secrets_stay_out_of_the_table(
    tls: ssl.SSLContext, ca_file: Path, field: Callable[[str, str], object], kept_out: bool
) -> None:
    """With ``plain`` in the place of ``secret`` they do not: the test sees it."""

    async def main() -> None:
        async with opened(tls, ca_file) as (pool, far):
            for _ in range(3):
                await pool.request(lambda _: fields(field=field), b"")
            assert not far.indexed & {b":path", b"authorization"} if kept_out else b"authorization" in far.indexed
            assert b":authority" in far.indexed

    asyncio.run(main())


NOT_PROCESSED = NoAnswer(Failure.REFUSED, left=False)
BROKEN = NoAnswer(Failure.BROKEN, left=True)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (resets(ErrorCodes.REFUSED_STREAM), NOT_PROCESSED),
        (resets(ErrorCodes.INTERNAL_ERROR), BROKEN),
        (resets(ErrorCodes.CANCEL), BROKEN),
        (resets(ErrorCodes.ENHANCE_YOUR_CALM), BROKEN),
        (resets(ErrorCodes.NO_ERROR), BROKEN),
        (goes_away(-2), NOT_PROCESSED),
        (goes_away(-2, hang_up=False), NOT_PROCESSED),
        (goes_away(0), BROKEN),
        (goes_away(+100), BROKEN),
        (hangs_up, BROKEN),
        (cuts, BROKEN),
        (garbage, BROKEN),
        (silence, NoAnswer(Failure.TIMEOUT, left=True)),
    ],
)
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_without_an_answer(
    tls: ssl.SSLContext, ca_file: Path, act: Act, expected: NoAnswer, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, act, patience=2.0) as (pool, far):
            assert await ask(pool) == expected
            assert (len(far.requests), len(far.lines)) == (1, 1)

    run(main())


@pytest.mark.parametrize(
    "then",
    [silence, resets(ErrorCodes.INTERNAL_ERROR), resets(ErrorCodes.REFUSED_STREAM), hangs_up, cuts, goes_away(0)],
)
@pytest.mark.parametrize("body", [b"", b'{"rea'])
def test_a_status_is_an_answer_though_its_body_never_ends(
    tls: ssl.SSLContext, ca_file: Path, then: Act, body: bytes
) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, half(403, body, then), patience=2.0) as (pool, far):
            answer = await ask(pool)
            assert isinstance(answer, Answer)
            assert (answer.status, answer.whole) == (403, False)
            assert body.startswith(answer.body)
            assert len(far.requests) == 1

    asyncio.run(main())


def test_of_a_huge_answer_a_part_is_read(tls: ssl.SSLContext, ca_file: Path) -> None:
    def act(asked: Asked) -> None:
        half(200, b"x" * 16000)(asked)
        line, number = asked.line, asked.number

        def more(left: int) -> None:
            if left and number in line.h2.streams and not line.transport.is_closing():
                if line.h2.local_flow_control_window(number) >= 16000:
                    line.h2.send_data(number, b"x" * 16000)
                    line.flush()
                asyncio.get_running_loop().call_later(0.001, more, left - 1)

        more(100)

    async def main() -> None:
        async with opened(tls, ca_file, act) as (pool, _):
            answer = await ask(pool)
            assert isinstance(answer, Answer)
            assert (len(answer.body), answer.whole) == (ANSWER_LIMIT, False)

    asyncio.run(main())


def test_an_answer_before_the_body_has_left_frees_the_stream(tls: ssl.SSLContext, ca_file: Path) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, OK, window=0, most_streams=1, patience=1.5) as (pool, far):
            waiting = asyncio.create_task(ask(pool))
            await until(lambda: far.lines and bool(far.lines[0].open))
            (number,) = far.lines[0].open
            far.lines[0].answer(number, 413)
            answer = await waiting
            assert isinstance(answer, Answer)
            assert answer.status == 413
            await until(lambda: not far.lines[0].at_once)
            assert isinstance(await ask(pool, body=b""), Answer)  # the only stream there is

    asyncio.run(main())


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
        for stream in self._streams.values():
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
        data, rest, found = b"".join(frames), b"", list[bytes | Farewell]()
        while data:
            size = chance.randrange(1, 30)
            rest, pieces = split_goaways(rest + data[:size])
            found += pieces
            data = data[size:]
        assert rest == b""
        assert [each for each in found if isinstance(each, Farewell)] == [
            Farewell(7, 2, b'{"reason":"Shutdown"}') for each in frames if each == goaway
        ]
        assert b"".join(each for each in found if isinstance(each, bytes)) == ping * frames.count(ping)
    assert Farewell(7, 2, b'{"reason":"Shutdown"}').reason == "Shutdown"
    assert [Farewell(1, 0, debug).reason for debug in (b"", b"[1]", b'{"reason": 5}', b'{"reason": "a b"}')] == [""] * 4


# Streams.


@pytest.mark.parametrize("size", [0, 1, 4096, 100_000])
def test_flow_control(tls: ssl.SSLContext, ca_file: Path, size: int) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, window=1000) as (pool, far):
            bodies = [bytes([65 + n]) * size for n in range(20)]
            found = await asyncio.gather(*(ask(pool, body=body) for body in bodies))
            assert {each.status for each in found if isinstance(each, Answer)} == {200}
            assert sorted(bytes(each.body) for each in far.requests) == bodies

    asyncio.run(main())


def test_a_body_that_could_not_leave_may_have_been_seen(tls: ssl.SSLContext, ca_file: Path) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, window=0, patience=1.5) as (pool, far):
            assert await ask(pool) == NoAnswer(Failure.TIMEOUT, left=True)
            assert far.requests == []

    asyncio.run(main())


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


def test_closing_ends_everything(tls: ssl.SSLContext, ca_file: Path) -> None:
    async def main() -> None:
        async with opened(tls, ca_file, silence, patience=10, most_streams=1) as (pool, far):
            waiting = [asyncio.create_task(ask(pool)) for _ in range(3)]
            await until(lambda: len(far.requests) == 1)
            await pool.close()
            found = await asyncio.gather(*waiting)
            assert [each.left for each in found if isinstance(each, NoAnswer)] == [True, False, False]

    asyncio.run(main())


async def until(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(2):
        while not fact():  # noqa: ASYNC110  # what is waited for happens on the other side
            await asyncio.sleep(0.005)
