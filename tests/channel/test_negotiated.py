"""Which of the two protocols a server is spoken to in, and what HTTP/2 adds; ``test_transport`` has the rest."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from h2.errors import ErrorCodes

from orchestrator.channel import negotiated
from orchestrator.channel.negotiated import Negotiated
from orchestrator.channel.transport import Answer, Failure, NoAnswer
from tests.channel.far_end import FarEnd
from tests.channel.far_end import answers as older_answers
from tests.channel.http2_asking import until
from tests.channel.http2_end import Act, Asked, Http2End, answers, cuts, resets, silence

HEADERS = {"Authorization": "Bearer canary", "content-type": "application/json"}


@asynccontextmanager
async def opened(
    tls: ssl.SSLContext, certificate: bytes, *acts: Act, patience: float = 2.0, most_streams: int = 100
) -> AsyncIterator[tuple[Negotiated, Http2End]]:
    async with Http2End(tls, most_streams=most_streams).plays(*acts) as far:
        client = Negotiated(timedelta(seconds=patience), root_pem=certificate)
        try:
            yield client, far
        finally:
            await client.close()


async def post(client: Negotiated, url: str, *, body: bytes = b"body", limit: int = 1000) -> Answer | NoAnswer:
    return await client.request("POST", f"{url}/m?a=1", headers=HEADERS, body=body, limit=limit)


def accepted(found: Sequence[Answer | NoAnswer]) -> bool:
    return all(isinstance(answer, Answer) and answer.status == 200 for answer in found)


def test_a_request_is_written_as_http_2_has_it(tls: ssl.SSLContext, certificate: bytes) -> None:
    async def main() -> None:
        async with opened(tls, certificate, answers(200, {"a": 1})) as (client, far):
            for _ in range(3):
                answer = await post(client, far.url)
                assert isinstance(answer, Answer)
                assert (answer.status, answer.body) == (200, b'{"a": 1}')
            assert [(asked.head, bytes(asked.body)) for asked in far.requests] == [
                (
                    {
                        ":method": "POST",
                        ":scheme": "https",
                        ":authority": f"localhost:{far.port}",
                        ":path": "/m?a=1",
                        "user-agent": "reengagement-orchestrator",
                        "accept": "*/*",
                        "authorization": "Bearer canary",
                        "content-type": "application/json",
                        "content-length": "4",
                    },
                    b"body",
                )
            ] * 3
            assert len(far.lines) == 1

    asyncio.run(main())


def test_many_share_a_connection_and_another_one_comes_when_half_its_streams_are_taken(
    tls: ssl.SSLContext, certificate: bytes
) -> None:
    async def main() -> None:
        async with opened(tls, certificate, answers(200, after=0.1), most_streams=40) as (client, far):
            await post(client, far.url)
            for count, connections in ((20, {1}), (60, {2, 3})):
                found = await asyncio.gather(*(post(client, far.url) for _ in range(count)))
                assert accepted(found)
                assert len(far.lines) in connections

    asyncio.run(main())


def test_who_speaks_http_1_1_alone_is_asked_once_which_it_speaks(tls: ssl.SSLContext, certificate: bytes) -> None:
    """And everybody who waited for that is answered, one request each."""

    async def main() -> None:
        async with FarEnd(tls=tls).plays("/m", older_answers(200, {"a": 1})) as far:
            client, url = Negotiated(timedelta(seconds=2), root_pem=certificate), f"https://localhost:{far.port}"
            found = await asyncio.gather(*(client.request("POST", f"{url}/m", headers=HEADERS) for _ in range(20)))
            assert accepted(found)
            assert len(far.requests) == 20
            assert {request.method for request in far.requests} == {"POST"}
            assert far.connections == 1 + 20  # this far end hangs up after each answer
            assert isinstance(await client.request("POST", f"{url}/m", headers=HEADERS), Answer)
            assert far.connections == 1 + 21
            await client.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("act", "answer"),
    [
        (resets(ErrorCodes.REFUSED_STREAM), NoAnswer(Failure.REFUSED, left=False)),
        (resets(ErrorCodes.INTERNAL_ERROR), NoAnswer(Failure.BROKEN, left=True)),
        (cuts, NoAnswer(Failure.BROKEN, left=True)),
        (silence, NoAnswer(Failure.TIMEOUT, left=True)),
    ],
)
def test_what_is_lost_is_sent_once_and_never_again_in_the_other_protocol(
    tls: ssl.SSLContext, certificate: bytes, act: Act, answer: NoAnswer
) -> None:
    async def main() -> None:
        async with opened(tls, certificate, act, patience=0.5) as (client, far):
            assert await post(client, far.url) == answer
            assert (len(far.requests), len(far.lines)) == (1, 1)

    asyncio.run(main())


def test_of_a_long_answer_no_more_is_given_than_was_asked_for(tls: ssl.SSLContext, certificate: bytes) -> None:
    async def main() -> None:
        async with opened(tls, certificate, answers(200, b"x" * 5000)) as (client, far):
            answer = await post(client, far.url)
            assert isinstance(answer, Answer)
            assert (answer.body, answer.whole) == (b"x" * 1000, False)

    asyncio.run(main())


def test_nothing_is_begun_after_its_time(tls: ssl.SSLContext, certificate: bytes) -> None:
    async def main() -> None:
        async with opened(tls, certificate, answers(200)) as (client, far):
            url, late = f"{far.url}/m", time.monotonic()
            assert await client.request("POST", url, headers={}, begin_by=late) == NoAnswer(Failure.POOL, left=False)
            assert far.requests == []
            assert isinstance(await client.request("POST", url, headers={}, begin_by=late + 60), Answer)

    asyncio.run(main())


def test_a_connection_that_carried_nothing_for_a_while_is_left(
    tls: ssl.SSLContext, certificate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(negotiated, "_IDLE_END", timedelta(seconds=0.2))

    def slowly(asked: Asked) -> None:
        answers(200, after=0.5)(asked)

    async def main() -> None:
        async with opened(tls, certificate, slowly, answers(200)) as (client, far):
            assert isinstance(await post(client, far.url), Answer)  # in use it is asked whether it is there, and kept
            assert far.lines[0].pings >= 1
            await until(lambda: far.lines[0].goodbyes)
            assert isinstance(await post(client, far.url), Answer)
            assert len(far.lines) == 2

    asyncio.run(main())


def test_a_process_that_stood_still_uses_no_connection_that_may_be_forgotten(
    tls: ssl.SSLContext, certificate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(negotiated, "_IDLE_END", timedelta(seconds=0.2))

    async def main() -> None:
        async with opened(tls, certificate, answers(200)) as (client, far):
            await post(client, far.url)
            await post(client, far.url)
            time.sleep(0.3)  # noqa: ASYNC251  # no timer runs meanwhile
            assert isinstance(await post(client, far.url), Answer)
            assert len(far.lines) == 2

    asyncio.run(main())


@pytest.mark.parametrize("headers", [{"x": "caf\xe9"}, {"connection": "close"}])
def test_what_http_2_cannot_say_is_said_in_http_1_1(
    tls: ssl.SSLContext, certificate: bytes, headers: dict[str, str]
) -> None:
    async def main() -> None:
        async with FarEnd(tls=tls).plays("/m", older_answers(200)) as far:
            client = Negotiated(timedelta(seconds=2), root_pem=certificate)
            answer = await client.request("POST", f"https://localhost:{far.port}/m", headers=headers)
            assert isinstance(answer, Answer)
            assert far.connections == 1  # it was not asked which it speaks
            await client.close()

    asyncio.run(main())


def test_who_spoke_http_1_1_is_asked_again_after_a_while(
    tls: ssl.SSLContext, certificate: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(negotiated, "_ASKED_AGAIN", timedelta(seconds=0.2))

    async def main() -> None:
        async with FarEnd(tls=tls).plays("/m", older_answers(200)) as far:
            client, url = Negotiated(timedelta(seconds=2), root_pem=certificate), f"https://localhost:{far.port}/m"
            for pause, connections in ((0.0, 2), (0.3, 3), (0.0, 5)):
                assert isinstance(await client.request("POST", url, headers=HEADERS), Answer)
                assert far.connections == connections
                await asyncio.sleep(pause)
            await client.close()

    asyncio.run(main())


def test_a_server_that_is_down_is_not_taken_for_one_that_speaks_http_1_1(
    tls: ssl.SSLContext, certificate: bytes
) -> None:
    async def main() -> None:
        async with opened(tls, certificate, answers(200)) as (client, far):
            assert isinstance(await post(client, far.url), Answer)
            pool = next(iter(client._pools.values()))
            pool.unspoken = True  # one of its machines was reached that speaks no HTTP/2
            pool.renew()
            assert isinstance(await post(client, far.url), Answer)
            assert not pool.unspoken
            pool.renew()
            assert far.server is not None
            far.server.close()
            assert await post(client, far.url) == NoAnswer(Failure.CONNECT, left=False)
            assert not client._older

    asyncio.run(main())


def test_who_waited_for_a_stream_has_all_the_time_for_its_answer(tls: ssl.SSLContext, certificate: bytes) -> None:
    async def main() -> None:
        async with Http2End(tls, most_streams=1).plays(answers(200, after=0.4)) as far:
            client = Negotiated(timedelta(seconds=0.6), root_pem=certificate)
            assert accepted(await asyncio.gather(*(post(client, far.url) for _ in range(13))))  # ten connections
            assert max(line.most_at_once for line in far.lines) == 1
            await client.close()

    asyncio.run(main())


def test_connections_whose_tables_are_full_of_old_tokens_are_replaced(tls: ssl.SSLContext, certificate: bytes) -> None:
    async def main() -> None:
        async with opened(tls, certificate, answers(200)) as (client, far):
            for n in range(6):
                headers = {"authorization": f"Bearer {n}" + "x" * 1000}
                assert isinstance(await client.request("POST", f"{far.url}/m", headers=headers), Answer)
            assert [asked.head["authorization"][:8] for asked in far.requests] == [f"Bearer {n}" for n in range(6)]
            assert len(far.lines) == 2

    asyncio.run(main())


def test_a_name_that_cannot_be_one_is_not_waited_for(certificate: bytes) -> None:
    async def main() -> None:
        client, began = Negotiated(timedelta(seconds=5), root_pem=certificate), time.monotonic()
        answer = await client.request("POST", "https://a..example/m", headers=HEADERS)
        assert answer == NoAnswer(Failure.CONNECT, left=False)
        assert time.monotonic() - began < 2
        await client.close()

    asyncio.run(main())
