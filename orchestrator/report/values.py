"""What a report consists of: frozen counts, free of SQL and of statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestrator.campaign.spec import RelativeTo, Trigger

HOLDOUT = "holdout"
"""The name of the group of the held-out in reports."""

Opening = tuple[int, int]
"""Minutes of the day, half-open, ``(630, 705)`` for 10:30-11:45; an overnight window is two of them."""


@dataclass(frozen=True, slots=True)
class Launched:
    """What a report needs of the campaign as launched; ``windows`` by (arm, step)."""

    name: str
    title: Mapping[str, str]
    segment: str = ""
    goal: str = "app_open"
    within: timedelta | None = None
    conversion: str = ""
    conversion_within: timedelta | None = None
    weights: Mapping[str, int] | None = None
    holdout: float = 0.0
    windows: Mapping[tuple[str, int], tuple[Opening, ...]] | None = None
    topic: str = ""
    run: int | None = None
    """The one run that the report is about; None: all of the campaign's."""
    local_date: str = ""
    """The date of that run."""
    since: datetime | None = None
    """Leave out runs that were over by then; None: all count."""
    relative_to: RelativeTo | None = None
    """The date of each user's own by which its runs go."""
    trigger: Trigger | None = None
    """What lets its members join one by one."""


@dataclass(frozen=True, slots=True)
class RunCount:
    """One run. ``recorded`` is the audience the planner wrote down, ``members`` the rows there are."""

    run_id: int
    local_date: str
    state: str
    as_of: datetime
    recorded: int
    members: int


@dataclass(frozen=True, slots=True)
class Decision:
    """How many members ended this way; every member is in exactly one of them."""

    name: str
    reason: str
    members: int


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of reach, users and messages each counted once; ``messages`` is None where it is about people alone.

    Messages reopened or converted are those that were accepted and had left before their member did so.
    """

    name: str
    users: int
    messages: int | None


@dataclass(frozen=True, slots=True)
class Group:
    """One arm, or the holdout, at its users' first exposure; ``open`` of them can still reopen in the goal window.

    ``settled`` are those whose goal window is over: the only ones that an always-valid interval may count.
    ``value_squares`` is the sum of the squares of ``value``'s parts, from which its spread is known.
    """

    name: str
    held_out: bool
    eligible: int = 0
    sent: int = 0
    accepted: int = 0
    delivered: int = 0
    opened: int = 0
    reopened: int = 0
    converted: int = 0
    value: float = 0.0
    open: int = 0
    clicked: int = 0
    unsubscribed: int = 0
    complained: int = 0
    settled: int = 0
    settled_reopened: int = 0
    value_squares: float = 0.0


COUNTS = (
    *("eligible", "sent", "accepted", "delivered", "opened", "reopened", "converted", "open"),
    *("clicked", "unsubscribed", "complained", "settled", "settled_reopened"),
)
"""The fields of a group that are numbers of users."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """Messages with an open (or a click), by the most human one of each: three kinds that are never added up."""

    human: int = 0
    suspect: int = 0
    machine: int = 0


@dataclass(frozen=True, slots=True)
class StepCount:
    """The messages of one step on one channel, by where they stand; those of the held-out are in ``held_out``.

    ``opened`` are those opened by a person, or clicked by one.
    """

    step: int
    channel: str
    messages: int
    sent: int
    accepted: int
    delivered: int
    opened: int
    states: Mapping[str, int]
    opens: Sorted = Sorted()
    clicks: Sorted = Sorted()


@dataclass(frozen=True, slots=True)
class ChannelCount:
    """One channel over all steps: ``users`` and ``messages`` by stage, each user counted once a channel.

    ``unsubscribed`` and ``complained`` are users of those ``sent`` to (see :mod:`orchestrator.report.refusals`).
    """

    channel: str
    users: Mapping[str, int]
    messages: Mapping[str, int]
    opens: Sorted
    clicks: Sorted
    unsubscribed: int
    complained: int


@dataclass(frozen=True, slots=True)
class ZoneCount:
    """The members of one zone. ``reopened`` counts among the ``treated`` (planned and not held out)."""

    zone: str
    members: int
    planned: int
    treated: int
    sent: int
    accepted: int
    reopened: int


@dataclass(frozen=True, slots=True)
class Hours:
    """Requests by the recipient's wall clock.

    ``bins`` are five minutes each, from midnight; ``several`` went to members whose zone is known only by country (not
    in ``bins``); ``outside`` left outside the recipient's own window in a zone they may be in (None: no window known).
    ``openings`` are those of all arms and steps together; each request is held to those of its own.
    """

    bins: tuple[int, ...]
    requests: int
    several: int
    outside: int | None
    openings: tuple[Opening, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """Share of a group that has reopened (``points``: hours since the run opened for each, share)."""

    group: str
    held_out: bool
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Tally:
    """The ledger of a campaign, counted at one instant. ``audience`` is the sum of ``decisions``, always."""

    launched: Launched
    as_of: datetime
    runs: tuple[RunCount, ...]
    audience: int
    decisions: tuple[Decision, ...]
    stages: tuple[Stage, ...]
    groups: tuple[Group, ...]
    waiting: int
    steps: tuple[StepCount, ...]
    zones: tuple[ZoneCount, ...]
    hours: Hours
    curves: tuple[Curve, ...]
    channels: tuple[ChannelCount, ...] = ()

    @property
    def adds_up(self) -> bool:
        """Members by decision equal the rows, and those of complete runs the audience that their planner wrote down."""
        complete = all(run.recorded == run.members for run in self.runs if run.state not in {"planning", "stopped"})
        return complete and self.audience == sum(decision.members for decision in self.decisions)

    @property
    def held_out(self) -> Group | None:
        """The holdout, when there is anyone in it."""
        return next((group for group in self.groups if group.held_out and group.eligible), None)

    @property
    def arms(self) -> tuple[Group, ...]:
        """The treated groups."""
        return tuple(group for group in self.groups if not group.held_out)


def plain(value: Any) -> Any:
    """The same as dictionaries, lists, numbers and text, for JSON: instants in ISO 8601, spans in seconds."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.total_seconds() if isinstance(value, timedelta) else value


def _key(key: Any) -> str:
    return "/".join(str(part) for part in key) if isinstance(key, tuple) else str(key)
