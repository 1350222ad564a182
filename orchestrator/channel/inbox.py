"""The app's own inbox: a feed that the app fetches from us. There is no provider, and so nothing that can be lost.

``send`` says yes to everything; the item itself is written in the transaction that settles the message as accepted,
under the message's id. A crash between the two leaves neither, and the message is sent again: one item all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

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
)
from orchestrator.channel.options import read_options
from orchestrator.channel.rules import unsendable

LIMIT = 8 * 1024
"""Bytes of an item, names and values of its parts and its data."""


class InboxOptions(BaseModel):
    """How long the inbox shows an item."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep: Annotated[timedelta, Field(ge=timedelta(hours=1), le=timedelta(days=366))] = timedelta(days=30)


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: the inbox needs nobody's credentials."""
    del callback_url
    return InboxChannel(read_options(InboxOptions, account, options))


class InboxChannel:
    """The feed's side of the dispatcher; also a :class:`~orchestrator.channel.base.Feed`."""

    channel = "inbox"
    provider = "inbox"
    kinds = frozenset({"user"})
    ambiguity = Ambiguity.RESEND
    timeout = timedelta(seconds=1)

    def __init__(self, options: InboxOptions) -> None:
        self.keep = options.keep

    async def send(self, envelope: Envelope) -> Outcome:
        """Accepted, unless it does not fit; the message's own id is the item's."""
        if reasons := self.problems(envelope.payload):
            return unsendable(reasons)
        return Outcome(OutcomeClass.ACCEPTED, code="kept", provider_id=envelope.message_id)

    def problems(self, payload: Payload) -> list[str]:
        """Why this payload has no place in the inbox."""
        if not isinstance(payload, PushPayload):
            return ["an inbox account carries inbox templates only"]
        try:
            size = item_size(payload)
        except UnicodeEncodeError:
            return ["half of a character (a lone surrogate) in the text"]
        found = [f"{size} bytes; an item of the inbox may have {LIMIT}"] if size > LIMIT else []
        return found if payload.title or payload.body else [*found, "neither title nor body"]

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """Nothing is ever in doubt: what is not settled is sent again."""
        del inquiry
        return None

    async def check(self) -> Sequence[Finding]:
        """There is nobody to ask."""
        return [Finding(Health.FINE, f"the app's own inbox; items are shown for {self.keep.days} days")]

    async def close(self) -> None:
        """Nothing is open."""


def item_size(payload: PushPayload) -> int:
    """Bytes in UTF-8, as the limit counts them."""
    named = {"title": payload.title, "body": payload.body, "link": payload.link, "image": payload.image}
    parts = [*((name, text) for name, text in named.items() if text), *payload.data.items()]
    return sum(len(name.encode()) + len(text.encode()) for name, text in parts)
