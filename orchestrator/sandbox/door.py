"""The door every request to a provider passes: what it suffers before it is looked at, and after it was accepted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from orchestrator.sandbox.faults import Fault, Kind, Provider
from orchestrator.sandbox.wire import Dribble, Drip, Reset, Silence, whole
from orchestrator.sandbox.world import World

Refuse = Callable[[Fault], Response]
Accept = Callable[[Fault | None], Awaitable[Response]]

LARGEST_BODY = 1 << 20
MOVED = "<!DOCTYPE html><title>Moved</title><p>The document has moved."
ODD = b'{"error":{"message":"backend said something else"}}'
FORM = "application/x-www-form-urlencoded"
BAD_GATEWAY = """<!DOCTYPE html>
<html lang=en>
  <meta charset=utf-8>
  <title>Error 502 (Server Error)!!1</title>
  <p><b>502.</b> <ins>That's an error.</ins>
  <p>The server encountered a temporary error and could not complete your request.
<p>Please try again in 30 seconds.  <ins>That's all we know.</ins>
"""


async def pass_door(
    world: World, request: Request, provider: Provider, to: str, refuse: Refuse, accept: Accept
) -> Response:
    """Answer a request: ``accept`` judges and accepts it, ``refuse`` words a fault in the provider's own shape."""
    fault = world.faults.draw(provider, to)
    if fault is None:
        return _counted(world, provider, await accept(None))
    world.count(provider, f"fault {fault.kind.value}")
    if fault.kind is Kind.DELAY and not fault.accept:
        await asyncio.sleep(fault.seconds)
    if not fault.accepts:
        return _before(fault, request, refuse)
    answer = _counted(world, provider, await accept(fault))
    return await _after(fault, request, answer) if answer.status_code < 300 else answer  # noqa: PLR2004  # a refusal stands


async def read_body(request: Request, most: int = LARGEST_BODY) -> bytes | None:
    """The body, or None when it is larger than anybody's should be."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form; nothing when it is no form."""
    body = await read_body(request)
    if not body or not request.headers.get("content-type", "").startswith(FORM):
        return {}
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def retry_after(fault: Fault) -> dict[str, str]:
    """The Retry-After header of a fault: as given, or ``date+7`` for an HTTP date seven seconds from now."""
    if fault.retry_after is None:
        return {}
    text = str(fault.retry_after)
    if text.startswith("date+"):
        text = formatdate(time.time() + float(text.removeprefix("date+")), usegmt=True)
    return {"retry-after": text}


def _counted(world: World, provider: Provider, answer: Response) -> Response:
    world.count(provider, "accepted" if answer.status_code < 300 else "refused")  # noqa: PLR2004  # as HTTP has it
    return answer


def _before(fault: Fault, request: Request, refuse: Refuse) -> Response:
    if fault.kind is Kind.RESET_BEFORE:
        return Reset(request)
    if fault.kind is Kind.SILENCE:
        return Silence()
    if fault.kind is Kind.HTML:
        return HTMLResponse(BAD_GATEWAY, fault.status or 502)
    if fault.status and 300 <= fault.status < 400:  # noqa: PLR2004  # as HTTP has it, and somebody in front says it
        return HTMLResponse(MOVED, fault.status, {"location": f"{request.url}?moved=1"})
    answer = refuse(fault)
    answer.headers.update(retry_after(fault))
    return answer


async def _after(fault: Fault, request: Request, answer: Response) -> Response:
    """What becomes of the answer to what was accepted."""
    if fault.kind is Kind.DELAY and fault.accept:
        await asyncio.sleep(fault.seconds)
    broken = _BROKEN.get(fault.kind)
    return answer if broken is None else broken(fault, request, answer)


def _truncated(request: Request, answer: Response) -> Response:
    """Half of the JSON; where an answer has none, half of its head."""
    body = bytes(answer.body)
    if not body:
        head = whole(answer)
        return Drip(request, head[: len(head) // 2], pause=0.0)
    return Response(body[: len(body) // 2], answer.status_code, media_type="application/json")


_BROKEN: dict[Kind, Callable[[Fault, Request, Response], Response]] = {
    Kind.RESET_AFTER: lambda _fault, request, _answer: Reset(request),
    Kind.SILENCE: lambda _fault, _request, _answer: Silence(),
    Kind.SLOW: lambda fault, _request, answer: Dribble(answer, fault.seconds),
    Kind.DRIP: lambda _fault, request, answer: Drip(request, whole(answer), pause=1.0),
    Kind.TRUNCATED: lambda _fault, request, answer: _truncated(request, answer),
    Kind.ODD: lambda _fault, _request, _answer: Response(ODD, 200, media_type="application/json"),
}
"""What an answer turns into on its way."""
