"""HTTP/2: requests and answers, answers that never come whole, and flow control."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from h2.errors import ErrorCodes

from orchestrator.channel.http2_fields import plain, secret
from orchestrator.channel.transport import ANSWER_LIMIT, Answer, Failure, NoAnswer
from tests.channel.http2_asking import BROKEN, NOT_PROCESSED, OK, ask, fields, opened, until
from tests.channel.http2_end import (
    Act,
    Asked,
    answers,
    cuts,
    garbage,
    goes_away,
    half,
    hangs_up,
    resets,
    silence,
)


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
