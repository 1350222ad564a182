"""An APNs far end, and a channel that sends to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from orchestrator.channel.base import (
    Envelope,
    Outcome,
    OutcomeClass,
    PushPayload,
)
from orchestrator.channel.http2_connect import client_context
from orchestrator.channel.push.apns import ApnsChannel, Servers
from orchestrator.channel.push.apns_token import Signer
from orchestrator.clock import ManualClock
from tests.channel.http2_end import (
    Act,
    Http2End,
    answers,
    refuses,
)

K = OutcomeClass
OK = answers(200)
DEVICE = "5e1f" * 16
PAYLOAD = PushPayload(
    "Canarytitle",
    "Canarybody noodles",
    link="https://app.example/x",
    image="https://i.example/n.png",
    data={"coupon": "C1"},
)
ENVELOPE = Envelope(
    "4711",
    1,
    DEVICE,
    "apns",
    PAYLOAD,
    timedelta(minutes=90),
    "run-7-user-9",
    {"environment": "production"},
    ack="A" * 44,
)
SIGNER = Signer("TEAM567890", "KEY4567890", generate_private_key(SECP256R1()))
TOPIC = "com.example.app"
MINUTE = timedelta(minutes=1)


class Place:
    """Where a test happens."""

    def __init__(self, tls: ssl.SSLContext, ca_file: Path, clock: ManualClock) -> None:
        self.tls = tls
        self.context = client_context(ca_file)
        self.clock = clock

    def servers(self, far: Http2End, other: Http2End | None = None, *, patience: float, connections: int) -> Servers:
        sandbox = (other or far).url
        timeout = timedelta(seconds=patience)
        return Servers(far.url, sandbox, "production", self.context, connections, timeout)

    @asynccontextmanager
    async def opened(
        self, *acts: Act, patience: float = 2.0, connections: int = 1
    ) -> AsyncIterator[tuple[ApnsChannel, Http2End]]:
        async with Http2End(self.tls).plays(*acts) as far:
            servers = self.servers(far, patience=patience, connections=connections)
            channel = ApnsChannel(SIGNER, TOPIC, servers, self.clock)
            try:
                yield channel, far
            finally:
                await channel.close()

    def sent(self, *acts: Act, patience: float = 2.0, **changed: Any) -> tuple[Outcome, int]:
        """The outcome, and how many requests carried the message."""

        async def main() -> tuple[Outcome, int]:
            async with self.opened(*acts, patience=patience) as (channel, far):
                outcome = await channel.send(replace(ENVELOPE, **changed))
                return outcome, len(far.requests)

        return asyncio.run(main())


# Every row of providers §2: status, reason, class; whatever else the row says stands in tests below.
ROWS = [
    (400, "BadDeviceToken", K.DROP_ADDRESS),
    (400, "DeviceTokenNotForTopic", K.DROP_ADDRESS),
    (400, "BadTopic", K.STOP_CHANNEL),
    (400, "MissingTopic", K.STOP_CHANNEL),
    (400, "TopicDisallowed", K.STOP_CHANNEL),
    (400, "BadCollapseId", K.DROP_MESSAGE),
    (400, "BadExpirationDate", K.DROP_MESSAGE),
    (400, "BadMessageId", K.DROP_MESSAGE),
    (400, "BadPriority", K.DROP_MESSAGE),
    (400, "InvalidPushType", K.DROP_MESSAGE),
    (400, "DuplicateHeaders", K.DROP_MESSAGE),
    (400, "MissingDeviceToken", K.DROP_MESSAGE),
    (400, "PayloadEmpty", K.DROP_MESSAGE),
    (400, "IdleTimeout", K.RETRY),
    (403, "ExpiredProviderToken", K.STOP_CHANNEL),
    (403, "InvalidProviderToken", K.STOP_CHANNEL),
    (403, "MissingProviderToken", K.STOP_CHANNEL),
    (403, "BadCertificate", K.STOP_CHANNEL),
    (403, "BadCertificateEnvironment", K.STOP_CHANNEL),
    (403, "Forbidden", K.STOP_CHANNEL),
    (403, "UnrelatedKeyIdInToken", K.STOP_CHANNEL),
    (403, "BadEnvironmentKeyIdInToken", K.STOP_CHANNEL),
    (403, "BadEnvironmentKeyInToken", K.STOP_CHANNEL),
    (404, "BadPath", K.DROP_MESSAGE),
    (405, "MethodNotAllowed", K.DROP_MESSAGE),
    (410, "Unregistered", K.DROP_ADDRESS),
    (410, "ExpiredToken", K.DROP_ADDRESS),
    (413, "PayloadTooLarge", K.DROP_MESSAGE),
    (429, "TooManyRequests", K.RETRY_AFTER),
    (429, "TooManyProviderTokenUpdates", K.RETRY_AFTER),
    (500, "InternalServerError", K.RETRY),
    (503, "ServiceUnavailable", K.RETRY),
    (503, "Shutdown", K.RETRY),
]


BAD = refuses(400, "BadDeviceToken")
