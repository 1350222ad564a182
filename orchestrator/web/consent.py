"""``/u/{token}`` and ``/p/{token}``: unsubscribing, and choosing what to get.

GET shows a page and changes nothing, ever: scanners fetch every link of a mail. POST acts, without cookies, login or
anything else but the token (RFC 8058), answers after the wish is on disk, never with a redirect, and may be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import metrics
from orchestrator.campaign.topics import Topic
from orchestrator.clock import Clock
from orchestrator.content.links import Kind, Links
from orchestrator.errors import ConfigError
from orchestrator.store import Store
from orchestrator.tracking.wishes import CHANNELS, Choice, Standing, Wish, standing
from orchestrator.web.intake import Intake
from orchestrator.web.pages import form_of, page_language, show_page, sorry

UNSUBSCRIBE_PATH = "/u/{token}"
PREFERENCES_PATH = "/p/{token}"
_SAMPLE = Standing(0, "", "email", "promotions", {}, {("email", "promotions"): True, ("push", "promotions"): False})

log = logging.getLogger(__name__)


class ConsentDoor:
    """Answers both paths."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        intake: Intake,
        links: Links,
        topics: Callable[[], Mapping[str, Topic]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._intake = intake
        self._links = links
        self._topics = topics

    async def unsubscribe(self, request: Request) -> Response:
        """The page with one button, or what became of pressing it."""
        found = await self._find(request, Kind.UNSUBSCRIBE)
        if found is None:
            return sorry(request, 404, "not_found")
        message_id, now, topics = found
        if request.method == "POST":
            if await form_of(request) is None:
                return Response("too long", 413)
            if not await self._do(Wish(message_id, self._clock.now()), "unsubscribe"):
                return sorry(request, 503, "busy", now.locale)
        instead = self._links.token(Kind.PREFERENCES, message_id)
        done = request.method == "POST"
        return _page(request, "unsubscribe.html", now, topics, preview=not message_id, done=done, instead=instead)

    async def preferences(self, request: Request) -> Response:
        """The page with every topic and channel, or what became of saving it."""
        found = await self._find(request, Kind.PREFERENCES)
        if found is None:
            return sorry(request, 404, "not_found")
        message_id, now, topics = found
        saved = ""
        if request.method == "POST":
            form = await form_of(request)
            if form is None:
                return Response("too long", 413)
            wish = self._wish(message_id, now, form)
            if not await self._do(wish, "preferences"):
                return sorry(request, 503, "busy", now.locale)
            saved = "none_done" if wish.everything else "saved"
            again = await run_in_threadpool(self._standing, message_id, topics)
            now = now if again is None else again
        return _page(request, "preferences.html", now, topics, preview=not message_id, saved=saved)

    def _wish(self, message_id: int, now: Standing, form: Mapping[str, list[str]]) -> Wish:
        """What a form says: of the choices that it showed, those that are there still."""
        shown, on = {*form.get("shown", ())}, {*form.get("on", ())}
        choices = {one: name_of(one) in on for one in now.choices if name_of(one) in shown}
        return Wish(message_id, self._clock.now(), choices, everything="everything" in form)

    async def _find(self, request: Request, kind: Kind) -> tuple[int, Standing, Mapping[str, Topic]] | None:
        token = self._links.read(kind, request.path_params["token"])
        if token is None:
            return None
        topics = await run_in_threadpool(self._described)
        now = await run_in_threadpool(self._standing, token.message_id, topics)
        return None if now is None else (token.message_id, now, topics)

    def _described(self) -> Mapping[str, Topic]:
        """What topics are called. A mistake in that file must not keep anybody from unsubscribing."""
        try:
            return self._topics()
        except ConfigError:
            log.warning("topics_unread")
            return {}

    def _standing(self, message_id: int, topics: Mapping[str, Topic]) -> Standing | None:
        if not message_id:
            return _SAMPLE
        with self._store.read() as connection:
            return standing(connection, message_id, self._clock.now(), topics)

    async def _do(self, wish: Wish, asked: str) -> bool:
        """Whether the wish is on disk. A preview's is nobody's."""
        if not wish.message_id:
            return True
        done = self._intake.wishes.offer(wish)
        if done is None:
            return False
        try:
            kept: bool = await done
        except Exception:  # noqa: BLE001  # logged where it happened
            return False
        metrics.wishes.labels(asked).inc()
        return kept


def name_of(choice: Choice) -> str:
    """A choice as a form calls it."""
    return f"{choice[0]}:{choice[1]}"


def _page(request: Request, template: str, now: Standing, topics: Mapping[str, Topic], **values: object) -> Response:
    language = page_language(request, now.locale)
    names = sorted({topic for _, topic in now.choices}, key=lambda name: (name != now.topic, name))
    offered = [channel for channel in CHANNELS if any(channel == one for one, _ in now.choices)]
    shown = [
        {
            "title": _topic(topics, name).titled(language),
            "text": _topic(topics, name).told(language),
            "channels": [
                (channel, name_of((channel, name)), now.choices[channel, name], (channel, name) in now.waiting)
                for channel in offered
                if (channel, name) in now.choices
            ],
        }
        for name in names
    ]
    topic = _topic(topics, now.topic).titled(language)
    return show_page(request, template, language, 200, channel=now.channel, topic=topic, topics=shown, **values)


def _topic(topics: Mapping[str, Topic], name: str) -> Topic:
    return topics.get(name) or Topic(name)
