"""``POST /v1/users`` and ``POST /v1/consents``: who users are, how to reach them, and what they agreed to.

    {"users": [{"id": "u-17", "zone": "Europe/Berlin", "attributes": {"tier": "gold"},
                "addresses": [{"channel": "sms", "value": "+4915123456789"}]}]}
    {"consents": [{"user": "u-17", "channel": "sms", "topic": "promotions", "granted": true}]}

Keys, limits, faults and promises are those of ``/v1/events``: up to 1,000 items and 1 MB, all or nothing, 202 after
the commit, and sending it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator.audience.attributes import Declarations
from orchestrator.clock import Clock
from orchestrator.tracking.ingest import MAX_BYTES, Refusal
from orchestrator.tracking.profiles import Statements
from orchestrator.web.answers import Keys, as_json, busy, refused, too_large, unknown_key
from orchestrator.web.body import read_body
from orchestrator.web.intake import Intake

USERS_PATH = "/v1/users"
CONSENTS_PATH = "/v1/consents"

Read = Callable[[bytes, datetime, Declarations], Statements | Refusal]


class ProfilesDoor:
    """Answers one of the two; ``declared`` gives the attributes that are declared now."""

    def __init__(
        self, intake: Intake, clock: Clock, keys: Keys, read: Read, declared: Callable[[], Declarations]
    ) -> None:
        self._intake = intake
        self._clock = clock
        self._keys = keys
        self._read = read
        self._declared = declared

    async def post(self, request: Request) -> Response:
        """One request."""
        if not self._keys.known(request):
            return unknown_key()
        try:
            body = await read_body(request, MAX_BYTES)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return too_large(MAX_BYTES)
        read = await run_in_threadpool(self._checked, body)
        if isinstance(read, Refusal):
            return refused(read)
        return await self._keep(read)

    def _checked(self, body: bytes) -> Statements | Refusal:
        return self._read(body, self._clock.now(), self._declared())

    async def _keep(self, statements: Statements) -> Response:
        done = self._intake.profiles.offer(statements, max(1, statements.weight))
        if done is None:
            return busy("too much is waiting to be written")
        try:
            kept: dict[str, Any] = asdict(await done)
        except Exception:  # noqa: BLE001  # logged where it happened; the words may hold addresses
            return busy("it could not be written")
        return as_json(202, {"new": kept})
