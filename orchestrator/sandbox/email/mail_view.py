"""A mail's HTML as a page of its own that can do nothing: no script, no network, no form, no way out of its frame.

It was written by strangers. The policy goes with the page itself, so that it holds in the inbox's frame and outside it.
"""

from __future__ import annotations

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from orchestrator.sandbox.world import World

HARMLESS = {
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


async def show(request: Request) -> Response:
    """The HTML part of one mail, or its text where it has none."""
    world: World = request.app.state.world
    record = world.log.get(request.path_params["seq"])
    if record is None or "html" not in record:
        return HTMLResponse("", 404, HARMLESS)
    html = record["html"] or f"<pre>{escape(record['body'])}</pre>"
    return HTMLResponse(html, headers=HARMLESS)
