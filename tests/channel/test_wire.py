"""What is the wire's own: connections kept and given up, answers in every framing, requests that would be two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import uvloop

from orchestrator.channel import wire_connection
from orchestrator.channel.transport import Answer, Failure, NoAnswer
from orchestrator.channel.wire import Wire
from tests.channel.far_end import FarEnd, answers, silence

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENCE = timedelta(seconds=2)


async def spoken(*raw: bytes, requests: int = 1, pause: float = 0.0) -> tuple[list[Answer | NoAnswer], int]:
    """What becomes of requests, one after another, to a server that says ``raw`` to each; and its connections."""
    met = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                for part in raw:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.02)  # in pieces, as networks do
                if b"close" in raw[0] or b"HTTP/1.0" in raw[0]:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    line = Wire(PATIENCE)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/m"
    said = []
    for _ in range(requests):
        said.append(await line.request("POST", url, headers={}))
        await asyncio.sleep(pause)
    await line.close()
    server.close()
    return said, met


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        ((OK + b"Content-Length: 5\r\n\r\nhello",), b"hello"),
        ((OK + b"Content-Le", b"ngth: 5\r\n\r\nhe", b"llo"), b"hello"),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", b"2\r\nlo\r\n0\r\n\r\n"), b"hello"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello",), b"hello"),
        ((b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK + b"Content-Length: 5\r\n\r\nhello"), b"hello"),
        ((b"HTTP/1.1 204 No Content\r\n\r\n",), b""),
    ],
)
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_connection_is_kept_however_its_answer_is_framed(
    run: Callable[..., tuple[list[Answer | NoAnswer], int]], raw: tuple[bytes, ...], body: bytes
) -> None:
    said, connections = run(spoken(*raw, requests=3))
    assert [answer.body if isinstance(answer, Answer) else answer for answer in said] == [body] * 3
    assert connections == 1


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Connection: close\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
    ],
)
def test_a_connection_that_the_server_ends_is_not_used_again(raw: bytes) -> None:
    said, connections = asyncio.run(spoken(raw, requests=2, pause=0.05))
    assert [answer.body if isinstance(answer, Answer) else answer for answer in said] == [b"hello"] * 2
    assert connections == 2


@pytest.mark.parametrize(
    "more",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"garbage"],
)
def test_what_nobody_asked_for_is_nobodys_answer(more: bytes) -> None:
    """Neither with the answer before, nor while the connection is idle: the next request has a fresh one."""
    good = OK + b"Content-Length: 5\r\n\r\nhello"
    for raw, pause in (((good + more,), 0.05), ((good, more), 0.2)):
        said, connections = asyncio.run(spoken(*raw, requests=2, pause=pause))
        assert [answer.body if isinstance(answer, Answer) else answer for answer in said] == [b"hello"] * 2
        assert connections == 2


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints"])
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_provisional_answer_that_none_follows_is_no_answer(
    run: Callable[..., tuple[list[Answer | NoAnswer], int]], status: bytes
) -> None:
    said, _ = run(spoken(b"HTTP/1.1 " + status + b"\r\nlink: </close>\r\n\r\n"))  # and the server hangs up
    assert said == [NoAnswer(Failure.BROKEN, left=True)]


def test_headers_without_end_break_off() -> None:
    endless = OK + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 1000) for n in range(100))
    said, _ = asyncio.run(spoken(endless))
    assert said == [NoAnswer(Failure.BROKEN, left=True)]


def test_an_upgrade_is_no_answer() -> None:
    said, _ = asyncio.run(spoken(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"))
    assert said == [NoAnswer(Failure.BROKEN, left=True)]


def test_a_connection_that_was_idle_for_long_is_left_to_die(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that meets the server's own end of it is in doubt."""
    monkeypatch.setattr(wire_connection, "IDLE_TIMEOUT", timedelta(seconds=0.1))
    good = OK + b"Content-Length: 5\r\n\r\nhello"
    assert asyncio.run(spoken(good, requests=3, pause=0.2))[1] == 3
    assert asyncio.run(spoken(good, requests=3))[1] == 1


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("POST", "http://127.0.0.1:9/", {"x": "a\r\nGET / HTTP/1.1"}),
        ("POST", "http://127.0.0.1:9/", {"x": "a\0"}),
        ("POST", "http://127.0.0.1:9/", {"x": "消息"}),
        ("POST", "http://127.0.0.1:9/", {"x: y\r\nz": "a"}),
        ("POST", "http://127.0.0.1:9/a b", {}),
        ("PO ST", "http://127.0.0.1:9/", {}),
        ("POST", "http://user@127.0.0.1:9/", {}),
        ("POST", "http://例.example/", {}),
        ("POST", "http://127.0.0.1:x/", {}),
        ("POST", "http:///", {}),
        ("POST", "unix:///tmp/s", {}),
    ],
)
def test_what_would_be_another_request_is_none(method: str, url: str, headers: dict[str, str]) -> None:
    async def main() -> Answer | NoAnswer:
        return await Wire(PATIENCE).request(method, url, headers=headers, body=b"x")

    assert asyncio.run(main()) == NoAnswer(Failure.REQUEST, left=False)


def test_bytes_on_the_wire_are_one_whole_request() -> None:
    async def main() -> None:
        async with FarEnd().plays("/v1/send", answers(200)) as far:
            line = Wire(PATIENCE)
            for token in ("one", "two"):
                headers = {"authorization": f"Bearer {token}"}
                await line.request("POST", f"{far.url}/v1/send?a=b", headers=headers, body="短信".encode())
            assert [seen.headers["authorization"] for seen in far.requests] == ["Bearer one", "Bearer two"]
            [seen, _] = far.requests
            assert (seen.method, seen.target, seen.body.decode()) == ("POST", "/v1/send?a=b", "短信")
            assert seen.headers["host"] == f"127.0.0.1:{far.port}"
            await line.close()

    asyncio.run(main())


def test_a_request_that_is_given_up_takes_its_connection_with_it() -> None:
    """Its answer, when it comes, would be taken for that of the next one."""

    async def main() -> None:
        async with FarEnd().plays("/m", silence, answers(200)) as far:
            line = Wire(PATIENCE)
            asking = asyncio.create_task(line.request("POST", f"{far.url}/m", headers={}))
            await asyncio.sleep(0.1)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert isinstance(await line.request("POST", f"{far.url}/m", headers={}), Answer)
            assert far.connections == 2
            await line.close()

    asyncio.run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_who_waits_for_a_connection_gets_the_next_that_is_free(run: Callable[..., None]) -> None:
    async def main() -> None:
        async with FarEnd().plays("/m", answers(200)) as far:
            line = Wire(PATIENCE, connections=2)  # this server hangs up after each answer
            said = await asyncio.gather(*(line.request("POST", f"{far.url}/m", headers={}) for _ in range(30)))
            answered = [answer for answer in said if isinstance(answer, Answer)]
            assert len(answered) + sum(answer == NoAnswer(Failure.BROKEN, left=True) for answer in said) == 30
            assert len(answered) > 20
            await line.close()

    run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_stood_still_while_it_connected_asks_nothing(run: Callable[..., tuple[Answer | NoAnswer, int]]) -> None:
    """The lease under which the request was to be made may be over by then."""

    async def frozen() -> tuple[Answer | NoAnswer, int]:
        heard = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal heard
            heard += len(await reader.read(1))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        line = Wire(timedelta(seconds=0.2), pool_timeout=timedelta(seconds=0.1))
        asking = asyncio.create_task(
            line.request("POST", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/m", headers={})
        )
        await asyncio.sleep(0)
        time.sleep(0.4)  # noqa: ASYNC251  # the process stands still
        said = await asking
        await asyncio.sleep(0.1)
        await line.close()
        server.close()
        return said, heard

    said, heard = run(frozen())
    assert isinstance(said, NoAnswer)
    assert not said.left
    assert heard == 0


def test_what_stood_still_beyond_its_time_while_it_connected_asks_nothing() -> None:
    """However long the connection itself may take."""

    async def frozen() -> tuple[Answer | NoAnswer, Answer | NoAnswer, int]:
        async with FarEnd().plays("/m", answers(200)) as far:
            line, url = Wire(timedelta(seconds=20)), f"{far.url}/m"
            asking = asyncio.create_task(line.request("POST", url, headers={}, begin_by=time.monotonic() + 0.1))
            await asyncio.sleep(0)
            time.sleep(0.2)  # noqa: ASYNC251  # the process stands still
            said, heard = await asking, len(far.requests)
            after = await line.request("POST", url, headers={})
            await line.close()
            return said, after, heard

    said, after, heard = asyncio.run(frozen())
    assert (said, heard) == (NoAnswer(Failure.POOL, left=False), 0)
    assert isinstance(after, Answer)
