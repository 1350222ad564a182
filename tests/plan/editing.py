"""A campaign that is edited while it runs: launched again, and what leaves written down with its words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from orchestrator.campaign.version import Bundle, save_version
from orchestrator.clock import ManualClock
from orchestrator.daemon.relaunching import LiveRun, plan_again, turn_live
from orchestrator.dispatch.door import Door
from orchestrator.ledger import runs
from orchestrator.ledger.states import State
from orchestrator.store import Store
from orchestrator.store.tables import lane, member, message, users
from tests import world
from tests.dispatch.doors import door, through

ONE_STEP = world.DEFINITION["steps"][:1]


def worded(title: str, **changes: Any) -> Bundle:
    """The small campaign with another title in its push, and other fields."""
    made = world.bundle(changes)
    words = {name: text.replace("Hello", title) for name, text in world.TEMPLATES.items()}
    return replace(made, templates=words)


def launch(
    store: Store, what: Bundle, clock: ManualClock, *, new_runs_only: bool = False, plans: bool = True
) -> list[LiveRun]:
    """Launch a bundle, as the verb does; what became of live runs. Without ``plans`` it dies before planning."""
    planner = world.planner(clock)
    with store.write() as connection:
        digest = save_version(connection, what, clock.now())
        runs.launch(connection, what.campaign.name, digest, clock.now(), "operator t")
        live = turn_live(connection, what, digest, clock.now(), "operator t", new_runs_only=new_runs_only)
    return plan_again(store, planner, what, live, lambda _: None) if plans else []


@dataclass
class Post:
    """A worker's door, and what went through it: user, step, words."""

    store: Store
    clock: ManualClock
    folder: Path
    sent: list[tuple[str, int, str]] = field(default_factory=list)
    made: Door = field(init=False)

    def __post_init__(self) -> None:
        self.made = door(self.store, self.clock)

    def send(self, n: int = 100) -> None:
        """Let what is due leave, and be accepted."""
        leaving = through(self.made, self.clock, self.folder, n)
        with self.store.write() as connection:
            names = {row[0]: row[1] for row in connection.execute(select(users.c.id, users.c.external_id))}
            for one in leaving:
                said, payload = one.composed.message, one.composed.payload
                words = getattr(payload, "title", "") or getattr(payload, "body", "")
                self.sent.append((names[said.user_id], said.step, words))
                ended = update(message).where(message.c.id == said.id)
                connection.execute(ended.values(state=State.ACCEPTED, worker_id=None))


def owed(store: Store) -> dict[tuple[str, int], tuple[str, str | None, str]]:
    """Every message by user and step: state, reason, the version that its lane keeps."""
    query = select(users.c.external_id, message.c.step, message.c.state, message.c.reason, lane.c.version)
    joined = query.join(users, users.c.id == message.c.user_id).join(lane, lane.c.id == message.c.lane_id)
    with store.read() as connection:
        return {(row[0], row[1]): (row[2], row[3], row[4]) for row in connection.execute(joined)}


def decisions(store: Store) -> dict[str, tuple[str, str | None]]:
    """Every member's decision and reason."""
    query = select(users.c.external_id, member.c.decision, member.c.reason)
    with store.read() as connection:
        rows = connection.execute(query.join(users, users.c.id == member.c.user_id))
        return {row[0]: (row[1], row[2]) for row in rows}
