"""Settling a batch of answers: states and attempts, and what they mean for addresses, people and accounts."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, TextClause, text

from orchestrator import metrics
from orchestrator.audience import people
from orchestrator.channel.base import OutcomeClass, Scope
from orchestrator.clock import Clock, to_micros
from orchestrator.dispatch.account import Account
from orchestrator.dispatch.burial import bury, stop_on_surge
from orchestrator.dispatch.feed import show_accepted
from orchestrator.dispatch.outcome import NOT_BEGUN, Answer, settlement
from orchestrator.dispatch.rerouting import carriers_of, follow_addresses
from orchestrator.dispatch.wear import worn_out
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.settle import Settlement, on_their_way, settle, settled_before
from orchestrator.ledger.states import State
from orchestrator.ledger.stops import stop_account
from orchestrator.plan.rules import seen_since
from orchestrator.policy import predicates
from orchestrator.policy.carriers import UNKNOWN, Carriers, Routing, carried_sql

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Settler:
    """Writes answers. Called from the worker's database threads."""

    clock: Clock
    accounts: Mapping[str, Account]
    routing: Routing = UNKNOWN
    chance: random.Random = field(default_factory=random.Random)
    again: bool = False
    """Whether the database may have taken answers already, though it did not say so."""

    def settle(self, connection: Connection, holder: Holder, answers: Sequence[Answer]) -> None:
        """Settle a batch in the caller's transaction.

        Raises:
            LeaseLostError: recovery has these messages; nothing is written.
        """
        now = self.clock.now()
        if self.again:
            answers = _untold(connection, holder, answers)
        settled = [self._settlement(connection, answer, now) for answer in answers]
        written = settle(connection, holder, now, settled)
        follow_addresses(connection, self.routing, [item.id for item in settled if item.address_id is not None])
        show_accepted(connection, self.accounts, answers)
        _count(self.accounts, answers, written)

    def _settlement(self, connection: Connection, answer: Answer, now: datetime) -> Settlement:
        account = self.accounts[answer.account]
        base = settlement(answer, account.channel.ambiguity, self.clock, self.chance)
        kind = answer.outcome.kind
        account.storm.record(
            answer.message.address_id,
            dead=kind is OutcomeClass.DROP_ADDRESS,
            accepted=kind is OutcomeClass.ACCEPTED,
            code=answer.outcome.code,
        )
        machine, provider = self.clock.machine(), account.channel.provider
        stop_on_surge(connection, answer.account, account.storm, machine, now, provider)
        match kind:
            case OutcomeClass.DROP_ADDRESS:
                return self._dead(connection, answer, account, base, now)
            case OutcomeClass.DROP_MESSAGE if self._worn(connection, answer, now):
                return self._dead(connection, answer, account, base, now)
            case OutcomeClass.SUPPRESS:
                _suppress(connection, answer, account, now)
            case OutcomeClass.STOP_CHANNEL if answer.outcome.scope is not Scope.ADDRESS:
                stop_account(connection, answer.account, answer.outcome.code or "stopped", machine, now, provider)
                log.error("account_stopped", extra={"account": answer.account, "code": answer.outcome.code})
            case _:
                pass
        return base

    def _worn(self, connection: Connection, answer: Answer, now: datetime) -> bool:
        """Whether a failure counted against the address was one too many."""
        message = answer.message
        counted = answer.outcome.scope is Scope.ADDRESS
        return counted and worn_out(connection, message.address_id, answer.outcome.code, now, message.id)

    def _dead(
        self, connection: Connection, answer: Answer, account: Account, base: Settlement, now: datetime
    ) -> Settlement:
        """End the address (or, in a storm, put it aside), and move on to the user's next one."""
        said = answer.outcome
        bury(connection, account.name, account.storm, answer.message.address_id, now, said.code, said.dead_since)
        message, channel = answer.message, account.channel.channel
        carriers = carriers_of(connection, self.routing, message.id)
        fresh = to_micros(seen_since(channel, now))
        wanted = {"user": message.user_id, "channel": channel, "now": to_micros(now), "seen_since": fresh}
        owed = {"used": message.address_id, "message": message.id, "run": message.run_id, "step": message.step}
        following = connection.execute(_next_sql(carriers), {**wanted, **owed}).scalar()
        if following is None:
            return base._replace(reason="address_dead")
        return base._replace(state=State.PLANNED, reason="next_address", due_at=now, address_id=following)


def _untold(connection: Connection, holder: Holder, answers: Sequence[Answer]) -> Sequence[Answer]:
    """Without what is written already, and without what was to be marked and is not."""
    before = settled_before(connection, holder, [(answer.message.id, answer.n) for answer in answers])
    begun = [answer.message.id for answer in answers if answer.outcome.code == NOT_BEGUN]
    unmarked = set(begun) - on_their_way(connection, holder, begun)
    return [one for one in answers if (one.message.id, one.n) not in before and one.message.id not in unmarked]


def _count(accounts: Mapping[str, Account], answers: Sequence[Answer], settled: Sequence[Settlement]) -> None:
    """The metrics of a batch, all of an account's at once."""
    if settled:
        metrics.settle_size.observe(len(settled))
    for name in {answer.account for answer in answers}:
        waits = [
            (answer.started_at - answer.message.due_at).total_seconds()
            for answer in answers
            if answer.account == name and answer.n == 1 and answer.outcome.code != NOT_BEGUN
        ]
        metrics.queue_age_seconds.labels(accounts[name].channel.channel).observe_all(waits)
        accounts[name].tell()
    ends = Counter((item.account, item.state) for item in settled if item.state is not State.PLANNED)
    for (account, state), count in ends.items():
        metrics.messages.labels(accounts[account].channel.channel, state).inc(count)


_BUT_NOT = f"AND choice.id <> :used {predicates.not_used_by_another(':message', ':run', ':step')}"
_COUNTRY = "(SELECT member.country FROM member WHERE member.run_id = :run AND member.user_id = :user)"


@cache
def _next_sql(carriers: Carriers) -> TextClause:
    carried = carried_sql(carriers, "choice", _COUNTRY)
    return text(f"SELECT {predicates.best_address(':user', f'{_BUT_NOT} {carried}')}")


_ADDRESS = text("SELECT value FROM address WHERE id = :id")


def _suppress(connection: Connection, answer: Answer, account: Account, now: datetime) -> None:
    value = connection.execute(_ADDRESS, {"id": answer.message.address_id}).scalar()
    channel, source = account.channel.channel, account.channel.provider
    user = answer.message.user_id
    people.suppress_all(
        connection,
        [
            people.Suppressed(channel, "provider", source, now, user_id=user),
            *([people.Suppressed(channel, "provider", source, now, address=value)] if value else []),
        ],
    )
