"""``POST /callbacks/{account}/bounce``: mail that came back, as the mail server pipes it in.

The raw message is the body; the mail server shows an API key, as events do. What the mail *says* is believed only where
our own signature stands in it (tracking.bounces). Everything that was read is answered 204, whatever it was: a mail
server that is told no would send a bounce about a bounce. 503 means: try again.

Postfix, in ``master.cf``, for the mailbox of ``accounts.NAME.options.bounce``::

    bounces unix - n n - - pipe flags=DRXhq user=nobody argv=/usr/bin/curl -fsS --data-binary @-
      -H "Authorization: Bearer KEY" https://push.example.com/callbacks/NAME/bounce
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator import metrics
from orchestrator.channel.callback import Postbox
from orchestrator.tracking.bounces import MAX_BYTES, read_returned
from orchestrator.tracking.callbacks import Callback
from orchestrator.web.body import read_body
from orchestrator.web.events import Keys
from orchestrator.web.intake import Intake

PATH = "/callbacks/{account}/bounce"


class MailDoor:
    """Answers the path of every account whose mail comes back."""

    def __init__(
        self,
        intake: Intake,
        keys: Keys,
        postboxes: Mapping[str, Postbox],
        account_channels: Mapping[str, tuple[str, str]],
    ) -> None:
        self._intake = intake
        self._keys = keys
        self._postboxes = postboxes
        self._channels = account_channels

    async def post(self, request: Request) -> Response:
        """One mail."""
        account = request.path_params["account"]
        if account not in self._postboxes or account not in self._channels:
            return Response("no such account", 404)
        if not self._keys.known(request):
            return _counted(account, "forged", 401)
        try:
            body = await read_body(request, MAX_BYTES)
        except ClientDisconnect:
            return Response(status_code=400)
        return _counted(account, "malformed", 413) if body is None else await self._take(account, body)

    async def _take(self, account: str, body: bytes) -> Response:
        returned = await run_in_threadpool(read_returned, body, self._postboxes[account])
        if returned is None:
            return _counted(account, "ignored", 204)
        callback = Callback(account, *self._channels[account], returned.report, returned.message_id)
        done = self._intake.callbacks.offer(callback)
        if done is None:
            return _counted(account, "busy", 503)
        try:
            verdict = await done
        except Exception:  # noqa: BLE001  # logged where it happened; the words may hold addresses
            return _counted(account, "busy", 503)
        return _counted(account, verdict, 204)


def _counted(account: str, verdict: str, status: int) -> Response:
    metrics.webhooks.labels(account, verdict).inc()
    return Response(status_code=status)
