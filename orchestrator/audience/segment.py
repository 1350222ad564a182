"""Segments: from what stands in their files to a clause over ``users``, and to numbers.

A segment is handed about as the plain data of its file, under its name, together with the segments it refers to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, and_, func, literal_column, select

from orchestrator.audience.attributes import NONE, Declarations, misused
from orchestrator.audience.condition import (
    AllOf,
    AnyOf,
    Attribute,
    Condition,
    InCampaign,
    InSegment,
    Not,
    SegmentFile,
)
from orchestrator.audience.fault import Document, Fault, Place, Plain, faults_of
from orchestrator.audience.segment_sql import COLUMNS, compiled, in_use
from orchestrator.audience.terms import Comparison
from orchestrator.errors import ConfigError, InputError, Problem, did_you_mean
from orchestrator.store.dialect import bucket_sql
from orchestrator.store.tables import users

MAX_PARTS = 500
"""Conditions of a segment, with those of the segments it refers to: a few lines could otherwise stand for millions."""


def clause(name: str, segments: Mapping[str, Mapping[str, Any]], dialect: str = "") -> ColumnElement[bool]:
    """The segment as an expression over ``users``: true for whom it has, false or NULL for everybody else.

    Bind ``as_of`` to an aware datetime. For everybody else ask ``.is_not(true())``, not its negation.

    ``dialect`` is not needed: what databases say differently is decided when the statement is compiled.

    Raises:
        ConfigError: the segment, or one that it refers to, is wrong or missing.
    """
    del dialect
    conditions = read_segments({key: Plain(f"segment {key}", dict(raw)) for key, raw in segments.items()}, [name])
    return and_(in_use(), compiled(conditions[name], conditions))


def read_segments(
    documents: Mapping[str, Document],
    wanted: Sequence[str] = (),
    *,
    declared: Declarations = NONE,
    campaigns: Collection[str] | None = None,
) -> dict[str, Condition]:
    """The conditions of segments by name, all of them checked; ``wanted`` have to be among them.

    Declared attributes are held to their types, and campaigns to the names there are, where those are given.

    Raises:
        ConfigError: with all that is wrong in any of them.
    """
    conditions, problems = _parsed(documents)
    missing = [name for name in wanted if name not in documents]
    problems += [Problem("segments", 0, name, "unknown segment", did_you_mean(name, documents)) for name in missing]
    problems += [
        documents[name].problem(fault.place, fault.message, fault.hint)
        for name in conditions
        for fault in (
            *_reference_faults(name, conditions, documents),
            *_name_faults(conditions[name], declared, campaigns),
        )
    ]
    if not problems:
        problems = [
            documents[name].problem(("where",), f"stands for more than {MAX_PARTS} conditions", "split it up")
            for name in conditions
            if _size(name, conditions, {}) > MAX_PARTS
        ]
    if problems:
        raise ConfigError(problems)
    return conditions


def problems_of(document: Document) -> list[Problem]:
    """All that is wrong with one segment file by itself, not with what it refers to."""
    return _read(document)[1]


def _read(document: Document) -> tuple[SegmentFile | None, list[Problem]]:
    try:
        found = SegmentFile.model_validate(document.data)
    except ValidationError as error:
        return None, [document.problem(fault.place, fault.message, fault.hint) for fault in faults_of(error)]
    return found, [document.problem(fault.place, fault.message, fault.hint) for fault in _attribute_faults(found.where)]


def _parsed(documents: Mapping[str, Document]) -> tuple[dict[str, Condition], list[Problem]]:
    conditions: dict[str, Condition] = {}
    problems: list[Problem] = []
    for name, document in documents.items():
        found, own = _read(document)
        problems += own
        if found is not None:
            conditions[name] = found.where
            if found.name != name:
                problems.append(document.problem(("name",), f"is {found.name!r}", f"the file's name says {name!r}"))
    return conditions, problems


def parts_of(condition: Condition, place: Place = ("where",)) -> Iterator[tuple[Place, Condition]]:
    """A condition and everything inside it, with their places; other segments are not entered."""
    yield place, condition
    match condition:
        case AllOf():
            inner = [((*place, "all", index), part) for index, part in enumerate(condition.all)]
        case AnyOf():
            inner = [((*place, "any", index), part) for index, part in enumerate(condition.any)]
        case Not():
            inner = [((*place, "not"), condition.not_)]
        case _:
            inner = []
    for where, part in inner:
        yield from parts_of(part, where)


def _reference_faults(
    name: str, conditions: Mapping[str, Condition], documents: Mapping[str, Document]
) -> Iterator[Fault]:
    for place, part in parts_of(conditions[name]):
        if not isinstance(part, InSegment):
            continue
        if part.segment not in documents:
            yield Fault((*place, "segment"), f"unknown segment {part.segment!r}", did_you_mean(part.segment, documents))
        elif circle := _way_back(part.segment, name, conditions):
            yield Fault((*place, "segment"), f"goes round in a circle: {' → '.join((name, *circle))}")


def _name_faults(condition: Condition, declared: Declarations, campaigns: Collection[str] | None) -> Iterator[Fault]:
    for place, part in parts_of(condition):
        yield from misused(part, place, declared)
        if isinstance(part, InCampaign) and campaigns is not None:
            question, name = part.campaign.question
            if name not in campaigns:
                yield Fault((*place, "campaign", question), f"unknown campaign {name!r}", did_you_mean(name, campaigns))


def undeclared(conditions: Mapping[str, Condition], declared: Declarations) -> Iterator[tuple[str, str, str]]:
    """Attributes that segments ask for and that are not declared, though others are: segment, attribute, hint."""
    for segment, condition in conditions.items() if declared else ():
        for _, part in parts_of(condition):
            if isinstance(part, Attribute) and part.attribute not in declared and part.attribute not in COLUMNS:
                yield segment, part.attribute, did_you_mean(part.attribute, declared)


def _way_back(start: str, goal: str, conditions: Mapping[str, Condition]) -> list[str]:
    """The shortest chain of references from ``start`` to ``goal``, both included, or nothing."""
    ways, seen = [[start]], {start}
    while ways:
        way = ways.pop(0)
        if way[-1] == goal:
            return way
        following = conditions.get(way[-1])
        for _, part in parts_of(following) if following is not None else ():
            if isinstance(part, InSegment) and part.segment not in seen:
                seen.add(part.segment)
                ways.append([*way, part.segment])
    return []


def _attribute_faults(condition: Condition) -> Iterator[Fault]:
    for place, part in parts_of(condition):
        if isinstance(part, Attribute) and part.attribute in COLUMNS:
            name, operand = part.comparison
            operands = operand if isinstance(operand, list | tuple) else [operand]
            if name != "present" and not all(isinstance(value, str) for value in operands):
                hint = f"{part.attribute} has no dates" if name in Comparison.DATES else "put the value in quotes"
                yield Fault((*place, name.rstrip("_")), f"{part.attribute} is text", hint)


def _size(name: str, conditions: Mapping[str, Condition], known: dict[str, int]) -> int:
    if name not in known:
        known[name] = sum(
            _size(part.segment, conditions, known) if isinstance(part, InSegment) else 1
            for _, part in parts_of(conditions[name])
        )
    return known[name]


# --- as of an instant ------------------------------------------------------------------------------------------------


def attributes_of(name: str, segments: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The attributes that a segment looks at, its references' included: they keep no history."""
    conditions = read_segments({key: Plain(f"segment {key}", dict(raw)) for key, raw in segments.items()}, [name])
    found: set[str] = set()
    seen, waiting = {name}, [name]
    while waiting:
        for _, part in parts_of(conditions[waiting.pop()]):
            if isinstance(part, Attribute):
                found.add(part.attribute)
            if isinstance(part, InSegment) and part.segment not in seen:
                seen.add(part.segment)
                waiting.append(part.segment)
    return sorted(found)


def refuse_past(name: str, segments: Mapping[str, Mapping[str, Any]], as_of: datetime, now: datetime) -> None:
    """Refuse a past instant for a segment over attributes: only their present values are known.

    Raises:
        InputError: naming the attributes.
    """
    attributes = attributes_of(name, segments) if as_of < now else []
    if attributes:
        raise InputError(
            f"segment {name!r} cannot be evaluated as of {as_of.isoformat()}: "
            f"it looks at attributes that keep no history: {', '.join(attributes)}",
            hint="leave --as-of out, or ask for events, addresses and consents instead",
        )


def count(connection: Connection, segment: ColumnElement[bool], as_of: datetime) -> int:
    """How many users are in a segment."""
    statement = select(func.count()).select_from(users).where(segment)
    return int(connection.execute(statement, {"as_of": as_of}).scalar_one())


def sample(connection: Connection, segment: ColumnElement[bool], as_of: datetime, size: int) -> list[str]:
    """The external ids of some users of a segment, picked by a stable hash: the same ones each time."""
    order: ColumnElement[int] = literal_column(bucket_sql(connection.dialect.name, "users.external_id"))
    statement = select(users.c.external_id).where(segment).order_by(order, users.c.id).limit(size)
    return list(connection.execute(statement, {"as_of": as_of}).scalars())
