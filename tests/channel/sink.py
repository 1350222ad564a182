"""Where nothing may ever arrive: a server that counts connections, names that lie, and URLs that try to get in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass


@dataclass
class Sink:
    """A port on this machine; ``connections`` is how often somebody came."""

    port: int = 0
    connections: int = 0


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    """Open it, on IPv4 and IPv6."""
    seen = Sink()

    async def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        writer.close()

    first = await asyncio.start_server(count, "127.0.0.1", 0)
    seen.port = first.sockets[0].getsockname()[1]
    servers = [first]
    with suppress(OSError):  # a machine without IPv6
        servers.append(await asyncio.start_server(count, "::1", seen.port))
    try:
        yield seen
    finally:
        for server in servers:
            server.close()
        await asyncio.sleep(0.01)


NAMES: dict[str, list[str]] = {
    "loop.example": ["127.0.0.1"],
    "loop6.example": ["::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "private.example": ["10.0.0.7"],
    "metadata.example": ["169.254.169.254"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "sixtofour.example": ["2002:7f00:1::"],
    "zero.example": ["0.0.0.0"],
    "mixed.example": ["1.1.1.1", "127.0.0.1"],
    "mixed6.example": ["2606:4700:4700::1111", "::1"],
    "multicast.example": ["224.0.0.1"],
    "localhost.": ["127.0.0.1"],
    "localhost": ["127.0.0.1"],
    "foo.localhost": ["127.0.0.1"],
    "xn--bcher-kva.example": ["127.0.0.1"],
}


async def lying_resolver(host: str, port: int) -> Sequence[str]:
    if host not in NAMES:
        raise OSError(host)
    return NAMES[host]


HOSTILE = [
    # loopback in every spelling
    *("https://127.0.0.1:{port}/", "https://127.0.0.2:{port}/", "https://127.255.255.254:{port}/"),
    *("https://2130706433:{port}/", "https://0x7f000001:{port}/", "https://017700000001:{port}/"),
    *("https://0x7f.1:{port}/", "https://127.1:{port}/", "https://127.0.1:{port}/", "https://0177.0.0.1:{port}/"),
    *("https://0x7f.0x0.0x0.0x1:{port}/", "https://127.0.0.1.:{port}/", "https://localhost:{port}/"),
    *("https://localhost.:{port}/", "https://LOCALHOST:{port}/", "https://foo.localhost:{port}/"),
    *("https://[::1]:{port}/", "https://[0:0:0:0:0:0:0:1]:{port}/", "https://[::ffff:127.0.0.1]:{port}/"),
    *("https://[::ffff:7f00:1]:{port}/", "https://[::127.0.0.1]:{port}/", "https://0.0.0.0:{port}/"),
    *("https://0:{port}/", "https://[::]:{port}/", "https://%31%32%37.0.0.1:{port}/"),
    # letters that are digits and dots to a parser
    *("https://①②⑦.⓪.⓪.①:{port}/", "https://127。0。0。1:{port}/", "https://127．0．0．1:{port}/"),
    *("https://１２７.0.0.1:{port}/", "https://ｌｏｃａｌｈｏｓｔ:{port}/", "https://ⓛocalhost:{port}/"),
    # networks of ours
    *("https://10.0.0.1:{port}/", "https://172.16.0.1:{port}/", "https://192.168.1.1:{port}/"),
    *("https://100.64.0.1:{port}/", "https://198.18.0.1:{port}/", "https://[fd00::1]:{port}/"),
    *("https://[fe80::1]:{port}/", "https://[fec0::1]:{port}/"),
    # the cloud's metadata
    *("https://169.254.169.254:{port}/latest/meta-data/", "https://[fd00:ec2::254]:{port}/"),
    *("https://2852039166:{port}/", "https://0xa9fea9fe:{port}/", "https://[::ffff:169.254.169.254]:{port}/"),
    # ways through IPv6, and nowhere
    *("https://[64:ff9b::7f00:1]:{port}/", "https://[64:ff9b:1::7f00:1]:{port}/", "https://[2002:7f00:1::]:{port}/"),
    *("https://[2001::1]:{port}/", "https://192.88.99.1:{port}/", "https://224.0.0.1:{port}/"),
    *("https://255.255.255.255:{port}/", "https://[ff02::1]:{port}/", "https://240.0.0.1:{port}/"),
    # names that lead there
    *(f"https://{name}:{{port}}/" for name in NAMES if name.endswith(".example")),
    "https://bücher.example:{port}/",
    # user, and parsers that disagree
    *("https://hooks.example@127.0.0.1:{port}/", "https://u:p@127.0.0.1:{port}/", "https://u@loop.example:{port}/"),
    *("https://127.0.0.1:{port}\\@hooks.example/", "https://hooks.example\\@127.0.0.1:{port}/"),
    *("https://127.0.0.1:{port}#@hooks.example/", "https://127.0.0.1:{port}?@hooks.example/"),
    *("https://127.0.0.1\t:{port}/", "https://127.0.0\n.1:{port}/", " https://127.0.0.1:{port}/"),
    *("https:127.0.0.1:{port}", "https:///127.0.0.1:{port}/", "https:\\\\127.0.0.1:{port}\\"),
    # other schemes, other ports
    *("http://loop.example:{port}/", "http://127.0.0.2:{port}/", "http://2130706433:{port}/", "http://0:{port}/"),
    *("http://10.0.0.1/", "http://[::ffff:127.0.0.1]:{port}/", "http://localhost.:{port}/", "http://127.1:{port}/"),
    *("file:///etc/passwd", "ftp://127.0.0.1:{port}/", "gopher://127.0.0.1:{port}/", "data:,x", "unix:/run/x.sock"),
    *("https://127.0.0.1:22/", "https://127.0.0.1:99999/", "https://127.0.0.1:-1/", "//127.0.0.1:{port}/", "", "x"),
]
"""To be formatted with the sink's port."""
