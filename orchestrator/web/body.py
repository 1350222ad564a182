"""Reading a request's body without trusting its length."""

from __future__ import annotations

from starlette.requests import Request


async def read_body(request: Request, limit: int) -> bytes | None:
    """The body, or None when it is longer than ``limit`` bytes; no more than that is ever held."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced[:18]) > limit:
        return None
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > limit:
            return None
    return bytes(chunks)
