"""Delivering alerts to a webhook and a mailbox: at least once, under the same id each time."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from pathlib import Path

import orjson

from orchestrator.channel.base import EmailPayload, Envelope, OutcomeClass
from orchestrator.channel.outward import wrong_target
from orchestrator.channel.standard_webhooks import post, signing_key
from orchestrator.clock import Clock
from orchestrator.daemon.alert_words import words
from orchestrator.daemon.watch import Limits
from orchestrator.daemon.wiring import open_account_channel
from orchestrator.errors import ConfigError, InputError, Problem
from orchestrator.ledger.alerts import Alert, tried, waiting_alerts
from orchestrator.ledger.ids import RUN_SHIFT
from orchestrator.settings import AlertSettings, Settings
from orchestrator.store import Store

log = logging.getLogger(__name__)

MAIL_TTL = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Places:
    """Where alerts go, checked. Never printed: a webhook's address is often its own secret."""

    webhook: str
    key: bytes | None
    mailbox: str
    account: str


def places_of(settings: Settings) -> Places | None:
    """Where alerts go; None when nowhere.

    Raises:
        ConfigError: a file that cannot be read, an address that nothing is posted to, an account that does not mail.
    """
    chosen = settings.alerts
    if chosen is None:
        return None
    webhook = chosen.webhook.get_secret_value() if chosen.webhook else _read(chosen.webhook_file, "webhook_file")
    if webhook and (reason := wrong_target(webhook)):
        raise _wrong("webhook", reason)
    secret = _read(chosen.secret_file, "secret_file")
    try:
        key = signing_key(secret) if secret else None
    except InputError as error:
        raise _wrong("secret_file", error.message) from None
    account = settings.accounts.get(chosen.account or "")
    if chosen.account and (account is None or account.channel != "email"):
        raise _wrong("account", "has to name an account of channel email")
    return Places(webhook, key, chosen.mailbox or "", chosen.account or "")


def limits_of(chosen: AlertSettings) -> Limits:
    """From when on operators hear of it."""
    return Limits(chosen.unknown, chosen.stuck_after, chosen.unsubscribes, chosen.complaints)


def _read(path: Path | None, field: str) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise _wrong(field, f"cannot read {path}") from None


def _wrong(field: str, problem: str) -> ConfigError:
    return ConfigError([Problem("orchestrator.yaml", 0, f"alerts.{field}", problem)])


@dataclass(frozen=True, slots=True)
class Herald:
    """Delivers what waits. ``deliver`` is called outside the event loop."""

    store: Store
    clock: Clock
    settings: Settings
    places: Places

    def deliver(self) -> None:
        """Try everything that is due."""
        with self.store.read() as connection:
            waiting = waiting_alerts(connection, self.clock.machine(), self.clock.now())
        if waiting:
            asyncio.run(self._deliver(waiting))

    async def _deliver(self, waiting: Sequence[Alert]) -> None:
        for one in waiting:
            posted = one.posted or (bool(self.places.webhook) and await self._post(one))
            mailed = one.mailed or (bool(self.places.mailbox) and await self._mail(one))
            done = (posted or not self.places.webhook) and (mailed or not self.places.mailbox)
            with self.store.write() as connection:
                tried(connection, one, self.clock.machine(), posted=posted, mailed=mailed, done=done)

    async def _post(self, one: Alert) -> bool:
        body = orjson.dumps(
            {"type": one.kind, "timestamp": one.at, "data": {"key": one.key, "text": words(one), **one.facts}}
        )
        problem = await post(self.places.webhook, self.places.key, one.key, self.clock.machine(), body)
        return self._heard(one, "webhook", problem)

    async def _mail(self, one: Alert) -> bool:
        channel = open_account_channel(self.settings, self.places.account)
        said = words(one)
        html = "".join(f"<p>{escape(text)}</p>" for text in said.values())
        payload = EmailPayload(f"[orchestrator] {said['en']}", "\n\n".join(said.values()), html)
        number = str(secrets.randbelow((1 << RUN_SHIFT) - 1) + 1)  # of run 0, as a test: no message of the ledger
        try:
            outcome = await channel.send(
                Envelope(number, 1, self.places.mailbox, "mailbox", payload, MAIL_TTL, f"alert-{number}")
            )
        finally:
            await channel.close()
        return self._heard(one, "mailbox", "" if outcome.kind is OutcomeClass.ACCEPTED else outcome.code or "refused")

    @staticmethod
    def _heard(one: Alert, place: str, problem: str) -> bool:
        if problem:
            log.warning("alert_not_delivered", extra={"key": one.key, "place": place, "why": problem})
        return not problem
