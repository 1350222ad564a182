"""How the share of those who came back grows with the hours since the run opened for each of them.

Somebody whose run opened an hour ago says nothing yet about the second hour: they leave the count there (Kaplan and
Meier's estimate), so that a campaign in progress is not shown lower than it is. With nobody left out it is the plain
share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Connection, Row, case, func, literal, select

from orchestrator.clock import span_micros, to_micros
from orchestrator.report.members import first_exposures
from orchestrator.report.values import HOLDOUT, Curve, Launched

BIN = timedelta(minutes=30)
DEFAULT_SPAN = timedelta(hours=24)

Counts = dict[bool, Counter[int]]
"""By whether they reopened: how many left the count in which bin."""


def curves(connection: Connection, launched: Launched, now: datetime) -> tuple[Curve, ...]:
    """One curve per arm, in the file's order, and one for the holdout."""
    span = launched.within or DEFAULT_SPAN
    groups: dict[tuple[bool, str], Counts] = {}
    for row in _rows(connection, launched, span, now):
        key = (True, HOLDOUT) if row.held_out else (False, str(row.arm))
        groups.setdefault(key, {True: Counter(), False: Counter()})[bool(row.back)][int(row.bin)] += int(row.people)
    last = -(-span // BIN)
    order = list(launched.weights or {})
    names = sorted(groups, key=lambda key: (key[0], order.index(key[1]) if key[1] in order else len(order), key[1]))
    return tuple(Curve(name, held_out, tuple(_points(groups[held_out, name], last))) for held_out, name in names)


def _rows(
    connection: Connection, launched: Launched, span: timedelta, now: datetime
) -> list[Row[tuple[str, bool, int, int, int]]]:
    exposed = first_exposures(launched)
    seen = literal(to_micros(now), BigInteger) - exposed.c.anchor
    back = case((exposed.c.reopened_at.is_not(None), 1), else_=0).label("back")
    length = span_micros(span)
    watched = case((seen < length, seen), else_=length)
    until = case((exposed.c.reopened_at.is_not(None), exposed.c.reopened_at - exposed.c.anchor), else_=watched)
    key = (exposed.c.arm, exposed.c.held_out, back, (until // span_micros(BIN)).label("bin"))
    query = select(*key, func.count().label("people")).where(exposed.c.anchor.is_not(None), seen >= 0).group_by(*key)
    return list(connection.execute(query))


def _points(counts: Counts, last: int) -> Iterator[tuple[float, float]]:
    """(hours, share) at the end of each bin, from (0, 0)."""
    at_risk = sum(counts[True].values()) + sum(counts[False].values())
    away = 1.0
    yield 0.0, 0.0
    for step in range(last):
        if at_risk <= 0:
            return
        away *= 1 - counts[True][step] / at_risk
        at_risk -= counts[True][step] + counts[False][step]
        yield (step + 1) * (BIN / timedelta(hours=1)), 1 - away
