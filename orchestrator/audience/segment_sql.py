"""Conditions as SQL: each is a correlated expression over ``users`` that is true or false, never NULL.

Everything is asked as of ``:as_of``. Expressions reach events through the index (user_id, name, at), so that a chunk of
users costs the same however many users there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Select,
    and_,
    bindparam,
    exists,
    false,
    func,
    literal,
    literal_column,
    not_,
    or_,
    select,
    true,
)

from orchestrator.audience.condition import (
    AllOf,
    AnyOf,
    Attribute,
    Comparison,
    Condition,
    Did,
    DidNot,
    HasAddress,
    HasConsent,
    InSegment,
    Last,
    Not,
    PropertyIs,
)
from orchestrator.clock import span_micros
from orchestrator.store.dialect import bytewise, json_boolean, json_number, json_present, json_string
from orchestrator.store.tables import Instant, address, consent, event, users

Clause = ColumnElement[bool]

_ONE: ColumnElement[int] = literal_column("1")
AS_OF = bindparam("as_of", type_=Instant())
COLUMNS: Mapping[str, Column[Any]] = {name: users.c[name] for name in ("name", "locale", "zone", "country")}
"""Attributes that have a column of their own; all others stand in the JSON of ``users.attributes``."""


def compiled(condition: Condition, segments: Mapping[str, Condition]) -> Clause:
    """The clause of a condition; ``segments`` has every segment that it refers to, checked and without circles."""
    match condition:
        case AllOf():
            return and_(true(), *(compiled(part, segments) for part in condition.all))
        case AnyOf():
            return or_(false(), *(compiled(part, segments) for part in condition.any))
        case Not():
            return not_(compiled(condition.not_, segments))
        case InSegment():
            return compiled(segments[condition.segment], segments)
        case _:
            return _leaf(condition)


def _leaf(condition: Did | DidNot | Last | Attribute | HasAddress | HasConsent) -> Clause:
    match condition:
        case Did():
            return _did(condition)
        case DidNot():
            return not_(_times(_events(condition.did_not, condition.within, condition.where), 1))
        case Last():
            return _last(condition)
        case Attribute():
            return _attribute(condition)
        case HasAddress():
            return exists(
                select(_ONE).where(
                    address.c.user_id == users.c.id, address.c.channel == condition.address, _valid(address.c)
                )
            ).correlate(users)
        case HasConsent():
            return _has_consent(condition)


def _ago(span: timedelta) -> ColumnElement[Any]:
    return AS_OF - literal(span_micros(span), BigInteger())


def _valid(columns: Any) -> Clause:
    return and_(columns.valid_from <= AS_OF, or_(columns.valid_until.is_(None), columns.valid_until > AS_OF))


def _events(name: str, within: timedelta | None, tests: Sequence[PropertyIs]) -> Select[Any]:
    found = select(_ONE).where(event.c.user_id == users.c.id, event.c.name == name, event.c.at <= AS_OF)
    if within is not None:
        found = found.where(event.c.at > _ago(within))
    return found.where(*(_compare(_json(event.c.properties, test.property), test) for test in tests))


def _times(events: Select[Any], fewest: int) -> Clause:
    """At least so many: the database stops at the last one needed instead of counting all."""
    if fewest > 1:
        events = events.limit(1).offset(fewest - 1)
    return exists(events.correlate(users))


def _did(condition: Did) -> Clause:
    events = _events(condition.did, condition.within, condition.where)
    fewest, most = condition.times
    parts = [_times(events, fewest)] if fewest else []
    if most is not None:
        parts.append(not_(_times(events, most + 1)))
    return and_(true(), *parts)


def _last(condition: Last) -> Clause:
    latest = (
        _events(condition.last, None, condition.where)
        .with_only_columns(func.max(event.c.at))
        .correlate(users)
        .scalar_subquery()
    )
    parts = []
    if condition.before is not None:
        parts.append(latest <= _ago(condition.before))
    if condition.within is not None:
        parts.append(latest > _ago(condition.within))
    return _known(and_(true(), *parts))


def _has_consent(condition: HasConsent) -> Clause:
    """Asked as two questions, since the current version and the past ones have an index each."""
    agreed = select(_ONE).where(
        consent.c.user_id == users.c.id,
        consent.c.channel == condition.consent.channel,
        consent.c.topic == condition.consent.topic,
        consent.c.granted,
        consent.c.valid_from <= AS_OF,
    )
    return or_(
        exists(agreed.where(consent.c.valid_until.is_(None)).correlate(users)),
        exists(agreed.where(consent.c.valid_until.is_not(None), consent.c.valid_until > AS_OF).correlate(users)),
    )


# --- comparisons: a value of each kind an operand may have -----------------------------------------------------------

_Value = Callable[[object], ColumnElement[Any]]
"""Gives the value as the operand's kind: NULL where it is of another kind. ``None`` asks whether there is any value."""


def _attribute(condition: Attribute) -> Clause:
    column = COLUMNS.get(condition.attribute)
    value = _json(users.c.attributes, condition.attribute) if column is None else _text(column)
    return _compare(value, condition)


def _text(column: Column[Any]) -> _Value:
    def value(operand: object) -> ColumnElement[Any]:
        return column.is_not(None) if operand is None else bytewise(column)

    return value


def _json(column: Column[Any], key: str) -> _Value:
    def value(operand: object) -> ColumnElement[Any]:
        match operand:
            case None:
                return json_present(column, key)
            case bool():
                return json_boolean(column, key)
            case str():
                return json_string(column, key)
            case _:
                return json_number(column, key)

    return value


def _compare(value: _Value, test: Comparison) -> Clause:
    name, operand = test.comparison
    operand = _bound(operand)
    match name:
        case "present":
            found = value(None)
            return found if operand else not_(found)
        case "equals" | "not_equals":
            same = _one_of(value, [operand])
            return same if name == "equals" else not_(same)
        case "in_" | "not_in":
            same = _one_of(value, operand)
            return same if name == "in_" else not_(same)
        case "between":
            low, high = operand
            return _known(and_(value(low) >= low, value(high) <= high))
        case "contains":  # replace() tells capitals apart on every database; LIKE does not
            text = value(operand)
            return _known(func.replace(text, operand, "") != text)
        case _:
            return _known(_ORDER[name](value(operand), operand))


_ORDER: Mapping[str, Callable[[Any, Any], Clause]] = {
    "less_than": lambda value, operand: value < operand,
    "at_most": lambda value, operand: value <= operand,
    "more_than": lambda value, operand: value > operand,
    "at_least": lambda value, operand: value >= operand,
}


def _one_of(value: _Value, operands: Sequence[object]) -> Clause:
    kinds = {kind: [operand for operand in operands if _kind_of(operand) == kind] for kind in map(_kind_of, operands)}
    return _known(or_(*(value(found[0]).in_(found) for found in kinds.values())))


def _bound(operand: Any) -> Any:
    """Numbers as floating point, whole or not: a whole one would be bound as 32 bits."""
    if isinstance(operand, list | tuple):
        return [_bound(one) for one in operand]
    return float(operand) if isinstance(operand, int) and not isinstance(operand, bool) else operand


def _kind_of(operand: object) -> str:
    return "truth" if isinstance(operand, bool) else "text" if isinstance(operand, str) else "number"


def _known(clause: Clause) -> Clause:
    """False where SQL would say NULL, so that ``not`` always means everybody else."""
    return func.coalesce(clause, false())
