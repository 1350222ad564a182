"""APNs over HTTP/2 and TLS, on a port of its own.

Devices tell how they fare: ``dead…`` is Unregistered (410, since now), ``bad…`` and what is no hexadecimal token is
BadDeviceToken. Apps whose bundle id begins with ``com.example.`` may be pushed to.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Mapping
from types import MappingProxyType
from uuid import uuid4

import orjson

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.door import BAD_GATEWAY, retry_after
from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.push.apns_credentials import ApnsCredentials, open_apns
from orchestrator.sandbox.push.apns_http2 import Link
from orchestrator.sandbox.push.apns_rules import Push, Refusal, judge
from orchestrator.sandbox.world import World

MOST_STREAMS = 100
_STORED = 30 * 86400
# The reason of a status that a fault names without one.
BY_STATUS = {
    400: "BadDeviceToken",
    403: "InvalidProviderToken",
    404: "BadPath",
    405: "MethodNotAllowed",
    410: "Unregistered",
    413: "PayloadTooLarge",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}


class Apns:
    """The service: accepts connections on a socket until it is closed."""

    def __init__(self, world: World, *, most_streams: int = MOST_STREAMS) -> None:
        self._world = world
        self._most = most_streams
        self._credentials: ApnsCredentials = open_apns(world.credentials)
        self._credentials.context.sni_callback = self._hello
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None

    async def serve(self, listening: socket.socket) -> None:
        """Take connections, in the running loop."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._link, sock=listening, ssl=self._credentials.context)

    def close(self) -> None:
        """Take no more, and end those that are there."""
        if self._server is not None:
            self._server.close()
        for link in tuple(self._links):
            link.abort()

    def _hello(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> int | None:
        """Every handshake begins here, whether the client names us or not."""
        fault = self._world.faults.draw_connection("apns")
        if fault is not None and fault.kind is Kind.REFUSE:
            return int(ssl.ALERT_DESCRIPTION_INTERNAL_ERROR)
        if fault is not None:
            connection.context = self._credentials.stranger
        return None

    def _link(self) -> Link:
        self._world.count("apns", "connections")
        return Link(self._answer, self._links, self._noticed, most_streams=self._most)

    def _noticed(self, what: str) -> None:
        self._world.count("apns", what)

    async def _answer(self, link: Link, number: int, push: Push) -> None:
        world = self._world
        world.count("apns", "requests")
        fault = world.faults.draw("apns", push.device)
        if fault is None:
            await self._judged(link, number, push)
            return
        world.count("apns", f"fault {fault.kind.value}")
        if fault.kind is Kind.DELAY and not fault.accept:
            await asyncio.sleep(fault.seconds)
            await self._judged(link, number, push)
        elif not fault.accepts:
            self._suffer(fault, link, number, push)
        elif (refusal := await self._taken(link, push)) is not None:
            _refuse(link, number, push, refusal)
        else:
            await _suffer_after(fault, link, number, push)

    async def _judged(self, link: Link, number: int, push: Push) -> None:
        refusal = await self._taken(link, push)
        if refusal is not None:
            _refuse(link, number, push, refusal)
        else:
            link.respond(number, 200, _ids(push))

    async def _taken(self, link: Link, push: Push) -> Refusal | None:
        """Accept it, on disk, or say why not."""
        unproven = not link.presented.proven
        refusal = judge(push, link.presented, self._credentials.public_key)
        if unproven and link.presented.proven:
            link.trust()
        if refusal is not None:
            self._world.count("apns", "refused")
            self._world.refused("apns", push.device, refusal.status, refusal.reason)
            return refusal
        apns_id = push.head.get("apns-id") or str(uuid4())
        await self._world.log.append(_record(push), lambda _seq: apns_id)
        self._world.count("apns", "accepted")
        return None

    def _suffer(self, fault: Fault, link: Link, number: int, push: Push) -> None:
        """What happens to a push that is not accepted."""
        match fault.kind:
            case Kind.RESET_BEFORE:
                link.cut()
            case Kind.REFUSED_STREAM:
                link.refuse_stream(number)
            case Kind.GOAWAY_BEFORE:
                link.goaway(number, str(fault.code or "Shutdown"), processed=False)
            case Kind.EMPTY:
                link.respond(number, fault.status or 503)
            case Kind.HTML:
                link.respond(number, fault.status or 502, [("content-type", "text/html")], BAD_GATEWAY.encode())
            case Kind.DEAD_ADDRESS:
                since = int(fault.code) if isinstance(fault.code, int) else int(time.time() * 1000)
                _refuse(link, number, push, Refusal(410, "Unregistered", since))
            case Kind.STATUS:
                status = fault.status or 503
                refusal = Refusal(status, str(fault.code or BY_STATUS.get(status, "")))
                _refuse(link, number, push, refusal, retry_after(fault))
            case _:
                pass  # silence


async def _suffer_after(fault: Fault, link: Link, number: int, push: Push) -> None:
    """What happens to the answer for a push that was accepted."""
    match fault.kind:
        case Kind.RESET_AFTER:
            link.cut()
        case Kind.GOAWAY_AFTER:
            link.goaway(number, str(fault.code or "Shutdown"), processed=True)
            link.end()
        case Kind.SLOW | Kind.DELAY:
            await asyncio.sleep(fault.seconds)
            link.respond(number, 200, _ids(push))
        case Kind.TRUNCATED | Kind.DRIP:  # a head comes whole or not at all; its body would be the byte a second
            link.half(number, 200)
        case _:
            pass  # silence


def _refuse(
    link: Link, number: int, push: Push, refusal: Refusal, more: Mapping[str, str] = MappingProxyType({})
) -> None:
    body: dict[str, str | int] = {"reason": refusal.reason}
    if refusal.timestamp is not None:
        body["timestamp"] = refusal.timestamp
    link.respond(
        number, refusal.status, [("content-type", "application/json"), *_ids(push), *more.items()], orjson.dumps(body)
    )


def _ids(push: Push) -> list[tuple[str, str]]:
    given = push.head.get("apns-id")
    return [("apns-id", given or str(uuid4())), ("apns-unique-id", str(uuid4()))]


def _record(push: Push) -> Record:
    head, payload, now = push.head, push.payload, time.time()
    alert = payload["aps"].get("alert", {})
    shown = {"body": alert} if isinstance(alert, str) else alert if isinstance(alert, dict) else {}
    own = {name: value for name, value in payload.items() if name != "aps"}
    expires = float(head["apns-expiration"]) if "apns-expiration" in head else now + _STORED
    kept = {name: value for name, value in push.fields if name.startswith("apns-")}
    return {
        "time": now,
        "provider": "apns",
        "to": push.device,
        "message_id": own.get("msg_id"),
        "collapse_key": head.get("apns-collapse-id"),
        "title": str(shown.get("title", "")),
        "body": str(shown.get("body", "")),
        "image": own.get("image", ""),
        "link": own.get("link"),
        "tag": None,
        "expires_at": expires or now,  # 0: now or never
        "request": {"headers": kept, "payload": payload},
    }
