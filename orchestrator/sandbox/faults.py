"""Fault switches: what a provider is told to suffer, for whom, how often, by chance or for certain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import count
from random import Random
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Provider = Literal[
    "fcm", "apns", "webpush", "huawei", "jpush", "getui", "xiaomi", "oppo", "vivo", "twilio", "aliyun", "gateway",
    "smtp", "ses", "sendgrid", "webhook", "token", "lookup", "callback", "http",
]  # fmt: skip
"""``token`` is Google's, and every other provider's way to a token; ``lookup`` every question about what was sent;
``callback`` the webhooks the sandbox posts; ``http`` the port that all share but mail and APNs."""


class Kind(StrEnum):
    """What goes wrong."""

    STATUS = "status"
    """Answer ``status`` (and ``code``) in the provider's own error shape, with ``retry_after`` if given."""
    DEAD_ADDRESS = "dead_address"
    """The address no longer exists: UNREGISTERED, 21614, 550 5.1.1; SES and SendGrid accept, and post a bounce."""
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
    DRIP = "drip"
    """Accept, then answer at one byte a second, its head included."""
    DELAY = "delay"
    """Wait ``seconds``, then go on as if nothing were; ``accept: true`` accepts first and waits then."""
    TRUNCATED = "truncated"
    """Accept, then break the answer off in the middle of its JSON."""
    ODD = "odd"
    """Accept, then answer 200 with a body that says something else."""
    UNDELIVERED = "undelivered"
    """SMS, SES and SendGrid: accept; the callback will say undelivered, with ``code`` if given (Twilio: 30003)."""
    EXPIRE_TOKENS = "expire_tokens"
    """At once, and only once: every bearer token given out so far expires, whichever provider's."""
    REFUSE = "refuse"
    """Of a whole port, for ``seconds`` from now: connections are ended as they come, before anything is said."""
    WRONG_NAME = "wrong_name"
    """APNs: the certificate of new connections is somebody else's."""
    REFUSED_STREAM = "refused_stream"
    """APNs: RST_STREAM with REFUSED_STREAM, without accepting; the connection stays."""
    GOAWAY_BEFORE = "goaway_before"
    """APNs: GOAWAY below this request's stream, which is not looked at; ``code`` is the reason."""
    GOAWAY_AFTER = "goaway_after"
    """APNs: accept, then GOAWAY at this request's stream and hang up, without an answer."""
    EMPTY = "empty"
    """APNs: ``status`` without a body."""
    DUPLICATE = "duplicate"
    """Callbacks: each is posted twice."""
    REORDER = "reorder"
    """Callbacks: the last status first."""
    FORGED = "forged"
    """Callbacks: signed with a wrong token."""
    LOST = "lost"
    """Callbacks: never posted."""
    LATE = "late"
    """Callbacks: posted ``seconds`` later, and signed then."""


AFTER = frozenset(
    {Kind.RESET_AFTER, Kind.SLOW, Kind.DRIP, Kind.TRUNCATED, Kind.ODD, Kind.UNDELIVERED, Kind.DELAY, Kind.GOAWAY_AFTER}
)
"""Kinds that let the request be accepted."""
OF_ALL = frozenset(
    {Kind.STATUS, Kind.DEAD_ADDRESS, Kind.RESET_BEFORE, Kind.RESET_AFTER, Kind.SILENCE, Kind.SLOW, Kind.DRIP}
    | {Kind.DELAY}
)
"""What every provider can suffer, whatever it speaks."""
OF_HTTP = OF_ALL | {Kind.HTML, Kind.TRUNCATED, Kind.ODD}
OF_CALLBACKS = frozenset({Kind.DUPLICATE, Kind.REORDER, Kind.FORGED, Kind.LOST, Kind.LATE})
OF_STREAMS = frozenset({Kind.REFUSED_STREAM, Kind.GOAWAY_BEFORE, Kind.GOAWAY_AFTER, Kind.EMPTY, Kind.WRONG_NAME})
"""What only HTTP/2 knows, or only APNs does."""
OF_PORTS = frozenset({Kind.REFUSE})
OF_APNS = OF_ALL | OF_STREAMS | OF_PORTS | {Kind.HTML, Kind.TRUNCATED}
OF_CONNECTIONS = OF_PORTS | {Kind.WRONG_NAME}
"""What happens to a connection, before there is a request that could suffer it."""
_TOLD_LATER: frozenset[str] = frozenset({"ses", "sendgrid"})
"""Providers that take mail for dead addresses: what bounces is told by an event."""
_CAN_SUFFER: dict[str, frozenset[Kind]] = {
    "callback": OF_CALLBACKS,
    "http": OF_PORTS,
    "smtp": OF_ALL | OF_PORTS,
    "apns": OF_APNS,
    "webhook": OF_HTTP - {Kind.DEAD_ADDRESS},  # its users are the app's own
    **dict.fromkeys(("twilio", "aliyun", "gateway", "ses", "sendgrid"), OF_HTTP | {Kind.UNDELIVERED}),
    **dict.fromkeys(("fcm", "huawei", "oppo", "vivo", "getui", "token"), OF_HTTP | {Kind.EXPIRE_TOKENS}),
}


def can_suffer(provider: str) -> frozenset[Kind]:
    """The kinds that a provider can be told to suffer."""
    return _CAN_SUFFER.get(provider, OF_HTTP)


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
        kinds = can_suffer(self.provider)
        if self.kind not in kinds:
            known = ", ".join(sorted(kinds))
            raise ValueError(f"{self.provider} cannot suffer {self.kind.value!r}; it can: {known}")
        return self

    @property
    def accepts(self) -> bool:
        """Whether the request is accepted all the same."""
        if self.kind is Kind.DEAD_ADDRESS:
            return self.provider in _TOLD_LATER
        return self.kind in AFTER or (self.kind is Kind.SILENCE and bool(self.accept))


class FaultBook:
    """The switches that are on, oldest first; a request suffers the first that fits it."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._entries: dict[int, tuple[Fault, Random]] = {}
        self._ends: dict[int, float] = {}
        self.hits: dict[int, int] = {}

    def add(self, fault: Fault) -> int:
        """Switch a fault on; its number takes it away again."""
        number = next(self._numbers)
        self._entries[number] = (fault, Random(fault.seed))
        if fault.kind is Kind.REFUSE:  # nobody could come in to switch it off
            self._ends[number] = time.monotonic() + fault.seconds
        self.hits[number] = 0
        return number

    def clear(self, number: int | None = None) -> None:
        """Switch one fault off, or all."""
        for each in [number] if number is not None else list(self._entries):
            self._entries.pop(each, None)
            self._ends.pop(each, None)
            self.hits.pop(each, None)

    def draw(self, provider: Provider, address: str) -> Fault | None:
        """What this request suffers, if anything; counts it."""
        return self._drawn(provider, address, lambda kind: kind not in OF_CONNECTIONS)

    def draw_connection(self, provider: Provider) -> Fault | None:
        """What this connection suffers, before anybody knows what it is for; counts it."""
        return self._drawn(provider, "", lambda kind: kind in OF_CONNECTIONS)

    def _drawn(self, provider: Provider, address: str, wanted: Callable[[Kind], bool]) -> Fault | None:
        self._expire()
        for number, (fault, chance) in self._entries.items():
            if fault.provider != provider or not wanted(fault.kind) or not address.startswith(fault.match):
                continue
            if chance.random() < fault.probability:
                self._used(number, fault)
                return fault
        return None

    def listed(self) -> Iterator[dict[str, Any]]:
        """The switches that are on, as JSON."""
        self._expire()
        for number, (fault, _) in self._entries.items():
            yield {"number": number, "hits": self.hits[number], **fault.model_dump(mode="json", exclude_defaults=True)}

    def _expire(self) -> None:
        for number in [number for number, end in self._ends.items() if end <= time.monotonic()]:
            self.clear(number)

    def _used(self, number: int, fault: Fault) -> None:
        self.hits[number] += 1
        if fault.times is not None and self.hits[number] >= fault.times:
            self.clear(number)
