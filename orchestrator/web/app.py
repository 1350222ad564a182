"""The application: what the daemon serves with uvicorn, in its own process and event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Route

from orchestrator.channel.base import Callbacks
from orchestrator.clock import Clock
from orchestrator.store import Store
from orchestrator.web import callbacks as callback_routes
from orchestrator.web import events as event_routes
from orchestrator.web.health import Health, show_metrics
from orchestrator.web.intake import Intake


def create_app(
    store: Store,
    clock: Clock,
    *,
    api_keys: Sequence[str],
    public_url: str,
    callbacks: Mapping[str, Callbacks],
    account_channels: Mapping[str, tuple[str, str]],
    health: Callable[[], Mapping[str, object]],
) -> FastAPI:
    """The API over ``store``.

    ``callbacks`` has, by account name, the channels whose providers call back, and ``account_channels`` the (channel,
    provider) of each; both are read at every request, so they may grow. ``health`` answers quickly and says
    ``"ok": False`` when the process is not well. Without ``api_keys`` nobody may send events. Serve with lifespan on.
    """
    intake = Intake(store, clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with intake:
            yield

    app = FastAPI(
        title="Re-engagement orchestrator", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    events = event_routes.EventsDoor(intake, clock, event_routes.Keys(api_keys))
    back = callback_routes.CallbackDoor(intake, public_url, callbacks, account_channels)
    app.router.routes += [
        Route(event_routes.PATH, events.post, methods=["POST"]),
        Route(callback_routes.STATUS_PATH, back.status, methods=["POST"]),
        Route(callback_routes.INBOUND_PATH, back.inbound, methods=["POST"]),
        Route("/healthz", Health(health).show, methods=["GET"]),
        Route("/metrics", show_metrics, methods=["GET"]),
    ]
    return app
