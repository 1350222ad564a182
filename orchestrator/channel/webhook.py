"""Webhooks of ours: signed as Standard Webhooks says, and never posted into our own network.

SSRF: the name is resolved once, every address it has is checked, and the connection goes to the one that was checked,
under the name. https alone, on the usual ports; http for this machine (a test, a local relay) alone. No redirects.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from orchestrator.channel.transport import Answer, NoAnswer, Transport
from orchestrator.errors import InputError

PORTS = frozenset({443, 8443})
TIMEOUT = timedelta(seconds=10)
_PREFIX = "whsec_"
_LEAST_KEY = 24
_INWARD = tuple(
    ipaddress.ip_network(net)  # is_global calls these global, and they lead inward or nowhere
    for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "192.88.99.0/24")
)
_OK = range(200, 300)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def signing_key(secret: str) -> bytes:
    """The key in ``whsec_…``.

    Raises:
        InputError: it is none, or too short to be one.
    """
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not secret.strip().startswith(_PREFIX) or len(key) < _LEAST_KEY:
        raise InputError("the signing secret has to be whsec_ and at least 24 bytes in base64")
    return key


def signature(key: bytes, number: str, at: datetime, body: bytes) -> str:
    """``v1,…`` over id, time and body."""
    signed = f"{number}.{int(at.timestamp())}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def outward(address: Address) -> bool:
    """Whether an address is somebody else's in the open internet."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return outward(address.ipv4_mapped)
    inward = any(address.version == net.version and address in net for net in _INWARD)
    return address.is_global and not address.is_multicast and not inward


def wrong_webhook(url: str) -> str:
    """Why nothing is posted to ``url``, whatever its name resolves to; empty when it may be."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        return "must be a URL with a host, without user and fragment"
    if parts.scheme == "http":
        return "" if _own(host) else "must be https:// (http:// to this machine alone)"
    if parts.scheme != "https":
        return "must be https://"
    return "" if port is None or port in PORTS or _own(host) else "must be on port 443 or 8443"


def _own(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _checked(host: str, port: int) -> str | None:
    """The address to connect to; None when the name has none, or one that leads inward."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return None
    addresses = [ipaddress.ip_address(entry[4][0]) for entry in found]
    safe = all(address.is_loopback if _own(host) else outward(address) for address in addresses)
    return str(addresses[0]) if addresses and safe else None


async def post(url: str, key: bytes | None, number: str, at: datetime, body: bytes) -> str:
    """Post one signed body; why it was not taken, or nothing when it was. Never raises but for cancellation."""
    if reason := wrong_webhook(url):
        return reason
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    place = await _checked(host, port)
    if place is None:
        return "the name cannot be resolved, or leads into a private network"
    headers = {"content-type": "application/json", "webhook-id": number, "webhook-timestamp": str(int(at.timestamp()))}
    if key is not None:
        headers["webhook-signature"] = signature(key, number, at, body)
    transport = Transport(TIMEOUT, connections=1, pinned=(host, place, port))
    try:
        answer: Answer | NoAnswer = await transport.request("POST", url, headers=headers, body=body)
    finally:
        await transport.close()
    if isinstance(answer, NoAnswer):
        return str(answer.failure)
    return "" if answer.status in _OK else f"status {answer.status}"
