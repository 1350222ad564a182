"""The routes of the sandbox, and the inbox page."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from orchestrator.sandbox import api, handset, webhook
from orchestrator.sandbox.email import mail_view, sendgrid, ses
from orchestrator.sandbox.email.smtp import serve_mail
from orchestrator.sandbox.push import fcm, getui, huawei, jpush, oppo, vivo, webpush, xiaomi
from orchestrator.sandbox.push.apns import Apns
from orchestrator.sandbox.sms import aliyun, gateway, twilio
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
    ses,
    sendgrid,
    webpush,
    webhook,
    huawei,
    xiaomi,
    oppo,
    vivo,
    jpush,
    getui,
    aliyun,
    gateway,
)
"""The stand-ins over HTTP, each with its ``ROUTES``."""


def create_app(world: World, mail: socket.socket, push: socket.socket, *, reporting: bool = False) -> Starlette:
    """The sandbox as an ASGI application; it starts and stops what does not speak HTTP/1.1, and ends the world.

    ``mail`` is where mail is taken, ``push`` where APNs listens. ``reporting``: apps on phones report what arrives.
    """
    apple = Apns(world)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        world.webhooks.start()
        server = await serve_mail(world, mail)
        await apple.serve(push)
        try:
            yield
        finally:
            server.close()
            apple.close()
            await world.webhooks.stop()
            world.close()

    app = Starlette(routes=_routes(), lifespan=lifespan, exception_handlers={HTTPException: _complain})
    app.state.world = world
    app.state.refuses = lambda: world.faults.draw_connection("http") is not None
    if reporting:
        world.log.kept = partial(handset.arrived, world)
    for maker in (huawei, xiaomi, oppo, vivo, jpush, getui, aliyun, gateway):
        maker.own_secrets(world)
    webpush.own_key(world)  # the files that its customers are set up with are there before the first request
    webhook.secret(world)
    ses.own_secret(world)
    sendgrid.own_keys(world)
    return app


def _routes() -> list[Route]:
    own = [
        Route("/sandbox/messages", api.messages),
        Route("/sandbox/inbox", api.inbox),
        Route("/sandbox/counters", api.counters),
        Route("/sandbox/mail/{seq:int}", mail_view.show),
        Route("/sandbox/open", _own(handset.open_message), methods=["POST"]),
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
