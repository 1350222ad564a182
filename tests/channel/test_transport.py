"""One request per call, and whether a failed one may have left: of all clients there are."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import time
from datetime import timedelta

import pytest

from orchestrator.channel.negotiated import Negotiated
from orchestrator.channel.transport import ANSWER_LIMIT, Answer, Failure, NoAnswer, Transport, wrong_url
from orchestrator.channel.wire import Wire
from tests.channel.far_end import (
    Act,
    FarEnd,
    answers,
    cut,
    drip,
    garbage,
    hang_up,
    html,
    huge,
    reset,
    silence,
)

Client = type[Transport] | type[Wire] | type[Negotiated]


@pytest.fixture(params=[Transport, Wire, Negotiated])
def client(request: pytest.FixtureRequest) -> Client:
    made: Client = request.param
    return made


async def _post(client: Client, url: str, patience: float = 0.6, root_pem: bytes | None = None) -> Answer | NoAnswer:
    transport = client(timedelta(seconds=patience), root_pem=root_pem)
    try:
        return await transport.request("POST", url, headers={"x-one": "1"}, body=b"body")
    finally:
        await transport.close()


@pytest.mark.parametrize(
    ("act", "failure"),
    [
        (reset, Failure.BROKEN),
        (hang_up, Failure.BROKEN),
        (garbage, Failure.BROKEN),
        (cut(200), Failure.BROKEN),
        (cut(404), Failure.BROKEN),
        (silence, Failure.TIMEOUT),
        (drip, Failure.TIMEOUT),
    ],
)
def test_what_was_read_may_have_left_and_is_sent_once(client: Client, act: Act, failure: Failure) -> None:
    async def main() -> None:
        async with FarEnd().plays("/m", act) as far:
            started = time.monotonic()
            assert await _post(client, f"{far.url}/m") == NoAnswer(failure, left=True)
            assert time.monotonic() - started < 3
            assert (len(far.requests), far.connections) == (1, 1)

    asyncio.run(main())


def test_reset_before_reading_may_have_left(client: Client) -> None:
    async def main() -> None:
        async with FarEnd(reset_unread=True) as far:
            assert await _post(client, f"{far.url}/m") == NoAnswer(Failure.BROKEN, left=True)
            assert far.connections == 1

    asyncio.run(main())


@pytest.mark.parametrize("status", [200, 307, 401, 408, 429, 500, 502, 503])
def test_every_status_is_an_answer_to_one_request(client: Client, status: int) -> None:
    async def main() -> None:
        async with FarEnd().plays("/m", answers(status, {"a": 1}, location="/other", Retry_After="1")) as far:
            answer = await _post(client, f"{far.url}/m")
            assert isinstance(answer, Answer)
            assert (answer.status, answer.body, answer.headers["retry-after"]) == (status, b'{"a": 1}', "1")
            assert len(far.requests) == 1
            assert far.requests[0].body == b"body"

    asyncio.run(main())


def test_html_is_an_answer(client: Client) -> None:
    async def main() -> None:
        async with FarEnd().plays("/m", html(502)) as far:
            answer = await _post(client, f"{far.url}/m")
            assert isinstance(answer, Answer)
            assert answer.status == 502

    asyncio.run(main())


def test_200_megabytes_are_not_read(client: Client) -> None:
    async def main() -> None:
        async with FarEnd().plays("/m", huge) as far:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            answer = await _post(client, f"{far.url}/m", patience=5)
            assert isinstance(answer, Answer)
            assert (len(answer.body), answer.whole) == (ANSWER_LIMIT, False)
            assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB

    asyncio.run(main())


def test_refused_and_unknown_host_never_left(client: Client) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/m", "https://no-such-host.invalid/m"):
        assert asyncio.run(_post(client, url, patience=5)) == NoAnswer(Failure.CONNECT, left=False)


def test_a_handshake_that_fails_never_left(client: Client, tls: ssl.SSLContext, certificate: bytes) -> None:
    async def main() -> None:
        async with FarEnd(tls=tls).plays("/m", answers(200)) as far:
            for root in (None, certificate):  # nobody vouches for it; it is for another name
                assert await _post(client, f"{far.url}/m", root_pem=root) == NoAnswer(Failure.CONNECT, left=False)
            assert not far.requests
            answer = await _post(client, f"https://localhost:{far.port}/m", patience=5, root_pem=certificate)
            assert isinstance(answer, Answer)

    asyncio.run(main())


def test_a_handshake_that_hangs_never_left(client: Client) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"https://127.0.0.1:{mute.getsockname()[1]}/m"
        assert asyncio.run(_post(client, url)) == NoAnswer(Failure.CONNECT, left=False)


def test_a_full_pool_never_left(client: Client) -> None:
    async def main() -> None:
        async with FarEnd().plays("/m", silence) as far:
            transport = client(timedelta(seconds=1), connections=1, pool_timeout=timedelta(seconds=0.2))
            url = f"{far.url}/m"
            both = await asyncio.gather(*(transport.request("POST", url, headers={}, body=b"x") for _ in range(2)))
            assert NoAnswer(Failure.POOL, left=False) in both
            assert NoAnswer(Failure.TIMEOUT, left=True) in both
            assert len(far.requests) == 1
            await transport.close()

    asyncio.run(main())


def test_nothing_is_begun_after_its_time(client: Client) -> None:
    """And its connection is there for the next."""

    async def main() -> None:
        async with FarEnd().plays("/m", answers(200)) as far:
            transport = client(timedelta(seconds=1), connections=1, pool_timeout=timedelta(seconds=0.2))
            late = await transport.request("POST", f"{far.url}/m", headers={}, begin_by=time.monotonic())
            assert (late, far.requests) == (NoAnswer(Failure.POOL, left=False), [])
            soon = await transport.request("POST", f"{far.url}/m", headers={}, begin_by=time.monotonic() + 60)
            assert isinstance(soon, Answer)
            await transport.close()

    asyncio.run(main())


def test_a_request_that_cannot_be_built_never_left(client: Client) -> None:
    assert asyncio.run(_post(client, "ftp://127.0.0.1/")) == NoAnswer(Failure.REQUEST, left=False)

    async def main() -> Answer | NoAnswer:
        transport = client(timedelta(seconds=1))
        return await transport.request("POST", "http://127.0.0.1:9/", headers={"x": "a\nb"})

    assert asyncio.run(main()) == NoAnswer(Failure.REQUEST, left=False)


def test_one_silent_server_does_not_slow_another_down(client: Client) -> None:
    async def main() -> None:
        async with FarEnd().plays("/quick", answers(200)).plays("/mute", silence) as far:
            transport = client(timedelta(seconds=2))

            async def post(path: str) -> Answer | NoAnswer:
                return await transport.request("POST", far.url + path, headers={}, body=b"x")

            mute = [asyncio.create_task(post("/mute")) for _ in range(20)]
            started = time.monotonic()
            for _ in range(20):
                assert isinstance(await post("/quick"), Answer)
            assert time.monotonic() - started < 1.5
            assert {await task for task in mute} == {NoAnswer(Failure.TIMEOUT, left=True)}
            await transport.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    ["https://fcm.googleapis.com", "http://127.0.0.1:8000", "http://localhost:1", "http://[::1]:80", "https://a.b/c"],
)
def test_urls_that_may_be_sent_to(url: str) -> None:
    assert wrong_url(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://fcm.googleapis.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://localhost.example.com",
        "http://127.1",
        "ftp://localhost",
        "https://user:pw@host",
        "https://host/?q=1",
        "https://host:port",
        "https://",
        "host",
        "",
    ],
)
def test_urls_that_must_not(url: str) -> None:
    assert wrong_url(url)
