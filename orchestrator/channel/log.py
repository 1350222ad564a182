"""A channel that sends nothing: it writes what would be sent, one JSON line a message."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from orchestrator.channel.base import (
    ANY_KIND,
    Ambiguity,
    Channel,
    EmailPayload,
    Envelope,
    Inquiry,
    Outcome,
    OutcomeClass,
    Payload,
    PushPayload,
)
from orchestrator.channel.options import problem, read_options
from orchestrator.channel.rules import unsendable
from orchestrator.clock import Clock, SystemClock
from orchestrator.errors import ConfigError


class LogOptions(BaseModel):
    """Where the lines go, and which channel this account stands for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path
    channel: Literal["push", "sms", "email", "inbox", "webhook"] = "push"


def open_channel(account: str, options: Mapping[str, Any], callback_url: str) -> Channel:
    """The plugin: a file instead of a provider."""
    del callback_url
    return LogChannel(account, read_options(LogOptions, account, options), SystemClock())


class LogChannel:
    """Appends to one file; every line is whole and flushed before ``send`` answers."""

    provider = "log"
    ambiguity = Ambiguity.RESEND

    def __init__(self, account: str, options: LogOptions, clock: Clock) -> None:
        self.channel: str = options.channel
        self.kinds = ANY_KIND
        self.timeout = timedelta(seconds=5)
        self._clock = clock
        try:
            options.file.parent.mkdir(parents=True, exist_ok=True)
            self._file = options.file.open("ab", buffering=0)
        except OSError as error:
            raise ConfigError([problem(account, "file", f"cannot write {options.file}: {error.strerror}")]) from None

    async def send(self, envelope: Envelope) -> Outcome:
        """Write one line."""
        try:
            self._file.write(self._line(envelope))
        except (OSError, ValueError):  # disk full, or closed
            return Outcome(OutcomeClass.RETRY, code="file", may_have_left=False)
        except TypeError:
            return unsendable(["half of a character (a lone surrogate) in the text"])
        return Outcome(OutcomeClass.ACCEPTED, code="written", provider_id=f"log-{envelope.message_id}")

    def problems(self, payload: Payload) -> list[str]:
        """A file takes everything."""
        del payload
        return []

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        """A written line is certain at once: there is nothing to ask."""
        del inquiry
        return None

    async def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _line(self, envelope: Envelope) -> bytes:
        line = {
            "time": self._clock.now(),
            "message_id": envelope.message_id,
            "attempt": envelope.attempt,
            "to": f"…{envelope.address[-4:]}",
            "ttl_s": int(envelope.ttl.total_seconds()),
            "collapse_key": envelope.collapse_key,
            **_content(envelope.payload),
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _content(payload: Payload) -> dict[str, Any]:
    if isinstance(payload, PushPayload):
        return {
            "title": payload.title,
            "body": payload.body,
            "link": payload.link,
            "image": payload.image,
            "data": dict(payload.data),
        }
    if isinstance(payload, EmailPayload):
        return {"subject": payload.subject, "text": payload.text, "html": payload.html}
    return {"body": payload.body}
