"""The past played again: events that campaigns are triggered by, or ask about, happen anew some whole days later.

Nobody knows what people will do next week; what they did in the days before is of the right size, at the right hours,
and hangs together: carts with the orders that followed them. The events are those of the scratch database.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, text

from orchestrator.campaign.spec import Campaign, Trigger
from orchestrator.clock import from_micros, span_micros, to_micros
from orchestrator.policy.cues import WORDS

DAY = timedelta(days=1)


@dataclass(slots=True)
class Echoes:
    """What is still to happen again, after ``heard``; ``triggers``: those that listen."""

    triggers: Sequence[Trigger]
    days: int
    events: int
    heard: datetime
    asked: Sequence[str] = ()
    """What later steps ask about besides."""

    @property
    def names(self) -> list[str]:
        """The events that happen again."""
        return sorted({*names_of(self.triggers), *self.asked})

    def next_at(self, connection: Connection) -> datetime | None:
        """When the next thing happens again."""
        at = connection.execute(_NEXT_AT, {"low": to_micros(self.heard)}).scalar()
        return None if at is None else from_micros(at)

    def happen(self, connection: Connection, now: datetime) -> int:
        """Let everything up to ``now`` happen; how much it was."""
        if now <= self.heard:
            return 0
        span = {"low": to_micros(self.heard), "high": to_micros(now)}
        self.heard = now
        return connection.execute(_HAPPEN, span).rowcount

    def next_wait(self, connection: Connection) -> datetime | None:
        """When the next wait may be over for which nobody has waited yet."""
        low = to_micros(self.heard)
        found = [
            from_micros(at) + one.after
            for one in self.triggers
            if (at := connection.execute(_NEXT, {"name": one.event, "low": low}).scalar()) is not None
        ]
        return min(found, default=None)


def names_of(triggers: Sequence[Trigger]) -> list[str]:
    """All the events that triggers ask about."""
    return sorted({name for one in triggers for name in (one.event, *one.unless)})


def asked_by(campaign: Campaign) -> set[str]:
    """The events that its later steps ask about; the goal's happen by the response model."""
    goal = campaign.goal
    known = {*WORDS, goal.event, goal.conversion.event if goal.conversion else ""}
    return {word for step in campaign.steps if step.when for word in step.when.cues.values()} - known


def prepare(
    connection: Connection, triggers: Sequence[Trigger], now: datetime, span: timedelta, asked: Collection[str] = ()
) -> Echoes | None:
    """Lay out what will happen again within ``span``; None where no campaign has a trigger or asks about an event."""
    if not triggers and not asked:
        return None
    days = -(-span // DAY)
    for statement in _TABLE:
        connection.execute(statement)
    made = Echoes(tuple(triggers), days, 0, now, tuple(sorted(asked)))
    values = {"names": made.names, "since": to_micros(now - days * DAY), "now": to_micros(now)}
    laid = connection.execute(_LAY, {**values, "shift": span_micros(days * DAY)})
    return replace(made, events=laid.rowcount)


_TABLE = (
    text("CREATE TABLE echo (id INTEGER PRIMARY KEY, user_id INTEGER, name TEXT, at INTEGER, properties TEXT)"),
    text("CREATE INDEX ix_echo ON echo (at)"),
    text("CREATE INDEX ix_echo_name ON echo (name, at)"),
)
_LAY = text("""
    INSERT INTO echo (id, user_id, name, at, properties)
    SELECT id, user_id, name, at + :shift, properties FROM event
    WHERE name IN :names AND at > :since AND at <= :now""").bindparams(bindparam("names", expanding=True))
_HAPPEN = text("""
    INSERT INTO event (user_id, name, at, received_at, source_id, properties)
    SELECT user_id, name, at, at, 'echo:' || id, properties FROM echo
    WHERE at > :low AND at <= :high ORDER BY at, id""")
_NEXT_AT = text("SELECT min(at) FROM echo WHERE at > :low")
_NEXT = text("SELECT min(at) FROM echo WHERE name = :name AND at > :low")
