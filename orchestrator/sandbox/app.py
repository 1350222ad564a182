"""The routes of the sandbox, and the inbox page."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from orchestrator.sandbox import api
from orchestrator.sandbox.email import mail_view
from orchestrator.sandbox.email.smtp import serve_mail
from orchestrator.sandbox.push import fcm
from orchestrator.sandbox.sms import twilio
from orchestrator.sandbox.world import World

PAGE = Path(__file__).parent / "inbox"
TYPES = {".css": "text/css", ".js": "text/javascript"}
ASSETS = {path.name: TYPES[path.suffix] for path in PAGE.iterdir() if path.suffix in TYPES}
SAFE = {
    # Nothing from anywhere else, no inline script: what is shown was written by strangers.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
PROVIDERS = (
    fcm,
    twilio,
)
"""The stand-ins over HTTP, each with its ``ROUTES``."""


def create_app(world: World, mail: socket.socket) -> Starlette:
    """The sandbox as an ASGI application; it starts and stops the webhooks and the mail server, and ends the world."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        world.webhooks.start()
        server = await serve_mail(world, mail)
        try:
            yield
        finally:
            server.close()
            await world.webhooks.stop()
            world.close()

    app = Starlette(routes=_routes(), lifespan=lifespan, exception_handlers={HTTPException: _complain})
    app.state.world = world
    return app


def _routes() -> list[Route]:
    own = [
        Route("/sandbox/messages", api.messages),
        Route("/sandbox/inbox", api.inbox),
        Route("/sandbox/counters", api.counters),
        Route("/sandbox/mail/{seq:int}", mail_view.show),
        Route("/sandbox/unsubscribe", _own(api.unsubscribe), methods=["POST"]),
        Route("/sandbox/callbacks", _own(api.set_callback), methods=["POST"]),
        Route("/sandbox/reply", _own(api.reply), methods=["POST"]),
        Route("/sandbox/faults", api.list_faults, methods=["GET"]),
        Route("/sandbox/faults", _own(api.add_fault), methods=["POST"]),
        Route("/sandbox/faults", _own(api.clear_faults), methods=["DELETE"]),
        Route("/sandbox/faults/{number:int}", _own(api.clear_faults), methods=["DELETE"]),
        Route("/sandbox/assets/{name}", asset),
        Route("/healthz", healthz),
        Route("/", page),
    ]
    return [
        *(route for provider in PROVIDERS for route in provider.ROUTES),
        *own,
    ]


def _own(endpoint: api.Endpoint) -> api.Endpoint:
    """Refuse what a page of another site asks a visitor's browser to do here."""

    async def guarded(request: Request) -> Response:
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise HTTPException(403, "another site's page may not switch the sandbox")
        return await endpoint(request)

    return guarded


async def page(_request: Request) -> Response:
    """The inbox."""
    return FileResponse(PAGE / "index.html", media_type="text/html", headers=SAFE)


async def asset(request: Request) -> Response:
    """What the inbox page is made of."""
    name = request.path_params["name"]
    if name not in ASSETS:
        raise HTTPException(404, "no such file")
    return FileResponse(PAGE / name, media_type=ASSETS[name], headers=SAFE)


async def healthz(_request: Request) -> Response:
    """Whether it is up."""
    return Response(b'{"status":"ok"}', media_type="application/json")


async def _complain(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Response(orjson.dumps({"error": error.detail}), error.status_code, media_type="application/json")
