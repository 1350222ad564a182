"""Segments as SQL against the same segments as Python sets, over random small populations."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select

from orchestrator.audience.segment import clause, count
from orchestrator.store.engine import Store
from orchestrator.store.tables import address, consent, event, users

AS_OF = datetime(2026, 12, 1, 12, tzinfo=UTC)
EVENTS = ("app_open", "order_paid")
CHANNELS = ("push", "sms")
VALUES: list[Any] = [None, 0, 1, 2, 2.5, "", "a", "B", "ab", "2", "é", "中文", True, False]
SPANS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "2d": timedelta(days=2), "1w": timedelta(weeks=1)}
Segments = dict[str, dict[str, Any]]
Drawn = st.SearchStrategy[Any]


# --- populations -----------------------------------------------------------------------------------------------------


def population(seed: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [_person(chance, number) for number in range(1, 9)]


def _person(chance: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "name": chance.choice([None, "a", "Bo", "中文"]),
        "country": chance.choice([None, "DE", "CN"]),
        "attributes": {key: chance.choice(VALUES) for key in ("x", "y") if chance.random() < 0.8},
        "events": [_event(chance) for _ in range(chance.randrange(5))],
        "addresses": [(chance.choice(CHANNELS), *_stretch(chance)) for _ in range(chance.randrange(3))],
        "consents": _consents(chance),
    }


def _event(chance: random.Random) -> dict[str, Any]:
    ago = chance.choice([timedelta(0), timedelta(hours=1), timedelta(days=1), timedelta(days=2), timedelta(days=5)])
    ago += chance.choice([timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1)])
    properties = {"p": chance.choice(VALUES)} if chance.random() < 0.7 else None
    return {"name": chance.choice(EVENTS), "at": AS_OF - ago, "properties": properties}


def _stretch(chance: random.Random) -> tuple[datetime, datetime | None]:
    start = AS_OF + timedelta(hours=chance.choice([-3, -1, 0, 1]))
    return start, chance.choice([None, max(start, AS_OF), max(start, AS_OF + timedelta(hours=2))])


def _consents(chance: random.Random) -> list[tuple[str, bool, datetime, datetime | None]]:
    found: list[tuple[str, bool, datetime, datetime | None]] = []
    for channel in CHANNELS:
        bounds = sorted(chance.sample([-3, -1, 0, 1], chance.randrange(4)))
        starts = [AS_OF + timedelta(hours=hours) for hours in bounds]
        found += [(channel, chance.random() < 0.5, *span) for span in zip(starts, [*starts[1:], None], strict=False)]
    return found


def settle(connection: Connection, people: list[dict[str, Any]]) -> None:
    for table in (users, event, address, consent):
        connection.execute(delete(table))
    for person in people:
        number = person["id"]
        known = {key: person[key] for key in ("id", "name", "country", "attributes")}
        connection.execute(insert(users).values(**known, external_id=str(number), created_at=AS_OF, updated_at=AS_OF))
        for place, one in enumerate(person["events"]):
            row = {**one, "user_id": number, "received_at": AS_OF, "source_id": f"{number}.{place}"}
            connection.execute(insert(event).values(**row))
        for place, (channel, start, end) in enumerate(person["addresses"]):
            row = {"user_id": number, "channel": channel, "kind": "token", "value": f"{number}.{place}"}
            row |= {"last_seen_at": start, "valid_from": start, "valid_until": end}
            connection.execute(insert(address).values(**row))
        for channel, granted, start, end in person["consents"]:
            row = {"user_id": number, "channel": channel, "topic": "news", "granted": granted, "source": "t"}
            connection.execute(insert(consent).values(**row, valid_from=start, valid_until=end))


# --- the oracle ------------------------------------------------------------------------------------------------------


def holds(condition: dict[str, Any], person: dict[str, Any], segments: Segments) -> bool:
    word = next(word for word in _WORDS if word in condition)
    return _WORDS[word](condition, person, segments)


def _leaf_consent(condition: dict[str, Any], person: dict[str, Any], _segments: Segments) -> bool:
    wanted = condition["consent"]
    return any(
        channel == wanted["channel"] and wanted["topic"] == "news" and granted and _valid(start, end)
        for channel, granted, start, end in person["consents"]
    )


def _leaf_attribute(condition: dict[str, Any], person: dict[str, Any], _segments: Segments) -> bool:
    name = condition["attribute"]
    return _test((person if name in ("name", "country") else person["attributes"]).get(name), condition)


def _leaf_last(condition: dict[str, Any], person: dict[str, Any], _segments: Segments) -> bool:
    return _last(condition, _events_of(person, condition["last"], {"where": condition.get("where", [])}))


_WORDS: dict[str, Callable[[dict[str, Any], dict[str, Any], Segments], bool]] = {
    "all": lambda c, person, segments: all(holds(part, person, segments) for part in c["all"]),
    "any": lambda c, person, segments: any(holds(part, person, segments) for part in c["any"]),
    "not": lambda c, person, segments: not holds(c["not"], person, segments),
    "segment": lambda c, person, segments: holds(segments[c["segment"]]["where"], person, segments),
    "did": lambda c, person, _segments: _did(c, _events_of(person, c["did"], c)),
    "did_not": lambda c, person, _segments: not _events_of(person, c["did_not"], c),
    "last": _leaf_last,
    "attribute": _leaf_attribute,
    "address": lambda c, person, _segments: any(
        one[0] == c["address"] and _valid(*one[1:]) for one in person["addresses"]
    ),
    "consent": _leaf_consent,
}


def _valid(start: datetime, end: datetime | None) -> bool:
    return start <= AS_OF and (end is None or end > AS_OF)


def _events_of(person: dict[str, Any], name: str, condition: dict[str, Any]) -> list[dict[str, Any]]:
    since = AS_OF - SPANS[condition["within"]] if "within" in condition else None
    return [
        one
        for one in person["events"]
        if one["name"] == name
        and one["at"] <= AS_OF
        and (since is None or one["at"] > since)
        and all(_test((one["properties"] or {}).get(test["property"]), test) for test in condition.get("where", []))
    ]


def _did(condition: dict[str, Any], events: list[dict[str, Any]]) -> bool:
    if "exactly" in condition:
        return bool(len(events) == condition["exactly"])
    fewest = condition.get("at_least", 0 if "at_most" in condition else 1)
    return bool(fewest <= len(events) <= condition.get("at_most", 1000))


def _last(condition: dict[str, Any], events: list[dict[str, Any]]) -> bool:
    if not events:
        return False
    ago = AS_OF - max(one["at"] for one in events)
    long_enough: bool = "before" not in condition or ago >= SPANS[condition["before"]]
    return long_enough and ("within" not in condition or ago < SPANS[condition["within"]])


def _kind(value: object) -> str:
    return type(value).__name__ if isinstance(value, bool | str | None) else "number"


def _same(value: object, operand: object) -> bool:
    return _kind(value) == _kind(operand) and value == operand


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "less_than": lambda value, operand: value < operand,
    "at_most": lambda value, operand: value <= operand,
    "more_than": lambda value, operand: value > operand,
    "at_least": lambda value, operand: value >= operand,
    "between": lambda value, ends: ends[0] <= value <= ends[1],
}


def _test(value: object, test: dict[str, Any]) -> bool:
    name, operand = next((key, test[key]) for key in test if key not in {"attribute", "property"})
    if name == "present":
        return bool((value is not None) == operand)
    if name in {"equals", "not_equals"}:
        return _same(value, operand) == (name == "equals")
    if name in {"in", "not_in"}:
        return any(_same(value, one) for one in operand) == (name == "in")
    if name == "contains":
        return isinstance(value, str) and operand in value
    kind = _kind(operand[0] if name == "between" else operand)
    return bool(_kind(value) == kind and _ORDER[name](value, operand))


# --- random segments -------------------------------------------------------------------------------------------------

scalars = st.sampled_from([value for value in VALUES if value is not None])
texts = st.sampled_from(["a", "B", "b", "ab", "DE", "中文", "é"])
numbers = st.sampled_from([-1, 0, 1, 2, 2.5, 3])
pairs = st.one_of(st.tuples(numbers, numbers), st.tuples(texts, texts)).map(
    lambda pair: sorted(pair, key=lambda one: one)
)
spans = st.sampled_from(sorted(SPANS))


def _comparisons(
    operands: st.SearchStrategy[Any], ordered: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        *(st.fixed_dictionaries({name: operands}) for name in ("equals", "not_equals")),
        *(st.fixed_dictionaries({name: st.lists(operands, min_size=1, max_size=3)}) for name in ("in", "not_in")),
        *(st.fixed_dictionaries({name: ordered}) for name in ("less_than", "at_most", "more_than", "at_least")),
        st.fixed_dictionaries({"contains": texts}),
        st.fixed_dictionaries({"present": st.booleans()}),
    )


comparisons: Drawn = st.one_of(
    _comparisons(scalars, st.one_of(numbers, texts)),
    st.fixed_dictionaries({"between": pairs}),
)
tests = st.lists(comparisons.map(lambda test: {"property": "p", **test}), min_size=1, max_size=2)
times: Drawn = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"exactly": st.integers(0, 2)}),
    st.fixed_dictionaries({"at_most": st.integers(0, 2)}),
    st.fixed_dictionaries({"at_least": st.integers(0, 3)}),
    st.fixed_dictionaries({"at_least": st.integers(0, 2), "at_most": st.integers(2, 3)}),
)
event_tests = st.fixed_dictionaries({}, optional={"within": spans, "where": tests})
names = st.sampled_from(EVENTS)
lasts = st.sampled_from([{"before": "1d"}, {"within": "1d"}, {"before": "1h", "within": "2d"}, {"before": "2d"}])
leaves = st.one_of(
    st.builds(lambda name, n, rest: {"did": name, **n, **rest}, names, times, event_tests),
    st.builds(lambda name, rest: {"did_not": name, **rest}, names, event_tests),
    st.builds(
        lambda name, span, where: {"last": name, **span, **where},
        names,
        lasts,
        st.fixed_dictionaries({}, optional={"where": tests}),
    ),
    st.builds(lambda name, test: {"attribute": name, **test}, st.sampled_from(["x", "y", "z"]), comparisons),
    st.builds(
        lambda name, test: {"attribute": name, **test}, st.sampled_from(["name", "country"]), _comparisons(texts, texts)
    ),
    st.sampled_from(CHANNELS).map(lambda channel: {"address": channel}),
    st.sampled_from(CHANNELS).map(lambda channel: {"consent": {"channel": channel, "topic": "news"}}),
    st.just({"segment": "other"}),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(lambda part: {"not": part}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"all": parts}),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": parts}),
    ),
    max_leaves=6,
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), where=conditions, other=leaves.filter(lambda leaf: "segment" not in leaf))
def test_sql_selects_whom_the_sets_select(
    store: Store, seed: int, where: dict[str, Any], other: dict[str, Any]
) -> None:
    people = population(seed)
    segments: Segments = {"s": {"name": "s", "where": where}, "other": {"name": "other", "where": other}}
    segment = clause("s", segments, store.dialect)
    with store.write() as connection:
        settle(connection, people)
        found = set(connection.execute(select(users.c.id).where(segment), {"as_of": AS_OF}).scalars())
        others = set(connection.execute(select(users.c.id).where(~segment), {"as_of": AS_OF}).scalars())
        assert count(connection, segment, AS_OF) == len(found)
    expected = {person["id"] for person in people if holds(where, person, segments)}
    assert found == expected, orjson.dumps(where)
    assert found | others == {person["id"] for person in people}
    assert not found & others


@pytest.mark.parametrize("value", VALUES)
def test_not_equals_is_the_opposite_of_equals(value: object) -> None:
    for operand in (1, "a", True):
        assert _test(value, {"equals": operand}) != _test(value, {"not_equals": operand})
