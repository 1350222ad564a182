"""The parts of one sandbox, together."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.sandbox.accepted import AcceptedLog
from orchestrator.sandbox.credentials import Credentials, open_credentials
from orchestrator.sandbox.faults import FaultBook
from orchestrator.sandbox.push.oauth import Issuer
from orchestrator.sandbox.sms.replies import Replies
from orchestrator.sandbox.webhooks import Webhooks

REFUSALS_KEPT = 50


@dataclass(frozen=True, slots=True)
class World:
    """What the endpoints work with.

    ``callbacks`` has, by provider, where those call back that are told so in their consoles and not in the request.
    ``app`` is the deployment's web API, which the apps on the phones report to.
    """

    credentials: Credentials
    issuer: Issuer
    faults: FaultBook
    log: AcceptedLog
    replies: Replies
    webhooks: Webhooks
    callback_delay: float
    counters: dict[str, Counter[str]]
    app: str
    callbacks: dict[str, str] = field(default_factory=dict)
    refusals: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=REFUSALS_KEPT))

    @property
    def callback_inbound(self) -> str | None:
        """Where Twilio's replies are posted, if anywhere."""
        return self.callbacks.get("twilio")

    def count(self, provider: str, what: str) -> None:
        """One more of something."""
        self.counters.setdefault(provider, Counter())[what] += 1

    def refused(self, provider: str, to: str, status: int, words: str) -> None:
        """Remember a refusal, for whoever wonders why nothing arrives."""
        entry = {"time": time.time(), "provider": provider, "to": to[:200], "status": status, "words": words[:300]}
        self.refusals.appendleft(entry)

    def close(self) -> None:
        """Give up the files."""
        self.log.close()
        self.replies.close()


def open_world(
    folder: Path, port: int, delay: float, token_lifetime: int, callbacks: Mapping[str, str], app: str
) -> World:
    """The sandbox that lives in ``folder``, as it was left.

    Raises:
        LogError: the folder is in use, or what is in it is not ours.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = AcceptedLog(folder / "accepted.jsonl")
    credentials = open_credentials(folder, port)
    faults = FaultBook()
    counters: dict[str, Counter[str]] = {"callback": Counter()}

    def posted(what: str) -> None:
        counters["callback"][what] += 1

    return World(
        credentials=credentials,
        issuer=Issuer(credentials, token_lifetime),
        faults=faults,
        log=log,
        replies=Replies(folder / "replies.jsonl"),
        webhooks=Webhooks(faults, delay, posted),
        callback_delay=delay,
        counters=counters,
        app=app,
        callbacks=dict(callbacks),
    )
