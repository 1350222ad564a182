"""``POST /v1/acks``: the app reports that a push was delivered, or opened.

    {"ack": "AYq…", "kind": "opened", "at": "2026-12-01T11:02:03Z"}        or {"acks": [{…}, {…}]}

No key: what the push carried as ``ack`` is the proof, of one message, for thirty days. Service workers call from the
app's own origin, so any origin may; nothing here reads cookies, and nothing is told but counts. GET changes nothing.
"""

from __future__ import annotations

from collections import Counter

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator.clock import Clock
from orchestrator.content.links import Links
from orchestrator.tracking.acks import MAX_ACKS, Ack, Verdict, believed, read_acks
from orchestrator.web.answers import as_json, busy, too_large
from orchestrator.web.body import read_body
from orchestrator.web.intake import Intake

PATH = "/v1/acks"
MAX_BYTES = 32 * 1024
ANY_ORIGIN = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT = {
    **ANY_ORIGIN,
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "content-type",
    "Access-Control-Max-Age": "86400",
}


class AcksDoor:
    """Answers the app's own code, on people's phones and in their browsers."""

    def __init__(self, intake: Intake, clock: Clock, links: Links) -> None:
        self._intake = intake
        self._clock = clock
        self._links = links

    async def options(self, _request: Request) -> Response:
        """A browser asks before it posts JSON to another origin."""
        return Response(status_code=204, headers=_PREFLIGHT)

    async def post(self, request: Request) -> Response:
        """One request, with what any page may read of the answer."""
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            response = Response(status_code=400)
        response.headers.update(ANY_ORIGIN)
        return response

    async def _answer(self, request: Request) -> Response:
        body = await read_body(request, MAX_BYTES)
        if body is None:
            return too_large(MAX_BYTES)
        said = read_acks(body)
        if said is None:
            hint = f'{{"ack": "…", "kind": "delivered" or "opened"}}, or {{"acks": […]}} with at most {MAX_ACKS}'
            return as_json(400, {"error": f"the body must be {hint}"})
        machine = self._clock.machine()
        acks = believed(said, lambda text: self._links.acknowledged(text, machine), self._clock.now())
        if not acks:
            return as_json(404, {"error": "no acknowledgement of ours, or too old"})
        return await self._keep(acks, len(said) - len(acks))

    async def _keep(self, acks: list[Ack], forged: int) -> Response:
        done = self._intake.acks.offer(acks, len(acks))
        if done is None:
            return busy("too much is waiting to be written")
        try:
            verdicts = Counter(await done)
        except Exception:  # noqa: BLE001  # logged where it happened
            return busy("it could not be written")
        counts = {str(verdict): verdicts[verdict] for verdict in Verdict}
        return as_json(202, {**counts, "ignored": verdicts[Verdict.IGNORED] + forged})
