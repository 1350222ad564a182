"""``POST /callbacks/{account}/{hook}``: what providers tell us, and what people write back.

A callback is believed only as far as its provider's channel vouches for it: by a signature over the public URL that was
called (from settings: never from the Host header, which anybody can write) or over the raw body, or by a secret in the
path. It is answered 2xx after all of it is on disk. Taking it in twice, late or in another order changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator import metrics, traces
from orchestrator.channel.callback import CallbackRequest, Callbacks, Heard, Refused, Reply, Report, Seen
from orchestrator.tracking.callbacks import Callback
from orchestrator.web.body import read_body
from orchestrator.web.intake import Intake

PATH = "/callbacks/{account}/{hook:path}"
MAX_BYTES = 1 << 20
_STATUS = {Refused.FORGED: 403, Refused.STALE: 403, Refused.MALFORMED: 400, Refused.LATER: 503}

log = logging.getLogger(__name__)


class CallbackDoor:
    """Answers the paths of every account whose provider calls back."""

    def __init__(
        self,
        intake: Intake,
        public_url: str,
        callbacks: Mapping[str, Callbacks],
        account_channels: Mapping[str, tuple[str, str]],
    ) -> None:
        self._intake = intake
        self._public_url = public_url.rstrip("/")
        self._callbacks = callbacks
        self._channels = account_channels

    async def post(self, request: Request) -> Response:
        """One request of a provider, with everything it says."""
        account, hook = request.path_params["account"], request.path_params["hook"]
        if account not in self._callbacks or account not in self._channels or hook.startswith("/"):
            return Response("no such account", 404)
        try:
            body = await read_body(request, MAX_BYTES)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return _refuse(account, "malformed", 413)
        with traces.span("callback", account=account):
            heard = await self._hear(account, self._read(request, body))
            if isinstance(heard, Refused):
                return _refuse(account, heard, _STATUS[heard])
            return await self._keep(account, heard)

    def _read(self, request: Request, body: bytes) -> CallbackRequest:
        path = request.scope.get("raw_path") or request.scope["path"].encode()
        query = request.scope["query_string"]
        url = self._public_url + path.decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
        hook = request.path_params["hook"]
        return CallbackRequest(url, hook, dict(request.query_params), dict(request.headers), body)

    async def _hear(self, account: str, request: CallbackRequest) -> Heard | Refused:
        try:
            return await self._callbacks[account].hear(request)
        except Exception as error:  # noqa: BLE001  # what cannot be checked is not believed, and not lost either
            log.error("callback_unchecked", extra={"account": account, "error": type(error).__name__})  # noqa: TRY400
            return Refused.LATER

    async def _keep(self, account: str, heard: Heard) -> Response:
        """Offer all of it, and answer once all of it is written; where a part is not, all of it comes again."""
        if not heard.said:
            metrics.webhooks.labels(account, "ignored").inc()
        waiting = [self._intake.callbacks.offer(self._callback(account, said)) for said in heard.said]
        offered = [done for done in waiting if done is not None]
        results = await asyncio.gather(*offered, return_exceptions=True)
        for result in results:
            if not isinstance(result, BaseException):  # what failed is logged where it happened
                metrics.webhooks.labels(account, result).inc()
        if len(offered) < len(waiting) or any(isinstance(result, BaseException) for result in results):
            return _refuse(account, "busy", 503)
        return Response(heard.answer, heard.status, media_type=heard.media_type if heard.answer else None)

    def _callback(self, account: str, said: Report | Reply | Seen) -> Callback:
        message_id = None if isinstance(said, Reply) else said.message_id
        return Callback(account, *self._channels[account], said, message_id)


def _refuse(account: str, verdict: str, status: int) -> Response:
    metrics.webhooks.labels(account, verdict).inc()
    return Response(verdict, status, {"Retry-After": "1"} if status == 503 else None)  # noqa: PLR2004
