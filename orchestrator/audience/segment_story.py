"""Why a user is in a segment, or is not: its conditions as a tree, with what each says of the user and what it saw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal, null, select

from orchestrator.audience.condition import (
    AllOf,
    AnyOf,
    Attribute,
    Average,
    Condition,
    Did,
    DidNot,
    First,
    InSegment,
    Last,
    Not,
    Sum,
)
from orchestrator.audience.fault import Plain
from orchestrator.audience.segment import read_segments
from orchestrator.audience.segment_sql import COLUMNS, Leaf, edge_at, edge_value, events_of, leaf, total
from orchestrator.audience.users import user_ids
from orchestrator.clock import from_micros
from orchestrator.errors import NotFoundError
from orchestrator.store.tables import event, users


@dataclass(frozen=True, slots=True)
class Told:
    """One condition, as it stands in its file. ``seen``: what was found of the user, where there is something to see.

    ``decides``: among the parts that made the whole come out as it did.
    """

    words: str
    holds: bool
    decides: bool
    seen: Any = None
    parts: tuple[Told, ...] = ()


_Raw = Mapping[str, Mapping[str, Any]]


def explain_segment(connection: Connection, name: str, segments: _Raw, external_id: str, as_of: datetime) -> Told:
    """Whether a user is in a segment as of an instant, and which conditions say so.

    Raises:
        NotFoundError: there is no such user.
    """
    conditions = read_segments({key: Plain(f"segment {key}", dict(raw)) for key, raw in segments.items()}, [name])
    found = user_ids(connection, [external_id])
    if external_id not in found:
        raise NotFoundError(f"there is no user {external_id[:64]!r}", hint="give the id that the app uses")
    leaves = list(_leaves(conditions[name], conditions))
    asked = [column for one in leaves for column in (_holds(one), _seen(one))]
    row = connection.execute(
        select(*(column.label(f"c{place}") for place, column in enumerate(asked))).where(
            users.c.id == found[external_id]
        ),
        {"as_of": as_of},
    ).one()
    answers = iter(zip(leaves, row[::2], row[1::2], strict=True))
    return _tell(conditions[name], segments[name]["where"], _Tree(conditions, segments, answers), decides=True)


def _leaves(condition: Condition, conditions: Mapping[str, Condition]) -> Iterator[Leaf]:
    """What the database has to be asked, in the order of the tree."""
    match condition:
        case AllOf() | AnyOf():
            for part in condition.all if isinstance(condition, AllOf) else condition.any:
                yield from _leaves(part, conditions)
        case Not():
            yield from _leaves(condition.not_, conditions)
        case InSegment():
            yield from _leaves(conditions[condition.segment], conditions)
        case _:
            yield condition


def _holds(condition: Leaf) -> ColumnElement[Any]:
    return func.coalesce(leaf(condition), literal(value=False))


def _seen(condition: Leaf) -> ColumnElement[Any]:  # noqa: PLR0911  # one for each
    match condition:
        case Did() | DidNot():
            times = events_of(condition).with_only_columns(func.count())
            return times.select_from(event).correlate(users).scalar_subquery()
        case Last() | First() if condition.value is None:
            return edge_at(condition)
        case Last() | First() if condition.value is not None:
            return edge_value(condition, condition.value.property)(_operand(condition.value.comparison[1]))
        case Sum() | Average():
            return total(condition)
        case Attribute() if condition.attribute in COLUMNS:
            return COLUMNS[condition.attribute]
        case Attribute():
            return users.c.attributes
        case _:
            return null()


def _operand(operand: Any) -> Any:
    """One that stands for its kind."""
    if isinstance(operand, list | tuple):
        return operand[0]
    return operand if isinstance(operand, str) or operand is True else 0 if not isinstance(operand, bool) else True


@dataclass(frozen=True, slots=True)
class _Tree:
    conditions: Mapping[str, Condition]
    raw: _Raw
    answers: Iterator[tuple[Leaf, Any, Any]]


def _tell(condition: Condition, raw: Mapping[str, Any], tree: _Tree, *, decides: bool) -> Told:
    match condition:
        case AllOf() | AnyOf():
            word = "all" if isinstance(condition, AllOf) else "any"
            inner = condition.all if isinstance(condition, AllOf) else condition.any
            parts = [_tell(part, own, tree, decides=decides) for part, own in zip(inner, raw[word], strict=True)]
            holds = all(part.holds for part in parts) if word == "all" else any(part.holds for part in parts)
            return _whole(f"{word} of", holds, parts, decides=decides)
        case Not():
            part = _tell(condition.not_, raw["not"], tree, decides=decides)
            return Told("not", not part.holds, decides, None, (part,))
        case InSegment():
            name = condition.segment
            part = _tell(tree.conditions[name], tree.raw[name]["where"], tree, decides=decides)
            return Told(f"segment {name}", part.holds, decides, None, (part,))
        case _:
            found, holds, seen = next(tree.answers)
            return Told(spelled_out(raw), bool(holds), decides, _shown(found, seen))


def _whole(words: str, holds: bool, parts: list[Told], *, decides: bool) -> Told:  # noqa: FBT001  # it is a value
    """Of several, those decide that came out like the whole."""
    told = [part if part.holds == holds else _by_the_way(part) for part in parts]
    return Told(words, holds, decides, None, tuple(told))


def _by_the_way(part: Told) -> Told:
    return replace(part, decides=False, parts=tuple(_by_the_way(one) for one in part.parts))


def _shown(condition: Leaf, seen: Any) -> Any:
    if isinstance(condition, Attribute) and condition.attribute not in COLUMNS:
        return (seen or {}).get(condition.attribute)
    if isinstance(condition, Last | First) and condition.value is None and isinstance(seen, int):
        return from_micros(seen)
    return seen


def spelled_out(raw: Any) -> str:
    """A condition on one line, as its file has it."""
    if isinstance(raw, Mapping):
        return ", ".join(f"{key}: {_braced(value)}" for key, value in raw.items())
    return str(raw)


def _braced(value: Any) -> str:
    match value:
        case Mapping():
            return f"{{{spelled_out(value)}}}"
        case list() | tuple():
            return f"[{', '.join(_braced(one) for one in value)}]"
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)
