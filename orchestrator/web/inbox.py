"""The app's own inbox: ``GET /v1/inbox/{user}``, ``POST /v1/inbox/{user}/read``, ``POST /v1/inbox-tokens``.

The app's servers call with the API key. A phone must not hold that key: it gets a pass of its user's, which the servers
ask for here, and which opens that one inbox until it expires. What was fetched is delivered; what was read was opened
by a person. HEAD fetches nothing and marks nothing.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator.clock import Clock
from orchestrator.content.links import Links
from orchestrator.store import Store
from orchestrator.tracking.acks import Deed
from orchestrator.tracking.feed import (
    LONGEST_PAGE,
    MAX_IDS,
    PAGE,
    Cursor,
    Item,
    Mark,
    Page,
    fetch,
    read_cursor,
    read_marks,
    read_token_request,
)
from orchestrator.web.answers import Keys, as_json, busy, too_large, unknown_key
from orchestrator.web.body import read_body
from orchestrator.web.intake import Intake

INBOX_PATH = "/v1/inbox/{user:path}"
READ_PATH = "/v1/inbox/{user:path}/read"
TOKENS_PATH = "/v1/inbox-tokens"
MAX_BYTES = 16 * 1024
PATIENCE_SECONDS = 2.0
_PRIVATE = {"Cache-Control": "no-store"}

log = logging.getLogger(__name__)


class InboxDoor:
    """Answers the app, and its servers."""

    def __init__(self, store: Store, clock: Clock, intake: Intake, links: Links, keys: Keys) -> None:
        self._store = store
        self._clock = clock
        self._intake = intake
        self._links = links
        self._keys = keys

    async def token(self, request: Request) -> Response:
        """A pass for one user's inbox; for who has the API key alone."""
        if not self._keys.known(request):
            return unknown_key()
        body = await _body(request)
        if isinstance(body, Response):
            return body
        asked = read_token_request(body)
        if asked is None:
            return as_json(422, {"error": 'the body must be {"user": "…", "seconds": 60 to 2592000}'})
        until = self._clock.machine() + timedelta(seconds=asked.seconds)
        told = {"token": self._links.inbox_pass(asked.user, until), "expires_at": until.replace(microsecond=0)}
        return as_json(201, told, _PRIVATE)

    async def show(self, request: Request) -> Response:
        """A page of items, newest first, with how many are unread."""
        user = request.path_params["user"]
        if not self._may(request, user):
            return unknown_key()
        asked = _place(request)
        if asked is None:
            return as_json(422, {"error": f"limit is 1 to {LONGEST_PAGE}, and after what an answer called next"})
        page = await run_in_threadpool(self._fetch, user, *asked)
        if request.method == "GET":
            await self._seen(user, page)
        return as_json(200, _shown(page), _PRIVATE)

    async def read(self, request: Request) -> Response:
        """Mark items as read, on disk before the answer."""
        user = request.path_params["user"]
        if not self._may(request, user):
            return unknown_key()
        body = await _body(request)
        if isinstance(body, Response):
            return body
        asked = read_marks(body)
        if asked is None:
            return as_json(422, {"error": f'the body must be {{"ids": ["…"]}} with at most {MAX_IDS}, or "all"'})
        return await self._mark(Mark(user, None if asked.ids == "all" else asked.ids, self._clock.now(), Deed.OPENED))

    def _may(self, request: Request, user: str) -> bool:
        """Whether it comes from the app's servers, or with this user's own pass."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        own = scheme.lower() == "bearer" and self._links.opens_inbox(given.strip(), user, self._clock.machine())
        return own or self._keys.known(request)

    def _fetch(self, user: str, after: Cursor | None, limit: int) -> Page:
        with self._store.read() as connection:
            return fetch(connection, user, self._clock.now(), after, limit)

    async def _seen(self, user: str, page: Page) -> None:
        """Write down what was fetched for the first time, and wait for that for a while: people come before statistics.

        What could not be written is fetched for the first time again.
        """
        if not page.unseen:
            return
        done = self._intake.marks.offer(Mark(user, tuple(page.unseen), self._clock.now()), len(page.unseen))
        if done is None:
            log.warning("seen_lost", extra={"items": len(page.unseen)})
            return
        try:
            await asyncio.wait_for(asyncio.shield(done), PATIENCE_SECONDS)
        except Exception as error:  # noqa: BLE001  # logged where it happened, too
            log.warning("seen_unsure", extra={"error": type(error).__name__})

    async def _mark(self, mark: Mark) -> Response:
        """All of it, a batch a transaction."""
        count, more = 0, True
        while more:
            done = self._intake.marks.offer(mark, MAX_IDS)
            if done is None:
                return busy("too much is waiting to be written")
            try:
                marked = await done
            except Exception:  # noqa: BLE001  # logged where it happened
                return busy("it could not be written")
            count, more = count + marked.count, marked.more
        return as_json(200, {"read": count}, _PRIVATE)


async def _body(request: Request) -> bytes | Response:
    try:
        body = await read_body(request, MAX_BYTES)
    except ClientDisconnect:
        return Response(status_code=400)
    return too_large(MAX_BYTES) if body is None else body


def _place(request: Request) -> tuple[Cursor | None, int] | None:
    """Which page is asked for; None when it makes no sense."""
    limit, after = request.query_params.get("limit", str(PAGE)), request.query_params.get("after", "")
    cursor = read_cursor(after) if after else None
    sound = limit.isascii() and limit.isdecimal() and 1 <= int(limit[:9]) <= LONGEST_PAGE
    return (cursor, int(limit)) if sound and (cursor or not after) else None


def _shown(page: Page) -> dict[str, Any]:
    return {
        "items": [_item(item) for item in page.items],
        "unread": page.unread,
        "next": str(page.after) if page.after else None,
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "id": str(item.message_id),
        **{name: getattr(item, name) for name in ("title", "body", "link", "image", "data", "at", "expires_at")},
        "read": item.read_at is not None,
    }
