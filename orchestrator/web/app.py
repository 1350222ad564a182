"""The application: what the daemon serves with uvicorn, in its own process and event loop."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Route

from orchestrator.audience.attributes import NONE, Declarations
from orchestrator.audience.opt_in import Asks
from orchestrator.campaign.topics import Topic, double_opt_in
from orchestrator.channel.callback import Callbacks, Postbox
from orchestrator.clock import Clock
from orchestrator.content.links import Links
from orchestrator.errors import ConfigError
from orchestrator.store import Store
from orchestrator.tracking.profiles import read_consents, read_users
from orchestrator.web import acks as ack_routes
from orchestrator.web import callbacks as callback_routes
from orchestrator.web import events as event_routes
from orchestrator.web import mail as mail_routes
from orchestrator.web.confirming import CONFIRM_PATH, ConfirmDoor
from orchestrator.web.consent import PREFERENCES_PATH, UNSUBSCRIBE_PATH, ConsentDoor
from orchestrator.web.health import Health, show_metrics
from orchestrator.web.inbox import INBOX_PATH, READ_PATH, TOKENS_PATH, InboxDoor
from orchestrator.web.intake import Intake
from orchestrator.web.links import CLICK_PATH, OPEN_PATH, LinksDoor
from orchestrator.web.openapi import PATH as OPENAPI_PATH
from orchestrator.web.openapi import show_openapi
from orchestrator.web.profiles import CONSENTS_PATH, USERS_PATH, ProfilesDoor


def create_app(  # noqa: PLR0913  # everything the daemon has to wire
    store: Store,
    clock: Clock,
    *,
    api_keys: Sequence[str],
    public_url: str,
    callbacks: Mapping[str, Callbacks],
    account_channels: Mapping[str, tuple[str, str]],
    health: Callable[[], Mapping[str, object]],
    postboxes: Mapping[str, Postbox] | None = None,
    declared: Callable[[], Declarations] = lambda: NONE,
    links: Links | None = None,
    topics: Callable[[], Mapping[str, Topic]] = dict,
    watched: bool = True,
) -> FastAPI:
    """The API over ``store``.

    ``callbacks`` has, by account name, the channels whose providers call back, ``postboxes`` those whose mail comes
    back, and ``account_channels`` the (channel, provider) of each; all are read at every request, so they may grow.
    ``health`` answers quickly and says ``"ok": False`` when the process is not well. Without ``api_keys`` nobody may
    send events. ``declared`` says which attributes have types. Without ``links`` no link is
    genuine; ``topics`` says what topics are called, and which ask for double opt-in. ``watched``: ``/metrics`` is here,
    and not at an address of its own. Serve with lifespan on.
    """
    intake = Intake(store, clock, _asking(topics))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with intake:
            yield

    app = FastAPI(
        title="Re-engagement orchestrator",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # its answer would name whatever host the request did
    )
    keys = event_routes.Keys(api_keys)
    signed = links or Links(public_url, secrets.token_bytes(32))
    back = callback_routes.CallbackDoor(intake, public_url, callbacks, account_channels)
    mail = mail_routes.MailDoor(intake, keys, postboxes or {}, account_channels)
    app.router.routes += [
        *_for_the_app(intake, clock, keys, declared),
        *_for_phones(store, clock, intake, signed, keys),
        Route(mail_routes.PATH, mail.post, methods=["POST"]),
        Route(callback_routes.PATH, back.post, methods=["POST"]),
        *_for_recipients(store, clock, intake, signed, topics),
        *(_for_watchers(health) if watched else _for_watchers(health)[:1]),
    ]
    return app


def create_watch(health: Callable[[], Mapping[str, object]]) -> FastAPI:
    """How a process is that serves no API: ``/healthz`` and ``/metrics``."""
    app = FastAPI(title="Re-engagement orchestrator", docs_url=None, redoc_url=None, openapi_url=None)
    app.router.routes += _for_watchers(health)
    return app


def _for_watchers(health: Callable[[], Mapping[str, object]]) -> list[Route]:
    return [
        Route("/healthz", Health(health).show, methods=["GET"]),
        Route("/metrics", show_metrics, methods=["GET"]),
    ]


def _for_the_app(
    intake: Intake, clock: Clock, keys: event_routes.Keys, declared: Callable[[], Declarations]
) -> list[Route]:
    """What the app's own servers send, with a key."""
    events = event_routes.EventsDoor(intake, clock, keys)
    people = ProfilesDoor(intake, clock, keys, read_users, declared)
    consents = ProfilesDoor(intake, clock, keys, read_consents, declared)
    return [
        Route(event_routes.PATH, events.post, methods=["POST"]),
        Route(USERS_PATH, people.post, methods=["POST"]),
        Route(CONSENTS_PATH, consents.post, methods=["POST"]),
        Route(OPENAPI_PATH, show_openapi, methods=["GET"]),
    ]


def _for_phones(store: Store, clock: Clock, intake: Intake, links: Links, keys: event_routes.Keys) -> list[Route]:
    """What the app itself calls, where people have it."""
    inbox = InboxDoor(store, clock, intake, links, keys)
    acks = ack_routes.AcksDoor(intake, clock, links)
    return [
        Route(INBOX_PATH, inbox.show, methods=["GET"]),
        Route(READ_PATH, inbox.read, methods=["POST"]),
        Route(TOKENS_PATH, inbox.token, methods=["POST"]),
        Route(ack_routes.PATH, acks.post, methods=["POST"]),
        Route(ack_routes.PATH, acks.options, methods=["OPTIONS"]),
    ]


def _for_recipients(
    store: Store, clock: Clock, intake: Intake, links: Links, topics: Callable[[], Mapping[str, Topic]]
) -> list[Route]:
    """What people reach from a message, each by a signed token of their own."""
    hits = LinksDoor(store, clock, intake, links)
    wishes = ConsentDoor(store, clock, intake, links, topics)
    second = ConfirmDoor(store, clock, intake, links, topics)
    return [
        Route(CLICK_PATH, hits.click, methods=["GET"]),
        Route(OPEN_PATH, hits.open, methods=["GET"]),
        Route(UNSUBSCRIBE_PATH, wishes.unsubscribe, methods=["GET", "POST"]),
        Route(PREFERENCES_PATH, wishes.preferences, methods=["GET", "POST"]),
        Route(CONFIRM_PATH, second.confirm, methods=["GET", "POST"]),
    ]


def _asking(topics: Callable[[], Mapping[str, Topic]]) -> Asks:
    """Which topics ask for double opt-in now. While that file cannot be read, every mail does: nobody is taken in."""

    def asks(channel: str, topic: str) -> bool:
        try:
            return double_opt_in(topics())(channel, topic)
        except ConfigError:
            return channel == "email"

    return asks
