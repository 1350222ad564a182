"""``GET /healthz`` and ``GET /metrics``: for load balancers, supervisors and Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import orjson
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import metrics

PATIENCE_SECONDS = 5.0


class Health:
    """Shows what ``check`` says; 503 when it says ``"ok": False``, fails, or takes too long."""

    def __init__(self, check: Callable[[], Mapping[str, object]]) -> None:
        self._check = check

    async def show(self, _request: Request) -> Response:
        """One answer. ``check`` runs off the event loop, since it may look into the database."""
        try:
            said = await asyncio.wait_for(asyncio.to_thread(self._check), PATIENCE_SECONDS)
            well, body = bool(said.get("ok", True)), orjson.dumps(dict(said), default=str)
        except Exception as error:  # noqa: BLE001  # a check that fails is an answer
            well, body = False, orjson.dumps({"ok": False, "error": type(error).__name__})
        return Response(body, 200 if well else 503, {"Cache-Control": "no-store"}, "application/json")


async def show_metrics(_request: Request) -> Response:
    """Every metric as Prometheus reads it."""
    body, content_type = metrics.exposition()
    return Response(body, media_type=None, headers={"Content-Type": content_type})
