"""The app on each phone, as far as it matters here: it reports that a push arrived, and that it was opened.

Apps report ``delivered`` by themselves where the push's provider has no receipts of its own; they do so here when the
sandbox was told where the deployment is. ``opened`` is reported when somebody opens the message in the inbox page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.world import World

APP = "http://127.0.0.1:8080"
"""The web API of a deployment on this machine, where nothing else is said."""
PATH = "/v1/acks"
PATIENCE = timedelta(seconds=10)
SELF_REPORTING = frozenset({"fcm", "apns", "webpush"})
"""Providers that tell nobody what arrived: the app does."""
_DEEPEST = 8


class OpenIn(BaseModel):
    """One message, by its number in the log."""

    model_config = ConfigDict(extra="forbid")

    seq: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True)
class AckPost:
    """One acknowledgement. Forged, it is one that nobody gave out."""

    ack: str
    kind: Literal["delivered", "opened"]

    def request(self, url: str, *, forged: bool) -> tuple[Mapping[str, str], bytes]:
        """Headers and body."""
        del url
        shown = self.ack[::-1] if forged else self.ack
        told = {"ack": shown, "kind": self.kind, "at": datetime.now(UTC).isoformat(timespec="milliseconds")}
        return {"content-type": "application/json"}, orjson.dumps(told)


def arrived(world: World, record: Record) -> None:
    """The push is there, and its app says so, when nobody else does."""
    if record["provider"] in SELF_REPORTING and (ack := ack_of(record)):
        world.webhooks.post(world.app.rstrip("/") + PATH, [AckPost(ack, "delivered")], record["to"])


async def open_message(request: Request) -> Response:
    """Somebody opens a push: its app reports that, and the deployment's answer is told."""
    world: World = request.app.state.world
    try:
        seq = OpenIn.model_validate_json(await request.body()).seq
    except ValidationError:
        raise HTTPException(400, 'the body must be {"seq": NUMBER}') from None
    ack = ack_of(world.log.get(seq) or {})
    if not ack:
        raise HTTPException(404, "no such message, or it carries no acknowledgement")
    status = await _report(world.app.rstrip("/") + PATH, AckPost(ack, "opened"))
    return Response(orjson.dumps({"status": status, "app": world.app}), 202, media_type="application/json")


def ack_of(record: Mapping[str, Any]) -> str:
    """The acknowledgement that a message carries, wherever its provider has room for custom data; empty: none."""
    return next(_acks(record.get("request"), 0), "")


def _acks(value: Any, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        return
    if isinstance(value, str) and value[:1] == "{":
        value = _loaded(value)
    if isinstance(value, dict):
        if isinstance(value.get("ack"), str) and value["ack"]:
            yield value["ack"]
        for each in value.values():
            yield from _acks(each, depth + 1)


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


async def _report(url: str, post: AckPost) -> int | None:
    """The status that it was answered with; None when nobody answered."""
    headers, body = post.request(url, forged=False)
    builder = ClientBuilder().follow_redirects(enable=False).no_proxy().timeout(PATIENCE)
    try:
        async with builder.build() as client:
            answer = await client.post(url).headers(dict(headers)).body_bytes(body).build().send()
    except (PyreqwestError, ValueError):
        return None
    return answer.status
