"""A signed POST to a server of the app's own, one per message: for channels that only the app knows.

Signed as Standard Webhooks says. ``webhook-id`` is the message's own id on every attempt, so the receiver can take in a
repeated one once: a lost answer is sent again (``Ambiguity.RESEND``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.channel.base import (
    Ambiguity,
    Channel,
    Envelope,
    Finding,
    Health,
    Inquiry,
    Outcome,
    OutcomeClass,
    Payload,
    PushPayload,
    Scope,
)
from orchestrator.channel.options import FromEnvironment, problem, read_options, secret_of
from orchestrator.channel.outward import Inward, Outward, Target, read_target
from orchestrator.channel.retry_after import retry_after
from orchestrator.channel.rules import by_status, unanswered, unsendable
from orchestrator.channel.standard_webhooks import TIMEOUT, signed_headers, signing_key
from orchestrator.channel.transport import Answer, NoAnswer
from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import ConfigError, InputError

BODY_LIMIT = 64 * 1024
"""Bytes of one body, so that any framework's default takes it."""
_ROOM = 512  # id, user, times and ack, of which a payload knows nothing
_OK = range(200, 300)


class WebhookOptions(BaseModel):
    """Where the messages go, and what they are signed with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    secret_file: Path | None = None
    secret: FromEnvironment = None
    previous_secret_file: Path | None = None
    previous_secret: FromEnvironment = None
    timeout: Annotated[timedelta, Field(gt=timedelta(), le=timedelta(seconds=60))] = TIMEOUT


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: one receiver. It calls back as the app does, through ``POST /v1/acks``."""
    del callback_url
    read = read_options(WebhookOptions, account, options)
    target = read_target(read.url)
    if isinstance(target, str):
        raise ConfigError([problem(account, "url", target)])
    keys = [_key(account, read, "secret")]
    if read.previous_secret is not None or read.previous_secret_file is not None:
        keys.append(_key(account, read, "previous_secret"))
    clock = SystemClock()
    return WebhookChannel(target, keys, Outward(read.timeout, clock), clock)


def _key(account: str, read: WebhookOptions, name: str) -> bytes:
    try:
        return signing_key(secret_of(account, read, name))
    except InputError as error:
        raise ConfigError([problem(account, f"{name}_file", error.message, "openssl rand -base64 32")]) from None


class WebhookChannel:
    """One receiver. ``keys``: the first is the current one, the second the one it replaces."""

    channel = "webhook"
    provider = "webhook"
    kinds = frozenset({"user"})
    ambiguity = Ambiguity.RESEND

    def __init__(self, target: Target, keys: Sequence[bytes], servers: Outward, clock: Clock) -> None:
        self.timeout = servers.timeout
        self._target = target
        self._keys = tuple(keys)
        self._servers = servers
        self._clock = clock

    async def send(self, envelope: Envelope) -> Outcome:
        """One POST."""
        payload = envelope.payload
        if (reasons := problems(payload)) or not isinstance(payload, PushPayload):
            return unsendable(reasons)
        now = self._clock.machine()
        body = message_json(envelope, payload, now)
        headers = signed_headers(self._keys, envelope.message_id, now, body)
        answer = await self._servers.request(self._target, headers, body)
        return self._outcome(answer, envelope)

    def problems(self, payload: Payload) -> list[str]:
        """Why this payload would not be posted."""
        return problems(payload)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """A receiver answers no questions."""
        del inquiry
        return None

    async def check(self) -> Sequence[Finding]:
        """Whether the name leads outward; nothing is posted."""
        found = await self._servers.addresses(self._target)
        if isinstance(found, NoAnswer):
            return [
                Finding(Health.BROKEN, "the receiver's name does not resolve", "look at url, and at this host's DNS")
            ]
        if isinstance(found, Inward):
            hint = "give it an address in the open internet: nothing is posted inward, whoever asks"
            return [Finding(Health.BROKEN, "the receiver's name leads into a private network", hint)]
        return [Finding(Health.FINE, f"the receiver's name resolves; messages carry {len(self._keys)} signature(s)")]

    async def close(self) -> None:
        """Let go of connections."""
        await self._servers.close()

    def _outcome(self, answer: Answer | NoAnswer | Inward, envelope: Envelope) -> Outcome:
        if isinstance(answer, Inward):
            return Outcome(OutcomeClass.STOP_CHANNEL, "inward", scope=Scope.ACCOUNT, may_have_left=False)
        if isinstance(answer, NoAnswer):
            return unanswered(answer)
        if answer.status in _OK:  # no receiver gives an id: the one it was sent is the one it knows
            return Outcome(OutcomeClass.ACCEPTED, str(answer.status), envelope.message_id)
        return by_status(answer.status, named=retry_after(answer.headers, self._clock.machine()))


def problems(payload: Payload) -> list[str]:
    """Why this payload would not be posted, whoever it is for."""
    if not isinstance(payload, PushPayload):
        return ["a webhook account carries push payloads only"]
    try:
        size = len(orjson.dumps(_content(payload))) + _ROOM
    except TypeError:
        return ["half of a character (a lone surrogate) in the text"]
    found = [f"{size} bytes of JSON; a webhook carries {BODY_LIMIT}"] if size > BODY_LIMIT else []
    return found if payload.title or payload.body else [*found, "neither title nor body"]


def message_json(envelope: Envelope, payload: PushPayload, now: datetime) -> bytes:
    """The body. ``expires_at``: from then on nobody is to be shown it."""
    about = {
        "type": "message",
        "id": envelope.message_id,
        "user": envelope.address,
        "collapse_key": envelope.collapse_key,
        "expires_at": (now + envelope.ttl).astimezone(UTC).isoformat(timespec="seconds"),
    }
    ack = {"ack": envelope.ack} if envelope.ack else {}
    return orjson.dumps({**about, **_content(payload), **ack})


def _content(payload: PushPayload) -> dict[str, Any]:
    return {
        "title": payload.title,
        "body": payload.body,
        "link": payload.link,
        "image": payload.image,
        "data": dict(payload.data),
    }
