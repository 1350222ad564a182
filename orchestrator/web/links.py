"""``GET /c/{token}`` and ``GET /o/{token}.gif``: a click, and a picture nobody sees.

A token that we did not make leads nowhere: 404, never a redirect. Where a genuine one leads was written down before its
message left. The click is on disk before the answer, unless the database is slow: people come before statistics.
"""

from __future__ import annotations

import asyncio
import base64
import logging

from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from orchestrator.clock import Clock
from orchestrator.content.links import TRAP, Kind, Links, Token
from orchestrator.content.markup import is_address
from orchestrator.store import Store
from orchestrator.store.tables import link
from orchestrator.tracking.hits import Hit
from orchestrator.tracking.machines import AGENT_LENGTH, Deed, cut_network
from orchestrator.web.intake import Intake

CLICK_PATH = "/c/{token}"
OPEN_PATH = "/o/{token}.gif"
PATIENCE_SECONDS = 2.0
PIXEL = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
PRIVATE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
_REMEMBERED = 4096

log = logging.getLogger(__name__)


class LinksDoor:
    """Answers clicks and opens."""

    def __init__(self, store: Store, clock: Clock, intake: Intake, links: Links) -> None:
        self._store = store
        self._clock = clock
        self._intake = intake
        self._links = links
        self._targets: dict[int, str] = {}

    async def click(self, request: Request) -> Response:
        """On to where the link leads. HEAD is a machine's question: it is answered and not counted."""
        token = self._links.read(Kind.CLICK, request.path_params["token"])
        if token is None:
            return _nothing()
        if token.index == TRAP:
            await self._keep(request, Deed.CLICK, token, "")
            return _nothing()
        target = await self._target(token.index)
        if target is None or not is_address(target):
            return _nothing()
        await self._keep(request, Deed.CLICK, token, target)
        return RedirectResponse(target, 302, PRIVATE)  # a header is ASCII: what an address has beyond it is escaped

    async def open(self, request: Request) -> Response:
        """The picture, whatever becomes of the news."""
        token = self._links.read(Kind.OPEN, request.path_params["token"])
        if token is None:
            return _nothing()
        await self._keep(request, Deed.OPEN, token, "")
        return Response(PIXEL, media_type="image/gif", headers=PRIVATE)

    async def _target(self, number: int) -> str | None:
        known = self._targets.get(number)
        if known is None:
            known = await run_in_threadpool(self._look_up, number)
            if known is not None:
                if len(self._targets) >= _REMEMBERED:
                    self._targets.clear()
                self._targets[number] = known
        return known

    def _look_up(self, number: int) -> str | None:
        with self._store.read() as connection:
            return connection.execute(select(link.c.url).where(link.c.id == number)).scalar()

    async def _keep(self, request: Request, deed: Deed, token: Token, url: str) -> None:
        """Write it down, and wait for that, for a while."""
        if request.method != "GET" or not token.message_id:
            return
        agent = request.headers.get("user-agent", "")[:AGENT_LENGTH].replace("\0", "")
        network = cut_network(request.client.host if request.client else "")
        done = self._intake.hits.offer(Hit(deed, token.message_id, token.index, url, self._clock.now(), agent, network))
        if done is None:
            log.warning("hit_lost", extra={"deed": deed})
            return
        try:
            await asyncio.wait_for(asyncio.shield(done), PATIENCE_SECONDS)
        except Exception as error:  # noqa: BLE001  # the person goes on; what was written is written
            log.warning("hit_unsure", extra={"deed": deed, "error": type(error).__name__})


def _nothing() -> Response:
    return Response("not found", 404, PRIVATE, "text/plain")
