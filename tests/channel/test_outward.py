"""SSRF: whatever a URL says, however its name resolves, nothing connects to our own network."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from datetime import timedelta
from typing import Self

import pytest
from typing_extensions import override

from orchestrator.channel.outward import Address, Inward, Outward, Target, outward, read_target, wrong_target
from orchestrator.channel.transport import Answer, Failure, NoAnswer
from orchestrator.clock import ManualClock
from tests.channel.far_end import FarEnd, answers
from tests.channel.sink import HOSTILE, lying_resolver, sink

PATIENCE = timedelta(seconds=0.5)


@pytest.mark.parametrize(
    "inward",
    [
        *("127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
        *("::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
        *("192.88.99.1", "ff02::1", "::127.0.0.1", "2001::1", "64:ff9b:1::a00:1", "255.255.255.255", "240.0.0.1"),
        *("fec0::1", "5f00::1", "3fff::1", "100::1", "2001:db8::1", "4000::1"),
    ],
)
def test_addresses_that_lead_inward(inward: str) -> None:
    assert not outward(ipaddress.ip_address(inward))


@pytest.mark.parametrize("open_", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_addresses_of_the_open_internet(open_: str) -> None:
    assert outward(ipaddress.ip_address(open_))


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.example/x", "ftp://hooks.example", "https://user:pw@hooks.example", "https://", "x"),
        *("https://hooks.example:22/x", "https://hooks.example:99999/", "https://hooks.example/#f", "https://u@h/"),
        *("https://127.0.0.1:9/", "http://127.1/", "http://localhost.evil.example/", "http://localhost@evil.example/"),
    ],
)
def test_urls_that_nothing_is_posted_to(url: str) -> None:
    assert wrong_target(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "own", "origin"),
    [
        ("https://hooks.example/T0/B0", "hooks.example", 443, False, "https://hooks.example"),
        ("https://Hooks.Example:8443/", "hooks.example", 8443, False, "https://hooks.example:8443"),
        ("http://127.0.0.1:9/x", "127.0.0.1", 9, True, "http://127.0.0.1:9"),
        ("http://localhost/", "localhost", 80, True, "http://localhost"),
        ("http://[::1]:8080/x?y=z", "::1", 8080, True, "http://[::1]:8080"),
        ("https://bücher.example/", "xn--bcher-kva.example", 443, False, "https://xn--bcher-kva.example"),
    ],
)
def test_urls_that_may_be(url: str, host: str, port: int, own: bool, origin: str) -> None:
    target = read_target(url)
    assert isinstance(target, Target)
    assert (target.host, target.port, target.own, target.origin) == (host, port, own, origin)


async def knock(servers: Outward, urls: Sequence[str], port: int) -> list[str]:
    """Try every URL; those that were connected to, or tried to be."""
    tried = []
    for url in (each.format(port=port) for each in urls):
        target = read_target(url, frozenset({port, 443}))
        if isinstance(target, str):
            continue
        answer = await servers.request(target, {}, b"{}")
        if not isinstance(answer, Inward) and answer != NoAnswer(Failure.CONNECT, left=False):
            tried.append(url)
    return tried


def test_nothing_arrives_from_any_hostile_url(clock: ManualClock) -> None:
    assert len(HOSTILE) >= 60

    async def main() -> None:
        async with sink() as seen:
            servers = Outward(PATIENCE, clock, resolve=lying_resolver)
            assert await knock(servers, HOSTILE, seen.port) == []
            assert seen.connections == 0
            await servers.close()

    asyncio.run(main())


class JudgedByItsSpelling(Outward):
    """Broken on purpose: it looks for bad words in the URL, and not at where the name leads."""

    @override
    async def addresses(self, target: Target) -> Sequence[str] | NoAnswer | Inward:
        if any(word in target.url for word in ("localhost", "//127.", "//10.", "//192.168.", "169.254", "[::1]")):
            return Inward()
        try:
            return [str(ipaddress.ip_address(target.host))]
        except ValueError:
            return await lying_resolver(target.host, target.port)


def test_a_check_of_the_spelling_is_caught_by_the_sink(clock: ManualClock) -> None:
    async def main() -> None:
        async with sink() as seen:
            servers = JudgedByItsSpelling(PATIENCE, clock)
            await knock(servers, ["https://loop.example:{port}/", "https://mapped.example:{port}/"], seen.port)
            assert seen.connections >= 2
            await servers.close()

    asyncio.run(main())


class Names:
    """A resolver that answers what it is told, one answer a question, the last one for ever; and counts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, *_: object) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def second_loopback(address: Address) -> bool:
    """In these tests 127.0.0.2 is the open internet, and 127.0.0.1 our own network."""
    return str(address) in {"127.0.0.2", "127.0.0.3"}


def named(port: int) -> Target:
    return Target(f"http://rebind.example:{port}/x", "", "rebind.example", port, "/x", own=False)


class Outside(FarEnd):
    """A far end on 127.0.0.2, beside a sink on the same port of 127.0.0.1."""

    def at(self, port: int) -> Self:
        self.port = port
        return self

    @override
    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._connection, "127.0.0.2", self.port)
        return self


def test_a_name_that_turns_inward_is_never_followed(clock: ManualClock) -> None:
    async def main() -> None:
        async with sink() as seen, Outside().at(seen.port) as far:
            far.plays("/x", answers(200, {}))
            names = Names(["127.0.0.2"], ["127.0.0.1"])
            servers = Outward(PATIENCE, clock, resolve=names, may=second_loopback)
            target = named(seen.port)
            for _ in range(5):  # checked once; the connection goes to what was checked, whatever the name says now
                assert isinstance(await servers.request(target, {}, b"{}"), Answer)
            assert names.asked == 1
            clock.advance(timedelta(seconds=61))
            assert await servers.request(target, {}, b"{}") == Inward()
            assert await servers.request(target, {}, b"{}") == Inward()
            assert (seen.connections, len(far.requests)) == (0, 5)
            assert {request.headers["host"] for request in far.requests} == {f"rebind.example:{seen.port}"}
            await servers.close()

    asyncio.run(main())


def test_one_bad_address_among_good_ones_spoils_the_name(clock: ManualClock) -> None:
    async def main() -> None:
        servers = Outward(PATIENCE, clock, resolve=Names(["127.0.0.2", "127.0.0.1"]), may=second_loopback)
        assert await servers.request(named(9), {}, b"") == Inward()
        await servers.close()

    asyncio.run(main())


def test_those_who_wait_for_one_name_ask_once_and_share_connections(clock: ManualClock) -> None:
    async def main() -> None:
        async with sink() as seen, Outside().at(seen.port) as far:
            far.plays("/x", answers(200, {}))
            names = Names(["127.0.0.2"])
            servers = Outward(timedelta(seconds=5), clock, resolve=names, may=second_loopback)
            every = [servers.request(named(seen.port), {}, b"{}") for _ in range(20)]
            assert all(isinstance(answer, Answer) for answer in await asyncio.gather(*every))
            clock.advance(timedelta(seconds=61))
            assert isinstance(await servers.request(named(seen.port), {}, b"{}"), Answer)
            assert (names.asked, len(far.requests)) == (2, 21)
            await servers.close()

    asyncio.run(main())


def test_after_a_failed_connection_another_address_is_tried(clock: ManualClock) -> None:
    async def main() -> None:
        async with sink() as seen, Outside().at(seen.port) as far:
            far.plays("/x", answers(200, {}))
            servers = Outward(PATIENCE, clock, resolve=Names(["127.0.0.3", "127.0.0.2"]), may=second_loopback)
            assert await servers.request(named(seen.port), {}, b"") == NoAnswer(Failure.CONNECT, left=False)
            assert isinstance(await servers.request(named(seen.port), {}, b""), Answer)
            await servers.close()

    asyncio.run(main())


def test_a_request_under_way_outlives_the_change_of_its_address(clock: ManualClock) -> None:
    async def main() -> None:
        async with sink() as seen, Outside().at(seen.port) as far:

            async def late(seen: object, writer: asyncio.StreamWriter) -> None:
                await asyncio.sleep(0.2)
                await answers(200, {})(seen, writer)  # type: ignore[arg-type]  # the act asks nothing of it

            far.plays("/x", late)
            servers = Outward(
                timedelta(seconds=5), clock, resolve=Names(["127.0.0.2"], ["127.0.0.1"]), may=second_loopback
            )
            under_way = asyncio.create_task(servers.request(named(seen.port), {}, b""))
            await asyncio.sleep(0.1)
            clock.advance(timedelta(seconds=61))
            assert await servers.request(named(seen.port), {}, b"") == Inward()
            assert isinstance(await under_way, Answer)
            await servers.close()

    asyncio.run(main())


def test_a_name_that_does_not_resolve_certainly_got_nothing(clock: ManualClock) -> None:
    async def main() -> None:
        servers = Outward(PATIENCE, clock, resolve=lying_resolver)
        lost = await servers.request(named(443), {}, b"")
        assert lost == NoAnswer(Failure.CONNECT, left=False)
        await servers.close()

    asyncio.run(main())


def test_many_names_do_not_fill_the_memory(clock: ManualClock) -> None:
    async def main() -> None:
        servers = Outward(PATIENCE, clock, resolve=Names(["127.0.0.2"]), may=second_loopback)
        for number in range(100):
            host = f"{number}.example"
            await servers.request(Target(f"http://{host}:1/", "", host, 1, "/", own=False), {}, b"")
        assert len(servers._lines) <= 64
        await servers.close()

    asyncio.run(main())
