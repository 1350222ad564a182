"""SNS between SES and its customer: a subscription that has to be confirmed, and the certificate of its signatures."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.email.sns_post import CERTIFICATE, TOPIC, SnsKey, SnsPost, open_key
from orchestrator.sandbox.world import World

ASK_AGAIN_SECONDS = 5.0
MOST_HELD = 10_000


@dataclass(slots=True)
class Subscription:
    """One endpoint. What happens before it is confirmed waits: kinder than Amazon, who forgets it."""

    url: str
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    confirmed: bool = False
    asked: float = float("-inf")
    held: list[tuple[list[SnsPost], str]] = field(default_factory=list)


@dataclass(slots=True)
class Topic:
    """The sandbox's only topic."""

    world: World
    signing: SnsKey
    subscriptions: dict[str, Subscription] = field(default_factory=dict)

    def publish(self, url: str, posts: list[SnsPost], person: str, base_url: str) -> None:
        """Post to an endpoint, which is asked first whether it wants that."""
        found = self.subscriptions.setdefault(url, Subscription(url))
        if found.confirmed:
            self.world.webhooks.post(url, posts, person)
            return
        if len(found.held) < MOST_HELD:
            found.held.append((posts, person))
        if time.monotonic() - found.asked > ASK_AGAIN_SECONDS:
            found.asked = time.monotonic()
            self.world.webhooks.post(url, [SnsPost(self.signing, base_url, token=found.token)], "subscription")

    def confirm(self, token: str) -> bool:
        """Whether that was the token of one; what waited for it leaves now."""
        found = next((each for each in self.subscriptions.values() if each.token == token), None)
        if found is None:
            return False
        found.confirmed, held, found.held = True, found.held, []
        for posts, person in held:
            self.world.webhooks.post(found.url, posts, person)
        return True


def topic_of(app: Starlette) -> Topic:
    """The topic of a sandbox."""
    topic: Topic | None = getattr(app.state, "topic", None)
    if topic is None:
        world: World = app.state.world
        topic = app.state.topic = Topic(world, open_key(world.credentials))
    return topic


async def certificate(request: Request) -> Response:
    """What signatures are checked with."""
    return Response(topic_of(request.app).signing.certificate, media_type="application/x-pem-file")


async def confirm(request: Request) -> Response:
    """``Action=ConfirmSubscription``: what a visit to SubscribeURL does."""
    query = request.query_params
    known = (query.get("Action"), query.get("TopicArn")) == ("ConfirmSubscription", TOPIC)
    if not known or not topic_of(request.app).confirm(query.get("Token", "")):
        error = "<ErrorResponse><Error><Code>InvalidParameter</Code></Error></ErrorResponse>"
        return Response(error, 400, media_type="text/xml")
    arn = f"{TOPIC}:{secrets.token_hex(8)}"
    body = f"<ConfirmSubscriptionResponse><SubscriptionArn>{arn}</SubscriptionArn></ConfirmSubscriptionResponse>"
    return Response(body, media_type="text/xml")


ROUTES = (
    Route(CERTIFICATE, certificate, methods=["GET"]),
    Route("/sns/", confirm, methods=["GET"]),
)
