"""Requests to servers that somebody else names, and never into our own network (SSRF).

A URL is read by the HTTP client's own parser, so that what is judged is what will be connected to. Its name is
resolved once, EVERY address it has is checked, and the connection goes to a checked one under the name. https on the
usual ports; http to this machine alone, and only when it is written so. No user, no redirects, 64 KB of an answer.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from pyreqwest.http import Url

from orchestrator.channel.transport import Answer, Failure, NoAnswer, Transport
from orchestrator.clock import Clock

PORTS = frozenset({443, 8443})
CONNECT_TIMEOUT = timedelta(seconds=5)
RESOLVE_TIMEOUT = timedelta(seconds=5)
CHECKED_FOR = 60.0
"""Seconds for which an address that was checked is connected to without asking again."""
_MOST_LINES = 64
_SMUGGLES = re.compile(r"[\x00-\x20\\\x7f]")
_OWN = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?([/?].*)?", re.IGNORECASE)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # is_global takes site-local and NAT64 addresses for global, too
_INWARD = tuple(
    ipaddress.ip_network(net)  # 6to4, Teredo and a 6to4 relay carry IPv4 addresses of anybody's; documentation
    for net in ("2002::/16", "2001::/32", "192.88.99.0/24", "3fff::/20")
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Name and port to addresses; OSError when there are none."""


def outward(address: Address) -> bool:
    """Whether an address is somebody else's in the open internet."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return outward(address.ipv4_mapped)
    if address.version == _GLOBAL_UNICAST.version and address not in _GLOBAL_UNICAST:
        return False
    inward = any(address.version == net.version and address in net for net in _INWARD)
    return address.is_global and not address.is_multicast and not inward


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be connected to, if its name leads outward (``own``: if it leads to this machine)."""

    url: str
    origin: str
    """Scheme, host and port as RFC 6454 writes them."""
    host: str
    port: int
    path: str
    own: bool


@dataclass(frozen=True, slots=True)
class Inward:
    """Nothing was sent: the name leads into a private network."""


def read_target(url: str, ports: frozenset[int] = PORTS) -> Target | str:
    """The target, or why nothing is ever sent to ``url``, whatever its name resolves to."""
    if _SMUGGLES.search(url):
        return "must not contain white space, control characters or backslashes"
    try:
        read = Url(url)
    except ValueError:
        return "is not a URL"
    if not read.host_str or read.username or read.password is not None or read.fragment is not None:
        return "must be a URL with a host, without user and fragment"
    own = _OWN.fullmatch(url) is not None
    if read.scheme != "https" and not own:
        return "must be https:// (http:// to this machine alone)"
    port = read.port_or_known_default or 0
    if not own and port not in ports:
        return f"must be on port {' or '.join(str(each) for each in sorted(ports))}"
    return Target(str(read), read.origin_ascii, read.host_str.strip("[]"), port, read.path, own)


def wrong_target(url: str) -> str:
    """Why nothing is ever sent to ``url``; empty when it may be."""
    target = read_target(url)
    return target if isinstance(target, str) else ""


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """What the machine's own resolver says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


@dataclass(slots=True)
class _Line:
    """Connections to one checked address."""

    address: str
    transport: Transport
    until: float = 0.0
    users: int = 0
    retired: bool = False
    failed: bool = False


class Outward:
    """POSTs to targets, each over connections bound to an address that was checked in the last minute.

    Safe for many tasks of one loop. ``request`` raises nothing but cancellation, and makes one request.
    """

    def __init__(
        self,
        timeout: timedelta,
        clock: Clock,
        *,
        resolve: Resolve = system_resolver,
        may: Callable[[Address], bool] = outward,
        root_pem: bytes | None = None,
    ) -> None:
        """``may``: which addresses are connected to."""
        self.timeout = timeout + RESOLVE_TIMEOUT
        self._patience = timeout
        self._clock = clock
        self._resolve = resolve
        self._may = may
        self._root_pem = root_pem
        self._lines: dict[tuple[str, int], _Line] = {}
        self._opening: dict[tuple[str, int], asyncio.Task[_Line | NoAnswer | Inward]] = {}

    async def request(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer | NoAnswer | Inward:
        """One POST."""
        line = await self._line(target)
        if not isinstance(line, _Line):
            return line
        line.users += 1
        try:
            answer = await line.transport.request("POST", target.url, headers=headers, body=body)
        finally:
            line.users -= 1
            await self._finish(line)
        if isinstance(answer, NoAnswer) and answer.failure is Failure.CONNECT:
            line.failed, line.until = True, 0.0  # another of its addresses may answer: ask again next time
        return answer

    async def addresses(self, target: Target) -> Sequence[str] | NoAnswer | Inward:
        """The addresses of a target, if every one of them may be connected to. Nothing is sent."""
        try:
            found = [ipaddress.ip_address(target.host)]  # the client connects to these without asking anybody
        except ValueError:
            try:
                named = await asyncio.wait_for(self._resolve(target.host, target.port), RESOLVE_TIMEOUT.total_seconds())
                found = [ipaddress.ip_address(each) for each in named]
            except (OSError, ValueError):  # UnicodeError (a label too long) is a ValueError
                found = []
        if not found:
            return NoAnswer(Failure.CONNECT, left=False)
        safe = all(each.is_loopback if target.own else self._may(each) for each in found)
        return [str(each) for each in found] if safe else Inward()

    async def close(self) -> None:
        """Let go of all connections."""
        for task in tuple(self._opening.values()):
            task.cancel()
        lines, self._lines = tuple(self._lines.values()), {}
        for line in lines:
            await line.transport.close()

    async def _line(self, target: Target) -> _Line | NoAnswer | Inward:
        key = target.host, target.port
        line = self._lines.get(key)
        if line is not None and self._clock.monotonic() < line.until:
            return line
        task = self._opening.get(key)
        if task is None:  # one question for all who wait for the same name
            task = self._opening[key] = asyncio.create_task(self._open(target))
            task.add_done_callback(lambda _: self._opening.pop(key, None))
        return await asyncio.shield(task)

    async def _open(self, target: Target) -> _Line | NoAnswer | Inward:
        key = target.host, target.port
        addresses = await self.addresses(target)
        line = self._lines.pop(key, None)
        if line is not None and (isinstance(addresses, NoAnswer | Inward) or not _serves(line, addresses)):
            await self._retire(line)
        if isinstance(addresses, NoAnswer | Inward):
            return addresses
        if line is None or line.retired:
            avoided = line.address if line is not None and line.failed else ""
            line = self._bound(target, next((each for each in addresses if each != avoided), addresses[0]))
        line.until = self._clock.monotonic() + CHECKED_FOR
        self._lines[key] = line
        if len(self._lines) > _MOST_LINES:
            await self._retire(self._lines.pop(next(iter(self._lines))))
        return line

    def _bound(self, target: Target, address: str) -> _Line:
        pinned = (target.host, address, target.port)
        return _Line(
            address,
            Transport(self._patience, connect_timeout=CONNECT_TIMEOUT, root_pem=self._root_pem, pinned=pinned),
        )

    async def _retire(self, line: _Line) -> None:
        """No new requests; those under way end first."""
        line.retired = True
        await self._finish(line)

    @staticmethod
    async def _finish(line: _Line) -> None:
        if line.retired and line.users == 0:
            await line.transport.close()


def _serves(line: _Line, addresses: Sequence[str]) -> bool:
    return line.address in addresses and not (line.failed and len(addresses) > 1)
