"""Conditions as SQL: each is a correlated expression over ``users`` that is true for whom it holds.

For everybody else it is false or NULL: only under a ``not`` is NULL made false, for a wrapped comparison finds no
index. Everything is asked as of ``:as_of``. Expressions reach events through the index (user_id, name, at), so that a
chunk of users costs the same however many users there are.
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
    Text,
    and_,
    case,
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
    Average,
    Condition,
    Did,
    DidNot,
    First,
    HasAddress,
    HasConsent,
    InCampaign,
    InSample,
    InSegment,
    IsSuppressed,
    Last,
    Not,
    PropertyIs,
    Sum,
    limit_of,
)
from orchestrator.audience.segment_past import AS_OF, ago, in_campaign
from orchestrator.audience.terms import Comparison
from orchestrator.store.dialect import BUCKETS
from orchestrator.store.functions import (
    bucket_of,
    bytewise,
    instant_text,
    json_boolean,
    json_instant,
    json_number,
    json_present,
    json_string,
)
from orchestrator.store.tables import address, consent, event, suppression, user_alias, users

Clause = ColumnElement[bool]
_Value = Callable[[object], ColumnElement[Any]]
"""Gives the value as the operand's kind: NULL where it is of another kind. ``None`` asks whether there is any value."""

_ONE: ColumnElement[int] = literal_column("1")
COLUMNS: Mapping[str, Column[Any]] = {name: users.c[name] for name in ("name", "locale", "zone", "country")}
"""Attributes that have a column of their own; all others stand in the JSON of ``users.attributes``."""


Leaf = (
    Did
    | DidNot
    | Last
    | First
    | Sum
    | Average
    | Attribute
    | HasAddress
    | HasConsent
    | IsSuppressed
    | InCampaign
    | InSample
)
"""Conditions that ask the database something."""


def in_use() -> Clause:
    """Not merged into another user."""
    return not_(exists(select(_ONE).where(user_alias.c.old_user_id == users.c.id)).correlate(users))


def compiled(condition: Condition, segments: Mapping[str, Condition], *, known: bool = False) -> Clause:
    """The clause of a condition; ``segments`` has every segment that it refers to, checked and without circles.

    ``known``: never NULL.
    """
    match condition:
        case AllOf():
            return and_(true(), *(compiled(part, segments, known=known) for part in condition.all))
        case AnyOf():
            return or_(false(), *(compiled(part, segments, known=known) for part in condition.any))
        case Not():
            return not_(compiled(condition.not_, segments, known=True))
        case InSegment():
            return compiled(segments[condition.segment], segments, known=known)
        case _:
            clause = leaf(condition)
            return _known(clause) if known and not isinstance(condition, _NEVER_NULL) else clause


_NEVER_NULL = (Did, DidNot, HasAddress, HasConsent, IsSuppressed, InCampaign, InSample)


def leaf(condition: Leaf) -> Clause:  # one for each
    """A condition without others inside it."""
    match condition:
        case Did():
            return _did(condition)
        case DidNot():
            return not_(_times(_events(condition.did_not, condition.within, condition.where), 1))
        case Last() | First():
            return _edge(condition)
        case Sum() | Average():
            return _compare(lambda _operand: total(condition), limit_of(condition))
        case Attribute():
            return _attribute(condition)
        case _:
            return _standing(condition)


def _standing(condition: HasAddress | HasConsent | IsSuppressed | InCampaign | InSample) -> Clause:
    match condition:
        case HasAddress():
            return exists(_addresses(condition.address)).correlate(users)
        case HasConsent():
            return _has_consent(condition)
        case IsSuppressed():
            return _is_suppressed(condition.suppressed)
        case InCampaign():
            return in_campaign(condition.campaign)
        case InSample():
            name = literal(f"sample:{condition.salt}:", Text()) + users.c.external_id
            return bucket_of(name) < literal(int(condition.sample * BUCKETS), BigInteger())


def _addresses(channel: str) -> Select[Any]:
    mine = (address.c.user_id == users.c.id, address.c.channel == channel)
    return select(_ONE).where(*mine, _valid(address.c))


def _valid(columns: Any) -> Clause:
    return and_(columns.valid_from <= AS_OF, or_(columns.valid_until.is_(None), columns.valid_until > AS_OF))


def _events(name: str, within: timedelta | None, tests: Sequence[PropertyIs]) -> Select[Any]:
    found = select(_ONE).where(event.c.user_id == users.c.id, event.c.name == name, event.c.at <= AS_OF)
    if within is not None:
        found = found.where(event.c.at > ago(within))
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


def events_of(condition: Did | DidNot | Last | First | Sum | Average) -> Select[Any]:
    """The user's events that a condition is about; for the latest and the first, whenever they were."""
    name = next(getattr(condition, word) for word in _EVENT_WORDS if hasattr(condition, word))
    within = None if isinstance(condition, Last | First) else condition.within
    return _events(name, within, condition.where)


_EVENT_WORDS = ("did", "did_not", "last", "first", "sum", "average")


def edge_at(condition: Last | First) -> ColumnElement[Any]:
    """When the latest or first one was."""
    pick = func.max if isinstance(condition, Last) else func.min
    return events_of(condition).with_only_columns(pick(event.c.at)).correlate(users).scalar_subquery()


def _edge(condition: Last | First) -> Clause:
    parts: list[Clause] = []
    if condition.before is not None:
        parts.append(edge_at(condition) <= ago(condition.before))
    if condition.within is not None:
        parts.append(edge_at(condition) > ago(condition.within))
    if condition.value is not None:
        parts.append(_compare(edge_value(condition, condition.value.property), condition.value))
        if condition.value.comparison[0] in {"not_equals", "not_in", "present"}:  # true of nothing: never is neither
            parts.append(exists(events_of(condition).correlate(users)))
    return and_(true(), *parts)


def edge_value(condition: Last | First, name: str) -> _Value:
    """A property of the latest or first one."""
    inner = _json(event.c.properties, name)
    order = (event.c.at, event.c.id)
    first_of = order if isinstance(condition, First) else tuple(column.desc() for column in order)

    def value(operand: object) -> ColumnElement[Any]:
        found = events_of(condition).with_only_columns(inner(operand)).order_by(*first_of).limit(1)
        return found.correlate(users).scalar_subquery()

    return value


def total(condition: Sum | Average) -> ColumnElement[Any]:
    """A property of events added up, or their mean."""
    number = json_number(event.c.properties, condition.property)
    made = func.sum(number) if isinstance(condition, Sum) else func.avg(number)
    found = events_of(condition).with_only_columns(made).correlate(users).scalar_subquery()
    return func.coalesce(found, literal(0.0)) if isinstance(condition, Sum) else found


def _is_suppressed(channel: str) -> Clause:
    """By user, or by value of an address they have there."""
    on = select(_ONE).where(suppression.c.channel == channel, suppression.c.valid_from <= AS_OF)
    ends = (suppression.c.valid_until.is_(None), suppression.c.valid_until > AS_OF)  # an index for each
    theirs = _addresses(channel).where(suppression.c.address == address.c.value, suppression.c.address.is_not(None))
    return or_(
        *(
            exists(on.where(suppression.c.user_id == users.c.id, suppression.c.user_id.is_not(None), end)).correlate(
                users
            )
            for end in ends
        ),
        *(
            exists(theirs.where(suppression.c.channel == channel, suppression.c.valid_from <= AS_OF, end)).correlate(
                users
            )
            for end in ends
        ),
    )


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
            case timedelta():
                return json_instant(column, key)
            case _:
                return json_number(column, key)

    return value


def _compare(value: _Value, test: Comparison) -> Clause:
    name, operand = test.comparison
    operand = _bound(operand)
    match name:
        case "present":
            return value(None) if operand else not_(_known(value(None)))
        case "equals" | "in_":
            return _one_of(value, [operand] if name == "equals" else operand)
        case "not_equals" | "not_in":
            return not_(_known(_one_of(value, [operand] if name == "not_equals" else operand)))
        case "between":
            low, high = operand
            return and_(value(low) >= low, value(high) <= high)
        case _ if name in Comparison.DATES:
            return _date(name, value(operand), operand)
        case _:
            return _ORDER[name](value(operand), operand)


def _date(name: str, date: ColumnElement[Any], span: timedelta) -> Clause:
    now, long_ago, ahead = (instant_text(micros) for micros in (AS_OF, ago(span), ago(-span)))
    match name:
        case "before":
            return date <= long_ago
        case "within":
            return and_(date > long_ago, date <= now)
        case "within_next":
            return and_(date > now, date <= ahead)
        case _:
            return _comes_round(date, now, instant_text(ago(_DAY - span)))


_DAY = timedelta(days=1)


def _comes_round(date: ColumnElement[Any], first: ColumnElement[Any], last: ColumnElement[Any]) -> Clause:
    """Day and month are between those of two instants, both included; 29 February counts as the 28th."""
    day, low, high = (func.replace(func.substr(one, 6, 5), "02-29", "02-28") for one in (date, first, last))
    return case((low <= high, and_(day >= low, day <= high)), else_=or_(day >= low, day <= high))


_ORDER: Mapping[str, Callable[[Any, Any], Clause]] = {
    "less_than": lambda value, operand: value < operand,
    "at_most": lambda value, operand: value <= operand,
    "more_than": lambda value, operand: value > operand,
    "at_least": lambda value, operand: value >= operand,
    # replace() tells capitals apart on every database; LIKE does not
    "contains": lambda value, operand: func.replace(value, operand, "") != value,
    "starts_with": lambda value, operand: func.substr(value, 1, len(operand)) == operand,
}


def _one_of(value: _Value, operands: Sequence[object]) -> Clause:
    kinds = {kind: [operand for operand in operands if _kind_of(operand) == kind] for kind in map(_kind_of, operands)}
    return or_(
        *(value(found[0]) == found[0] if len(found) == 1 else value(found[0]).in_(found) for found in kinds.values())
    )


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
