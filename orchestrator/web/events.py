"""``POST /v1/events``: what users do in the app, from the app's servers.

    {"events": [{"user": "u-17", "name": "app_open", "at": "2026-12-01T11:02:03Z", "id": "evt-9",
                 "message_id": "123", "properties": {"source": "push"}}]}

Up to 1,000 events and 1 MB. ``at`` (default: now) needs an offset; ``id`` makes repeating harmless: the first event
under an id wins. ``message_id`` is the ``msg_id`` that the message carried. Answers 202 ``{"accepted": new, "known":
kept before}`` after the events are on disk; 400, 413 or 422 with all that is wrong and nothing kept; 401 for a wrong
key; 503 with ``Retry-After``: send it again. A plain Starlette route: through FastAPI's own machinery it is 2.5 times
as slow.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator import metrics
from orchestrator.audience.events import IncomingEvent
from orchestrator.clock import Clock
from orchestrator.tracking.ingest import MAX_BYTES, Refusal, Taken, read_events
from orchestrator.web.answers import Keys, as_json, busy, refused, too_large, unknown_key
from orchestrator.web.body import read_body
from orchestrator.web.intake import Intake

PATH = "/v1/events"
LARGE = 64_000
"""A body of this many bytes is read off the event loop."""


class EventsDoor:
    """Answers ``POST /v1/events``."""

    def __init__(self, intake: Intake, clock: Clock, keys: Keys) -> None:
        self._intake = intake
        self._clock = clock
        self._keys = keys

    async def post(self, request: Request) -> Response:
        """One request."""
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            response = Response(status_code=400)
        metrics.event_requests.labels(str(response.status_code)).inc()
        return response

    async def _answer(self, request: Request) -> Response:
        if not self._keys.known(request):
            return unknown_key()
        body = await read_body(request, MAX_BYTES)
        if body is None:
            return too_large(MAX_BYTES)
        read = await self._read(body)
        if isinstance(read, Refusal):
            metrics.events.labels("refused").inc(len(read.faults))
            return refused(read)
        return await self._keep(read) if read else as_json(202, {"accepted": 0, "known": 0})

    async def _read(self, body: bytes) -> list[IncomingEvent] | Refusal:
        if len(body) < LARGE:
            return read_events(body, self._clock.now())
        return await run_in_threadpool(read_events, body, self._clock.now())

    async def _keep(self, events: list[IncomingEvent]) -> Response:
        done = self._intake.events.offer(events, len(events))
        metrics.event_queue.set(self._intake.events.waiting)
        if done is None:
            return busy("too many events are waiting to be written")
        try:
            taken: Taken = await done
        except Exception:  # noqa: BLE001  # logged where it happened; the words may hold addresses
            return busy("the events could not be written")
        finally:
            metrics.event_queue.set(self._intake.events.waiting)
        metrics.events.labels("new").inc(taken.accepted)
        metrics.events.labels("known").inc(taken.known)
        return as_json(202, {"accepted": taken.accepted, "known": taken.known})


__all__ = ["PATH", "EventsDoor", "Keys"]
