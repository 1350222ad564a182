"""The daemon's smaller periodic work: what is old, seeds, confirmation mails, best hours, alerts, the guard's file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import text

from orchestrator.campaign.version import read_bundle
from orchestrator.clock import Clock
from orchestrator.daemon.alerting import Herald, Places, limits_of
from orchestrator.daemon.confirming import Asker
from orchestrator.daemon.seeds import Sower
from orchestrator.daemon.watch import SLOWLY, watch
from orchestrator.daemon.wiring import habits_of
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.retention import forget_events, forget_messages
from orchestrator.settings import Settings
from orchestrator.store import AWAY, Store
from orchestrator.store.blocks import NOT_OURS, OWN_THEM, keep_blocks, ours
from orchestrator.store.guard import Guard
from orchestrator.timing.best_hours import refresh
from orchestrator.tracking.attribution import GRACE

log = logging.getLogger(__name__)

AT_A_TIME = 1.0
"""Seconds of the machine that the refresh of best hours takes of a tick: messages are not to wait for it."""

_VERSIONS = text("SELECT DISTINCT version FROM campaign WHERE state <> 'stopped'")


@dataclass(slots=True)
class Errands:
    """Each is a plain function, called every tick on a thread."""

    store: Store
    clock: Clock
    settings: Settings
    places: Places | None
    guard: Guard | None
    _looks: int = field(default=0, init=False)
    _asker: Asker = field(init=False)
    _disowned: bool = field(default=False, init=False)
    """Whether it was said that the tables belong to another role."""

    def __post_init__(self) -> None:
        """One for all ticks: it says what is wrong once."""
        self._asker = Asker(self.store, self.clock, self.settings)

    def works(self) -> tuple[Callable[[], None], ...]:
        """What there is to do in this deployment."""
        always = (self.seeds, self.keep_guard, self.confirmations, self.best_hours)
        return always if self.places is None else (*always, self.alerts)

    def room(self) -> None:
        """The sweeper's: make room for the runs to come, and forget those long over, and old events."""
        failed = list[Exception]()
        for work in (self._blocks, self._messages, self._events):
            try:
                work()
            except AWAY as error:  # one's trouble is not the others'
                failed.append(error)
        if failed:
            raise failed[0]

    def _blocks(self) -> None:
        keep_blocks(self.store)
        if not self._disowned:
            with self.store.read() as connection:
                self._disowned = not ours(connection)
            if self._disowned:
                log.error("blocks_not_ours", extra={"error": NOT_OURS, "next": OWN_THEM})

    def _messages(self) -> None:
        if self.settings.keep_messages is not None:
            forget_messages(self.store, self.clock.now(), max(self.settings.keep_messages, self._asked_for()))

    def _events(self) -> None:
        if self.settings.keep_events is not None:
            forget_events(self.store, self.clock.now(), self.settings.keep_events)

    def _asked_for(self) -> timedelta:
        """How long after a run is over a campaign still asks who its members were: for its goal, and for a trigger."""
        asked = timedelta(0)
        with self.store.read() as connection:
            for version in connection.execute(_VERSIONS).scalars():
                with suppress(OrchestratorError):  # this release cannot read it: the worker says so
                    campaign = read_bundle(connection, version).campaign
                    goal, trigger = campaign.goal, campaign.schedule.trigger
                    spans = [goal.within, *([goal.conversion.within] if goal.conversion else [])]
                    asked = max(asked, *(span + GRACE for span in spans), trigger.again_after if trigger else asked)
        return asked

    def seeds(self) -> None:
        """Send the seeds of new runs their copies."""
        Sower(self.store, self.clock, self.settings).sow()

    def confirmations(self) -> None:
        """Ask people to confirm what they agreed to, where a topic wants that."""
        self._asker.ask()

    def best_hours(self) -> None:
        """Learn a little of when people open the app."""
        until = self.clock.monotonic() + AT_A_TIME
        refresh(self.store, self.clock.now(), habits_of(self.settings), lambda _: self.clock.monotonic() < until)

    def keep_guard(self) -> None:
        """Bring the guard's last lines to the disk."""
        if self.guard is not None:
            self.guard.keep()

    def alerts(self) -> None:
        """Look for trouble, and tell of it."""
        assert self.places is not None
        assert self.settings.alerts is not None
        guardrails = self._looks % SLOWLY == 0
        self._looks += 1
        watch(self.store, self.clock, limits_of(self.settings.alerts), guardrails=guardrails)
        Herald(self.store, self.clock, self.settings, self.places).deliver()
