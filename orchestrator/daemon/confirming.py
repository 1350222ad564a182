"""The mails that ask for the second step of double opt-in: through the first email account, outside the ledger."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from orchestrator.campaign.topics import Topic, topics_in
from orchestrator.channel.base import Channel, EmailPayload, Envelope, Outcome, OutcomeClass
from orchestrator.clock import Clock
from orchestrator.content.confirming import confirmation, confirmation_mail
from orchestrator.content.links import Kind
from orchestrator.content.templates import TemplateSet
from orchestrator.daemon.wiring import links_of, open_account_channel
from orchestrator.dispatch.asking import Waiting, begin, take_back, waiting
from orchestrator.errors import OrchestratorError, RenderError, SkipMessage
from orchestrator.ledger.ids import RUN_SHIFT
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.policy.allowed import allowed, only_to
from orchestrator.settings import Settings
from orchestrator.store import Store

log = logging.getLogger(__name__)

PAGE = 200
LONGEST_SECONDS = 10.0
"""What is not sent within that waits for the next tick: the daemon may have to end."""
TTL = timedelta(days=1)
_NOT_TAKEN = frozenset({OutcomeClass.RETRY, OutcomeClass.RETRY_AFTER, OutcomeClass.STOP_CHANNEL})


@dataclass(slots=True)
class Asker:
    """Asks whoever waits to be asked. ``ask`` is called outside the event loop, by one thread at a time."""

    store: Store
    clock: Clock
    settings: Settings
    _told: str = field(default="", init=False)

    def ask(self) -> None:
        """One mail to each, for as long as a tick may take."""
        if next(self._waiting(), None) is None:
            return
        account = next((name for name, one in self.settings.accounts.items() if one.channel == "email"), None)
        if account is None:
            self._say("there is no account of channel email")
            return
        with self.store.read() as connection:
            stopped = account in stopped_accounts(connection)
        if stopped:
            self._say(f"account {account} is stopped")
            return
        try:
            mail, topics = confirmation_mail(self.settings.templates), topics_in(self.settings.campaigns)
        except OrchestratorError as error:
            self._say(error.message)
            return
        self._told = ""
        asyncio.run(self._ask(account, mail, topics))

    def _say(self, why: str) -> None:
        """Once, not every tick."""
        if why != self._told:
            log.warning("confirmations_wait", extra={"why": why})
        self._told = why

    def _waiting(self) -> Iterator[Waiting]:
        listed, after = only_to(self.settings.only_to), 0
        while True:
            with self.store.read() as connection:
                found = waiting(connection, self.clock.now(), after, PAGE)
            yield from (one for one in found if allowed(listed, str(one.user["id"]), one.address))
            if len(found) < PAGE:
                return
            after = found[-1].id

    async def _ask(self, account: str, mail: TemplateSet, topics: dict[str, Topic]) -> None:
        channel = open_account_channel(self.settings, account)
        until = self.clock.monotonic() + min(LONGEST_SECONDS, PAGE / self.settings.accounts[account].rate)
        try:
            for one in self._waiting():
                payload = self._composed(one, mail, topics.get(one.topic) or Topic(one.topic))
                if payload is not None and not await self._send(channel, one, payload):
                    return
                if self.clock.monotonic() > until:
                    return
        finally:
            await channel.close()

    def _composed(self, one: Waiting, mail: TemplateSet, topic: Topic) -> EmailPayload | None:
        language = str(one.user["locale"] or "en").replace("_", "-").partition("-")[0].lower()
        link = links_of(self.settings).address(Kind.CONFIRM, one.id)
        try:
            return confirmation(mail, one.user, (topic.name, topic.titled(language)), link)
        except (RenderError, SkipMessage) as error:
            log.warning("confirmation_not_composed", extra={"request": one.id, "why": error.message})
            return None

    async def _send(self, channel: Channel, one: Waiting, payload: EmailPayload) -> bool:
        """Whether to go on with the next."""
        with self.store.write() as connection:
            begun = begin(connection, one, self.clock.now())
        if not begun:
            return True
        number = secrets.randbelow((1 << RUN_SHIFT) - 1) + 1  # of run 0, as a test: no message of the ledger
        outcome = await channel.send(Envelope(str(number), 1, one.address, one.kind, payload, TTL, f"confirm-{one.id}"))
        return self._settled(one, outcome)

    def _settled(self, one: Waiting, outcome: Outcome) -> bool:
        if outcome.kind is not OutcomeClass.ACCEPTED:
            log.warning("confirmation_not_taken", extra={"request": one.id, "kind": outcome.kind, "code": outcome.code})
        if outcome.kind in _NOT_TAKEN:
            with self.store.write() as connection:
                take_back(connection, one, self.clock.now(), outcome.retry_after)
        return outcome.kind is not OutcomeClass.STOP_CHANNEL
