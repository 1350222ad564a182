"""Deliberately broken variants of a victim: each breaks one promise as naive systems do, and the checker catches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import datetime, timedelta
from unittest import mock
from uuid import uuid4

from orchestrator.channel.base import Envelope
from orchestrator.daemon import restoring
from orchestrator.dispatch import flights
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger import lease, place, recover
from orchestrator.ledger.states import State
from orchestrator.policy import gate
from orchestrator.policy.decide import OBJECTIONS
from orchestrator.policy.facts import Facts, Terms
from orchestrator.policy.gate import Leave, Verdict
from orchestrator.policy.resolver import Opening, Send

Variant = Callable[[], AbstractContextManager[object]]


@contextmanager
def no_fence() -> Iterator[None]:
    """Nobody asks whether a worker's lease has run out."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(lease, "check", return_value=None))
        stack.enter_context(mock.patch.object(Worker, "alive", return_value=True))
        stack.enter_context(mock.patch.object(flights, "STALE_SECONDS", 1e9))
        stack.enter_context(mock.patch.object(flights, "envelope_of", _begins_whenever(flights.envelope_of)))
        yield


def _begins_whenever(real: Callable[..., Envelope]) -> Callable[..., Envelope]:
    """Without the end of the lease, by which a request has to begin: else a beat must come first to be caught."""
    return lambda item, ttl, ack="", _begin_by=0.0: real(item, ttl, ack)


def send_again() -> AbstractContextManager[object]:
    """A recovery that puts back whatever a dead worker had on its way, text messages and mail too."""
    real, everything = recover._move, dict.fromkeys(("fcm", "twilio", "mail"), True)
    return mock.patch.object(recover, "_move", lambda row, now, _resend: real(row, now, everything))


def planned_window() -> AbstractContextManager[object]:
    """A window that is asked when planning alone; what is due leaves, whatever the time is by then."""

    def late(facts: Facts, _terms: Terms, _door: Opening, now: datetime) -> Verdict:
        return Leave(State.HELD_OUT, "holdout") if facts.held_out else Send(now + timedelta(hours=1))

    kept = tuple(rule for rule in gate.RULES if rule[0] not in {"late", "window"})
    return mock.patch.object(gate, "RULES", (*kept, ("window", late)))


def trusting() -> AbstractContextManager[object]:
    """A door that trusts the plan: who has refused since is sent to."""
    refusals = {reason for reason, _ in OBJECTIONS}
    return mock.patch.object(gate, "RULES", tuple(rule for rule in gate.RULES if rule[0] not in refusals))


def no_guard() -> AbstractContextManager[object]:
    """A daemon that takes whatever database it finds for the latest one."""
    return mock.patch.object(restoring, "behind", return_value=[])


def elsewhere() -> AbstractContextManager[object]:
    """Not broken: a process on a machine of its own, whose end nobody can see, as far as it and the others can tell."""
    return mock.patch.object(place, "here", return_value=f"elsewhere/{uuid4().hex}")


VARIANTS: Mapping[str, Variant] = {
    "": nullcontext,
    "no_fence": no_fence,
    "send_again": send_again,
    "planned_window": planned_window,
    "trusting": trusting,
    "no_guard": no_guard,
}
