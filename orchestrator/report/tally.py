"""The ledger of a campaign, counted: SQL to frozen values.

``audience`` is every member row; each is counted under exactly one decision. Reach counts users once over all runs, and
messages once. Groups are compared by intention to treat: all eligible members of an arm, whether or not a message left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from orchestrator.campaign.occasions import labelled
from orchestrator.clock import span_micros, to_micros
from orchestrator.report.curves import curves
from orchestrator.report.hours import hours
from orchestrator.report.letters import STAGES, channels, returned, steps
from orchestrator.report.members import DECISIONS, first_exposures, flag, members, runs_of
from orchestrator.report.refusals import refused
from orchestrator.report.values import (
    COUNTS,
    HOLDOUT,
    Decision,
    Group,
    Hours,
    Launched,
    RunCount,
    Stage,
    StepCount,
    Tally,
    ZoneCount,
)
from orchestrator.store.tables import member, run


def tally(connection: Connection, launched: Launched, now: datetime) -> Tally:
    """Count all there is of a campaign at ``now``; ``connection`` is one transaction, so that all counts agree."""
    groups, waiting = _groups(connection, launched, now)
    return replace(
        reach(connection, launched, now),
        groups=groups,
        waiting=waiting,
        hours=hours(connection, launched),
        curves=curves(connection, launched, now),
        channels=channels(connection, launched),
    )


def reach(connection: Connection, launched: Launched, now: datetime) -> Tally:
    """The same without groups, hours, curves and channels: decisions, funnel, steps and zones, for a rehearsal."""
    cells = _cells(connection, launched)
    by_step = steps(connection, launched)
    return Tally(
        launched=launched,
        as_of=now,
        runs=_runs(connection, launched),
        audience=sum(cell.members for cell in cells),
        decisions=_decisions(cells),
        stages=_stages(connection, launched, by_step),
        groups=(),
        waiting=0,
        steps=by_step,
        zones=_zones(cells),
        hours=Hours((), 0, 0, None, ()),
        curves=(),
    )


def _total(column: Any, name: str) -> Any:
    return func.coalesce(func.sum(column), 0).label(name)


def _runs(connection: Connection, launched: Launched) -> tuple[RunCount, ...]:
    count = select(func.count()).where(member.c.run_id == run.c.id).scalar_subquery()
    columns = (run.c.id, run.c.state, run.c.as_of, run.c.audience, count)
    called = (run.c.version, run.c.local_date, run.c.fires_at)
    mine = select(*columns, *called).where(run.c.id.in_(runs_of(launched)))
    rows = connection.execute(mine.order_by(run.c.local_date, run.c.fires_at, run.c.id))
    return tuple(RunCount(row[0], labelled(connection, *row[5:]), *row[1:5]) for row in rows)


def _cells(connection: Connection, launched: Launched) -> Sequence[Row[Any]]:
    """Members by zone, decision and reason: the cube that decisions and zones are read from."""
    facts = members(launched)
    keys = (facts.c.zone_key, facts.c.final, facts.c.reason)
    treated = facts.c.planned * flag(facts.c.held_out.is_(False))
    query = select(
        *keys,
        func.count().label("members"),
        _total(facts.c.planned, "planned"),
        _total(treated, "treated"),
        _total(facts.c.sent, "sent"),
        _total(facts.c.accepted, "accepted"),
        _total(treated * flag(facts.c.reopened_at.is_not(None)), "reopened"),
    )
    return connection.execute(query.group_by(*keys)).all()


def _decisions(cells: Sequence[Row[Any]]) -> tuple[Decision, ...]:
    counts: Counter[tuple[int, str]] = Counter()
    for cell in cells:
        counts[cell.final, cell.reason] += cell.members
    order = sorted(counts.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    return tuple(Decision(DECISIONS[final], reason, n) for (final, reason), n in order)


def _zones(cells: Sequence[Row[Any]]) -> tuple[ZoneCount, ...]:
    counts: dict[str, Counter[str]] = {}
    names = ("members", "planned", "treated", "sent", "accepted", "reopened")
    for cell in cells:
        zone = counts.setdefault(cell.zone_key, Counter())
        for name in names:
            zone[name] += int(getattr(cell, name))
    rows = (ZoneCount(zone, *(count[name] for name in names)) for zone, count in counts.items())
    return tuple(sorted(rows, key=lambda row: (-row.members, row.zone)))


def _stages(connection: Connection, launched: Launched, by_step: Sequence[StepCount]) -> tuple[Stage, ...]:
    """The funnel. A user counts once over all runs; who reopened counts when a message of that run was accepted."""
    facts = members(launched)
    reached = facts.c.accepted * facts.c.planned * flag(facts.c.held_out.is_(False))
    per_user = {
        "planned": facts.c.planned,
        **{name: facts.c[name] for name in STAGES},
        "reopened": reached * flag(facts.c.reopened_at.is_not(None)),
        "converted": reached * flag(facts.c.converted_at.is_not(None)),
    }
    columns = [func.max(value).label(name) for name, value in per_user.items()]
    user = select(facts.c.user_id, *columns).group_by(facts.c.user_id).subquery("person")
    sums = select(func.count().label("audience"), *(_total(user.c[name], name) for name in per_user))
    users = connection.execute(sums.select_from(user)).one()._mapping  # noqa: SLF001  # SQLAlchemy's way to a dict
    messages = {
        "planned": sum(step.messages - step.states.get("held_out", 0) for step in by_step),
        **{name: sum(getattr(step, name) for step in by_step) for name in STAGES},
        **returned(connection, launched),
    }
    return tuple(Stage(name, int(users[name]), messages.get(name)) for name in ("audience", *per_user))


def _groups(connection: Connection, launched: Launched, now: datetime) -> tuple[tuple[Group, ...], int]:
    """Each arm and the holdout, and how many are planned whose run has not opened for them yet (they are left out)."""
    exposed, against = first_exposures(launched), refused(launched)
    instant = to_micros(now)
    anchor = func.coalesce(exposed.c.anchor, 0)
    begun = anchor <= instant
    over = anchor + (span_micros(launched.within) if launched.within else 0) <= instant
    back = exposed.c.reopened_at.is_not(None)
    value = exposed.c.conversion_value
    key = (exposed.c.arm, exposed.c.held_out, flag(begun).label("begun"))
    conditions = {
        "reopened": back,
        "converted": exposed.c.converted_at.is_not(None),
        "open": ~back & ~over,
        "settled": over,
        "settled_reopened": over & back,
    }
    query = select(
        *key,
        func.count().label("eligible"),
        *(_total(exposed.c[name], name) for name in (*STAGES, "clicked")),
        *(_total(flag(condition), name) for name, condition in conditions.items()),
        *(_total(against.c[name], name) for name in ("unsubscribed", "complained")),
        _total(value, "value"),
        _total(value * value, "value_squares"),
    ).select_from(exposed.outerjoin(against, against.c.user_id == exposed.c.user_id))
    rows = connection.execute(query.group_by(*key)).all()
    return _by_group(launched, [row for row in rows if row.begun]), sum(row.eligible for row in rows if not row.begun)


def _by_group(launched: Launched, rows: Sequence[Row[Any]]) -> tuple[Group, ...]:
    """Arms in the file's order, then the holdout of all arms together."""
    cells: dict[tuple[bool, str], list[Row[Any]]] = {(False, arm): [] for arm in launched.weights or {}}
    for row in sorted(rows, key=lambda row: row.arm):
        cells.setdefault((True, HOLDOUT) if row.held_out else (False, row.arm), []).append(row)
    return tuple(
        _group(name, found, held_out=out) for (out, name), found in sorted(cells.items(), key=lambda c: c[0][0])
    )


def _group(name: str, rows: Sequence[Row[Any]], *, held_out: bool) -> Group:
    counts = {field: int(sum(getattr(row, field) for row in rows)) for field in COUNTS}
    value, squares = (round(float(sum(getattr(row, of) for row in rows)), 6) for of in ("value", "value_squares"))
    return Group(name, held_out, **counts, value=value, value_squares=squares)
