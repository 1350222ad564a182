"""Fault switches: what a provider is told to suffer, for whom, how often, by chance or for certain."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from itertools import count
from random import Random
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Provider = Literal[
    "fcm", "apns", "webpush", "huawei", "jpush", "getui", "xiaomi", "oppo", "vivo", "twilio", "aliyun", "gateway",
    "smtp", "ses", "sendgrid", "webhook", "token", "lookup", "callback",
]  # fmt: skip
"""``token`` is Google's, and every other provider's way to a token; ``lookup`` every question about what was sent;
``callback`` the webhooks the sandbox posts."""


class Kind(StrEnum):
    """What goes wrong."""

    STATUS = "status"
    """Answer ``status`` (and ``code``) in the provider's own error shape, with ``retry_after`` if given."""
    DEAD_ADDRESS = "dead_address"
    """The address no longer exists: UNREGISTERED, 21614, or 550 5.1.1."""
    RESET_BEFORE = "reset_before"
    """Reset the connection without accepting."""
    HTML = "html"
    """A load balancer's 502 page."""
    RESET_AFTER = "reset_after"
    """Accept, then reset the connection: the sender cannot know."""
    SILENCE = "silence"
    """Take the request and say nothing, ever. ``accept`` decides whether it was accepted (default: no)."""
    SLOW = "slow"
    """Accept, then dribble the answer over ``seconds``."""
    DELAY = "delay"
    """Wait ``seconds``, then go on as if nothing were."""
    TRUNCATED = "truncated"
    """Accept, then break the answer off in the middle of its JSON."""
    ODD = "odd"
    """Accept, then answer 200 with a body that says something else."""
    UNDELIVERED = "undelivered"
    """Twilio: accept; the callback will say undelivered with ``code`` (default 30003)."""
    EXPIRE_TOKENS = "expire_tokens"
    """At once, and only once: every bearer token given out so far expires."""
    DUPLICATE = "duplicate"
    """Callbacks: each is posted twice."""
    REORDER = "reorder"
    """Callbacks: the last status first."""
    FORGED = "forged"
    """Callbacks: signed with a wrong token."""
    LOST = "lost"
    """Callbacks: never posted."""


AFTER = frozenset({Kind.RESET_AFTER, Kind.SLOW, Kind.TRUNCATED, Kind.ODD, Kind.UNDELIVERED, Kind.DELAY})
"""Kinds that let the request be accepted."""
OF_MAIL = frozenset(
    {Kind.STATUS, Kind.DEAD_ADDRESS, Kind.RESET_BEFORE, Kind.RESET_AFTER, Kind.SILENCE, Kind.SLOW, Kind.DELAY}
)
OF_CALLBACKS = frozenset({Kind.DUPLICATE, Kind.REORDER, Kind.FORGED, Kind.LOST})


class Fault(BaseModel):
    """One switch that is on. ``match`` is a prefix of the address; ``times`` None: until it is taken away.

    ``stage``: of a mail, when ``status`` is answered: to RCPT, or to the message itself. ``code``: its enhanced code.
    """

    model_config = ConfigDict(extra="forbid")

    provider: Provider
    kind: Kind
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    code: str | int | None = None
    retry_after: Annotated[str, Field(max_length=100)] | int | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    match: str = ""
    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    seed: int = 0
    seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    accept: bool | None = None
    stage: Literal["rcpt", "data"] = "rcpt"

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        kinds = {"callback": OF_CALLBACKS, "smtp": OF_MAIL}.get(self.provider, frozenset(Kind) - OF_CALLBACKS)
        if self.kind not in kinds:
            known = ", ".join(sorted(kinds))
            raise ValueError(f"{self.provider} cannot suffer {self.kind.value!r}; it can: {known}")
        return self

    @property
    def accepts(self) -> bool:
        """Whether the request is accepted all the same."""
        return self.kind in AFTER or (self.kind is Kind.SILENCE and bool(self.accept))


class FaultBook:
    """The switches that are on, oldest first; a request suffers the first that fits it."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._entries: dict[int, tuple[Fault, Random]] = {}
        self.hits: dict[int, int] = {}

    def add(self, fault: Fault) -> int:
        """Switch a fault on; its number takes it away again."""
        number = next(self._numbers)
        self._entries[number] = (fault, Random(fault.seed))
        self.hits[number] = 0
        return number

    def clear(self, number: int | None = None) -> None:
        """Switch one fault off, or all."""
        for each in [number] if number is not None else list(self._entries):
            self._entries.pop(each, None)
            self.hits.pop(each, None)

    def draw(self, provider: Provider, address: str) -> Fault | None:
        """What this request suffers, if anything; counts it."""
        for number, (fault, chance) in self._entries.items():
            if fault.provider != provider or not address.startswith(fault.match):
                continue
            if chance.random() < fault.probability:
                self._used(number, fault)
                return fault
        return None

    def listed(self) -> Iterator[dict[str, Any]]:
        """The switches that are on, as JSON."""
        for number, (fault, _) in self._entries.items():
            yield {"number": number, "hits": self.hits[number], **fault.model_dump(mode="json", exclude_defaults=True)}

    def _used(self, number: int, fault: Fault) -> None:
        self.hits[number] += 1
        if fault.times is not None and self.hits[number] >= fault.times:
            self.clear(number)
