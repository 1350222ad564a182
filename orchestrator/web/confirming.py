"""``/confirm/{token}``: the second step of double opt-in.

GET shows a page with one button and confirms nothing: scanners fetch every link of a mail. POST confirms, answers once
it is on disk, and may be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import metrics
from orchestrator.audience import opt_in
from orchestrator.audience.opt_in import Confirmation, Progress, request_of
from orchestrator.campaign.topics import Topic
from orchestrator.clock import Clock
from orchestrator.content.links import Kind, Links
from orchestrator.errors import ConfigError
from orchestrator.store import Store
from orchestrator.web.intake import Intake
from orchestrator.web.pages import form_of, page_language, show_page, sorry

CONFIRM_PATH = "/confirm/{token}"
_SAMPLE = opt_in.Request("email", "promotions", "", Progress.OPEN)

log = logging.getLogger(__name__)


class ConfirmDoor:
    """Answers the link of a confirmation mail."""

    def __init__(
        self, store: Store, clock: Clock, intake: Intake, links: Links, topics: Callable[[], Mapping[str, Topic]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._intake = intake
        self._links = links
        self._topics = topics

    async def confirm(self, request: Request) -> Response:
        """The page with the button, or what became of pressing it."""
        token = self._links.read(Kind.CONFIRM, request.path_params["token"])
        found = None if token is None else await run_in_threadpool(self._find, token.message_id)
        if token is None or found is None:
            return sorry(request, 404, "not_found")
        if request.method == "POST":
            if await form_of(request) is None:
                return Response("too long", 413)
            done = await self._do(token.message_id, found)
            if done is None:
                return sorry(request, 503, "busy", found.locale)
            found = done
        return await run_in_threadpool(self._page, request, found, preview=not token.message_id)

    def _find(self, number: int) -> opt_in.Request | None:
        if not number:
            return _SAMPLE
        with self._store.read() as connection:
            return request_of(connection, number, self._clock.now())

    async def _do(self, number: int, found: opt_in.Request) -> opt_in.Request | None:
        """How the request stands after it; None when that could not be written."""
        if not number or found.progress is not Progress.OPEN:
            return found
        done = self._intake.confirmations.offer(Confirmation(number, self._clock.now()))
        if done is None:
            return None
        try:
            kept: opt_in.Request | None = await done
        except Exception:  # noqa: BLE001  # logged where it happened
            return None
        metrics.wishes.labels("confirm").inc()
        return kept

    def _page(self, request: Request, found: opt_in.Request, *, preview: bool) -> Response:
        if found.progress is Progress.OVER:
            return sorry(request, 410, "over", found.locale)
        try:
            topic = self._topics().get(found.topic) or Topic(found.topic)
        except ConfigError:
            log.warning("topics_unread")
            topic = Topic(found.topic)
        language = page_language(request, found.locale)
        words = {"topic": topic.titled(language), "text": topic.told(language), "channel": found.channel}
        done = found.progress is Progress.CONFIRMED
        return show_page(request, "confirm.html", language, 200, **words, done=done, preview=preview)
