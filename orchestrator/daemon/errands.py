"""The daemon's smaller periodic work: what is old, seeds, confirmation mails, best hours, alerts, the guard's file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.clock import Clock
from orchestrator.daemon.alerting import Herald, Places, limits_of
from orchestrator.daemon.confirming import Asker
from orchestrator.daemon.seeds import Sower
from orchestrator.daemon.watch import SLOWLY, watch
from orchestrator.daemon.wiring import habits_of
from orchestrator.ledger.retention import forget_events, forget_messages
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.store.blocks import keep_blocks
from orchestrator.store.guard import Guard
from orchestrator.timing.best_hours import refresh

AT_A_TIME = 1.0
"""Seconds of the machine that the refresh of best hours takes of a tick: messages are not to wait for it."""


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

    def __post_init__(self) -> None:
        """One for all ticks: it says what is wrong once."""
        self._asker = Asker(self.store, self.clock, self.settings)

    def works(self) -> tuple[Callable[[], None], ...]:
        """What there is to do in this deployment."""
        always = (self.seeds, self.keep_guard, self.confirmations, self.best_hours)
        return always if self.places is None else (*always, self.alerts)

    def room(self) -> None:
        """The sweeper's: make room for the runs to come, and forget those long over, and old events."""
        keep_blocks(self.store)
        if self.settings.keep_messages is not None:
            forget_messages(self.store, self.clock.now(), self.settings.keep_messages)
        if self.settings.keep_events is not None:
            forget_events(self.store, self.clock.now(), self.settings.keep_events)

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
            self.guard.sync()

    def alerts(self) -> None:
        """Look for trouble, and tell of it."""
        assert self.places is not None
        assert self.settings.alerts is not None
        guardrails = self._looks % SLOWLY == 0
        self._looks += 1
        watch(self.store, self.clock, limits_of(self.settings.alerts), guardrails=guardrails)
        Herald(self.store, self.clock, self.settings, self.places).deliver()
