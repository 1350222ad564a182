"""Seeds: colleagues who get a copy of every arm of a run as soon as it is planned, outside the ledger, never counted.

At most once a run: the line of history that says so is committed before the first copy leaves.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from sqlalchemy import Connection, text

from orchestrator.audience.facts import facts_of
from orchestrator.audience.people import user_ids
from orchestrator.campaign.version import Bundle, read_bundle
from orchestrator.clock import Clock
from orchestrator.daemon.trial import account_for, best_address, carriers_for, refuse_stopped, send_now
from orchestrator.dispatch.trial import Choice, Target, target_of, write_down
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.runs import Run, runs_in
from orchestrator.ledger.states import RunState
from orchestrator.ledger.transition import Transition, record
from orchestrator.policy.allowed import only_to
from orchestrator.settings import Settings
from orchestrator.store import Store

log = logging.getLogger(__name__)

SEEDED = "seeded"

_OPEN = text("""
    SELECT 1 FROM campaign WHERE name = :campaign AND state = 'running' AND NOT EXISTS (
        SELECT 1 FROM transition WHERE transition.campaign = :campaign AND run_id = :run AND new = 'seeded')""")


@dataclass(frozen=True, slots=True)
class Sower:
    """Sends the seeds of active runs their copies."""

    store: Store
    clock: Clock
    settings: Settings

    def sow(self) -> None:
        """Every active run that has not been sent to its seeds yet."""
        with self.store.read() as connection:
            bundles = [(item, _readable(connection, item)) for item in runs_in(connection, RunState.ACTIVE)]
        for item, bundle in bundles:
            if bundle is None:
                continue
            names = list(dict.fromkeys([*bundle.campaign.seeds, *self.settings.seeds]))
            if names and self._begin(item, names):
                self._send(item, bundle, names)

    def _begin(self, item: Run, names: list[str]) -> bool:
        with self.store.write() as connection:
            if connection.execute(_OPEN, {"campaign": item.campaign, "run": item.id}).first() is None:
                return False
            said = f"{len(names)} seeds"
            record(connection, [Transition(self.clock.now(), SEEDED, "daemon", None, said, item.campaign, item.id)])
        return True

    def _send(self, item: Run, bundle: Bundle, names: list[str]) -> None:
        for channel in dict.fromkeys(step.channel for step in bundle.campaign.steps):
            for name in names:
                try:
                    self._send_one(item, bundle, channel, name)
                except OrchestratorError as error:  # one seed's trouble is not the others'
                    what = {"campaign": item.campaign, "run": item.id, "channel": channel, "why": error.message}
                    log.warning("seed_not_sent", extra=what)

    def _send_one(self, item: Run, bundle: Bundle, channel: str, name: str) -> None:
        carriers = carriers_for(self.settings, self.clock, bundle, channel, 0)
        with self.store.read() as connection:
            user = user_ids(connection, [name]).get(name)
            target = None if user is None else self._target(connection, user, channel)
            facts = {} if user is None else facts_of(connection, [user]).get(user, {})
            if target is None:
                return
            account, target = account_for(carriers, target)
            refuse_stopped(connection, account)
        target = replace(target, why=f"seed {name}", run_id=item.id)
        locale = str(facts.get("locale") or next(iter(bundle.campaign.title)))
        done = send_now(self.store, self.clock, self.settings, bundle, account, target, Choice(facts, [locale]))
        with self.store.write() as connection:
            write_down(connection, item.campaign, target, done, self.clock.now(), "daemon")

    def _target(self, connection: Connection, user: int, channel: str) -> Target | None:
        value = best_address(connection, user, channel)
        return None if value is None else target_of(connection, channel, value, only_to(self.settings.only_to))


def _readable(connection: Connection, item: Run) -> Bundle | None:
    """What a run sends; None when this release cannot read it: the worker says so."""
    try:
        return read_bundle(connection, item.version)
    except OrchestratorError:
        return None
