"""``POST /callbacks/{account}/status`` and ``/inbound``: what providers tell us, and what people write back.

A callback is believed only when its provider signed it, over the public URL that it called (from settings: never from
the Host header, which anybody can write). It is answered 2xx after it is on disk. Taking it in twice, late or in
another order changes nothing: there is no timestamp to trust, so (provider id, status) is remembered.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator import metrics
from orchestrator.channel.base import Callbacks, Reply, Report
from orchestrator.tracking.callbacks import Callback, Verdict
from orchestrator.tracking.ingest import carried_id
from orchestrator.web.body import read_body
from orchestrator.web.intake import Intake

STATUS_PATH = "/callbacks/{account}/status"
INBOUND_PATH = "/callbacks/{account}/inbound"
MAX_BYTES = 65_536
MAX_FIELDS = 200
TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'

log = logging.getLogger(__name__)


class CallbackDoor:
    """Answers both paths of every account whose provider calls back."""

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

    async def status(self, request: Request) -> Response:
        """A provider's later word on a message; the query's ``m`` is our message id."""
        return await self._answer(request, Response(status_code=204))

    async def inbound(self, request: Request) -> Response:
        """A person's reply; answered with an empty TwiML document, which sends nothing back."""
        return await self._answer(request, Response(TWIML, media_type="text/xml"))

    async def _answer(self, request: Request, thanks: Response) -> Response:
        account = request.path_params["account"]
        if account not in self._callbacks or account not in self._channels:
            return Response("no such account", 404)
        try:
            body = await read_body(request, MAX_BYTES)
        except ClientDisconnect:
            return Response(status_code=400)
        form = None if body is None else _form(body)
        if form is None:
            return _refuse(account, "malformed", 413 if body is None else 400)
        return await self._judge(account, request, form, thanks)

    async def _judge(self, account: str, request: Request, form: Mapping[str, str], thanks: Response) -> Response:
        if not self._genuine(account, request, form):
            return _refuse(account, "forged", 403)
        said = self._read(account, form)
        if said is None:
            metrics.webhooks.labels(account, "ignored").inc()
            return thanks
        return await self._keep(
            Callback(account, *self._channels[account], said, carried_id(request.query_params.get("m", ""))), thanks
        )

    async def _keep(self, callback: Callback, thanks: Response) -> Response:
        done = self._intake.callbacks.offer(callback)
        if done is None:
            return _refuse(callback.account, "busy", 503)
        try:
            verdict: Verdict = await done
        except Exception:  # noqa: BLE001  # logged where it happened; the words may hold addresses
            return _refuse(callback.account, "busy", 503)
        metrics.webhooks.labels(callback.account, verdict).inc()
        return thanks

    def _genuine(self, account: str, request: Request, form: Mapping[str, str]) -> bool:
        path = request.scope.get("raw_path") or request.scope["path"].encode()
        query = request.scope["query_string"]
        url = self._public_url + path.decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")
        try:
            return self._callbacks[account].genuine(url, form, request.headers)
        except Exception as error:  # noqa: BLE001  # what cannot be checked is not believed
            log.warning("callback_unchecked", extra={"account": account, "error": type(error).__name__})
            return False

    def _read(self, account: str, form: Mapping[str, str]) -> Report | Reply | None:
        try:
            return self._callbacks[account].read(form)
        except Exception as error:  # noqa: BLE001  # a plugin's bug must not make a provider repeat for ever
            log.warning("callback_unread", extra={"account": account, "error": type(error).__name__})
            return None


def _form(body: bytes) -> dict[str, str] | None:
    """The fields of a form, or None for what is no form."""
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        return None
    return dict(fields)


def _refuse(account: str, verdict: str, status: int) -> Response:
    metrics.webhooks.labels(account, verdict).inc()
    return Response(verdict, status, {"Retry-After": "1"} if status == 503 else None)  # noqa: PLR2004
