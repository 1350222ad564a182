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
from sqlalchemy import Connection, delete, insert, select, true

from orchestrator.audience.segment import clause, count
from orchestrator.store.dialect import bucket
from orchestrator.store.engine import Store
from orchestrator.store.tables import (
    address,
    consent,
    event,
    member,
    message,
    run,
    suppression,
    user_alias,
    users,
)

AS_OF = datetime(2026, 12, 1, 12, tzinfo=UTC)
EVENTS = ("app_open", "order_paid")
CHANNELS = ("push", "sms")
VALUES: list[Any] = [None, 0, 1, 2, 2.5, "", "a", "B", "ab", "2", "é", "中文", True, False]
SPANS = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "2d": timedelta(days=2), "1w": timedelta(weeks=1)}
DATES: list[Any] = [None, 3, "2026-12-01", "2026-11-30", "2026-12-02", "2026-12-08", "1990-12-01", "1992-12-07", "soon"]
DATES += [
    "2026-12-01T12:00:00Z",
    "2026-12-01T12:00:01.5Z",
    "2026-11-30T12:00:00Z",
    "2024-02-29",
    "2026-12-02T12:00:00Z",
]
RUNS = {1: "c1", 2: "c1", 3: "c2"}
STATES = ("accepted", "failed", "planned", "unknown")
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
        "attributes": {key: chance.choice(VALUES) for key in ("x", "y") if chance.random() < 0.8}
        | {"d": chance.choice(DATES)},
        "events": [_event(chance) for _ in range(chance.randrange(5))],
        "addresses": [(chance.choice(CHANNELS), *_stretch(chance)) for _ in range(chance.randrange(3))],
        "consents": _consents(chance),
        "suppressions": [
            (chance.random() < 0.5, chance.choice(CHANNELS), *_stretch(chance)) for _ in range(chance.choice([0, 0, 1]))
        ],
        "ledger": [_member(chance, run_id) for run_id in RUNS if chance.random() < 0.5],
        "merged_into": 1 if number == 8 and chance.random() < 0.5 else None,
    }


def _ago(chance: random.Random) -> datetime | None:
    hours = chance.choice([None, -1, 0, 1, 24, 30])
    return None if hours is None else AS_OF - timedelta(hours=hours)


def _member(chance: random.Random, run_id: int) -> dict[str, Any]:
    held_out = chance.random() < 0.3
    return {
        "run": run_id,
        "held_out": held_out,
        "anchor": _ago(chance),
        "state": "held_out" if held_out else chance.choice(STATES),
        "sent": None if held_out else _ago(chance),
        "reopened": _ago(chance),
        "converted": _ago(chance),
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
    for table in (users, event, address, consent, suppression, run, member, message, user_alias):
        connection.execute(delete(table))
    for run_id, campaign in RUNS.items():
        row = {"id": run_id, "campaign": campaign, "version": "v", "local_date": str(run_id), "state": "active"}
        connection.execute(insert(run).values(**row, as_of=AS_OF, closes_at=AS_OF, created_at=AS_OF))
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
        settle_more(connection, number, person)


def settle_more(connection: Connection, number: int, person: dict[str, Any]) -> None:
    for of_user, channel, start, end in person["suppressions"]:
        row = {"channel": channel, "reason": "stop", "source": "t", "valid_from": start, "valid_until": end}
        row |= {"user_id": number} if of_user else {"address": f"{number}.0"}
        connection.execute(insert(suppression).values(**row))
    for one in person["ledger"]:
        ids = {"run_id": one["run"], "user_id": number, "arm": "a", "held_out": one["held_out"]}
        back = {"reopened_at": one["reopened"], "converted_at": one["converted"], "anchor": one["anchor"]}
        connection.execute(insert(member).values(**ids, decision="planned", zone_key="", country="", **back))
        row = {
            "id": one["run"] << 40 | number << 4 | 1,
            "step": 1,
            "lane_id": 1,
            "address_id": number,
            "state": one["state"],
        }
        times = {"due_at": AS_OF, "deadline": AS_OF, "state_at": AS_OF, "sent_at": one["sent"]}
        connection.execute(insert(message).values(**ids, **row, **times))
    if person["merged_into"]:
        row = {"old_user_id": number, "user_id": person["merged_into"], "merged_at": AS_OF, "actor": "t"}
        connection.execute(insert(user_alias).values(**row))


def as_one(people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Who was merged is nobody; their part in campaigns is the other's."""
    for person in people:
        if person["merged_into"]:
            people[0]["ledger"] = people[0]["ledger"] + person["ledger"]
    return [person for person in people if not person["merged_into"]]


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


def _leaf_first(condition: dict[str, Any], person: dict[str, Any], _segments: Segments) -> bool:
    events = _events_of(person, condition["first"], {"where": condition.get("where", [])})
    return _last(condition, events, newest=False)


def _numbers(condition: dict[str, Any], word: str, person: dict[str, Any]) -> list[float]:
    found = [
        (one["properties"] or {}).get(condition["property"]) for one in _events_of(person, condition[word], condition)
    ]
    return [float(value) for value in found if isinstance(value, int | float) and not isinstance(value, bool)]


def _leaf_sum(condition: dict[str, Any], person: dict[str, Any], _segments: Segments) -> bool:
    return _test(float(sum(_numbers(condition, "sum", person))), _limit(condition))


def _leaf_average(condition: dict[str, Any], person: dict[str, Any], _segments: Segments) -> bool:
    found = _numbers(condition, "average", person)
    return bool(found) and _test(sum(found) / len(found), _limit(condition))


def _limit(condition: dict[str, Any]) -> dict[str, Any]:
    return {key: condition[key] for key in condition if key in {*_ORDER, "equals"}}


def _leaf_suppressed(condition: dict[str, Any], person: dict[str, Any], _segments: Segments) -> bool:
    channel = condition["suppressed"]
    first = person["addresses"][:1]
    has_first = any(one[0] == channel and _valid(*one[1:]) for one in first)
    return any(one[1] == channel and _valid(*one[2:]) and (one[0] or has_first) for one in person["suppressions"])


def _leaf_campaign(condition: dict[str, Any], person: dict[str, Any], _segments: Segments) -> bool:
    asked = dict(condition["campaign"])
    span = SPANS[asked.pop("within")] if "within" in asked else None
    ((question, name),) = asked.items()
    mine = [one for one in person["ledger"] if RUNS[one["run"]] == name]

    def lately(at: datetime | None) -> bool:
        return at is not None and at <= AS_OF and (span is None or at > AS_OF - span)

    sent = [one for one in mine if not one["held_out"] and lately(one["sent"])]
    left = [one for one in sent if one["state"] in {"accepted", "unknown"}]
    if question == "was_sent":
        return bool(left)
    if question == "did_not_reopen":
        return bool(left) and not any(one["reopened"] is not None and one["reopened"] <= AS_OF for one in sent)
    if question == "was_held_out":
        return any(one["held_out"] and lately(one["anchor"]) for one in mine)
    return any(not one["held_out"] and lately(one[question]) for one in mine)


def _leaf_sample(condition: dict[str, Any], person: dict[str, Any], _segments: Segments) -> bool:
    share = float(condition["sample"].rstrip("%")) / 100
    return bucket(f"sample:{condition.get('salt', '')}:{person['id']}") < int(share * 2**32)


_WORDS: dict[str, Callable[[dict[str, Any], dict[str, Any], Segments], bool]] = {
    "all": lambda c, person, segments: all(holds(part, person, segments) for part in c["all"]),
    "any": lambda c, person, segments: any(holds(part, person, segments) for part in c["any"]),
    "not": lambda c, person, segments: not holds(c["not"], person, segments),
    "segment": lambda c, person, segments: holds(segments[c["segment"]]["where"], person, segments),
    "did": lambda c, person, _segments: _did(c, _events_of(person, c["did"], c)),
    "did_not": lambda c, person, _segments: not _events_of(person, c["did_not"], c),
    "last": _leaf_last,
    "first": _leaf_first,
    "sum": _leaf_sum,
    "average": _leaf_average,
    "suppressed": _leaf_suppressed,
    "campaign": _leaf_campaign,
    "sample": _leaf_sample,
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


def _last(condition: dict[str, Any], events: list[dict[str, Any]], *, newest: bool = True) -> bool:
    if not events:
        return False
    at = (max if newest else min)(one["at"] for one in events)
    ago = AS_OF - at
    if "value" in condition:
        same = [one for one in events if one["at"] == at]  # in the order of their ids
        found = (same[-1 if newest else 0]["properties"] or {}).get(condition["value"]["property"])
        if not _test(found, condition["value"]):
            return False
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
    if name in {"contains", "starts_with"}:
        return isinstance(value, str) and (operand in value if name == "contains" else value.startswith(operand))
    if name in {"before", "within", "within_next", "anniversary"}:
        return _date_test(value, name, SPANS[operand])
    kind = _kind(operand[0] if name == "between" else operand)
    return bool(_kind(value) == kind and _ORDER[name](value, operand))


def _date_test(value: object, name: str, span: timedelta) -> bool:
    try:
        date = datetime.fromisoformat(str(value)).replace(tzinfo=UTC, microsecond=0)
    except ValueError:
        return False
    if name == "before":
        return date <= AS_OF - span
    if name == "within":
        return AS_OF - span < date <= AS_OF
    if name == "within_next":
        return AS_OF < date <= AS_OF + span
    days = {(AS_OF + timedelta(days=n)).strftime("%m-%d") for n in range(span.days)}
    return date.strftime("%m-%d").replace("02-29", "02-28") in days


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
        texts.map(lambda text: {"starts_with": text}),
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
    st.builds(
        lambda span, where, rest: {"first": "order_paid", **span, **where, **rest},
        lasts,
        st.fixed_dictionaries({}, optional={"where": tests}),
        st.fixed_dictionaries({}, optional={"value": comparisons.map(lambda test: {"property": "p", **test})}),
    ),
    comparisons.map(lambda test: {"last": "app_open", "value": {"property": "p", **test}}),
    st.builds(
        lambda word, limit, rest: {word: "order_paid", "property": "p", **limit, **rest},
        st.sampled_from(["sum", "average"]),
        st.one_of(
            *(
                st.fixed_dictionaries({word: numbers})
                for word in ("equals", "less_than", "at_most", "more_than", "at_least")
            ),
            st.just({"between": [0, 2]}),
        ),
        event_tests,
    ),
    st.builds(
        lambda word, span: {"attribute": "d", word: span},
        st.sampled_from(["before", "within", "within_next"]),
        spans,
    ),
    st.sampled_from(["1d", "2d", "1w"]).map(lambda span: {"attribute": "d", "anniversary": span}),
    st.sampled_from(CHANNELS).map(lambda channel: {"suppressed": channel}),
    st.builds(
        lambda question, name, span: {"campaign": {question: name, **span}},
        st.sampled_from(["was_sent", "reopened", "did_not_reopen", "converted", "was_held_out"]),
        st.sampled_from(["c1", "c2"]),
        st.fixed_dictionaries({}, optional={"within": spans}),
    ),
    st.builds(
        lambda share, salt: {"sample": share, **salt},
        st.sampled_from(["30%", "50%", "100%"]),
        st.sampled_from([{}, {"salt": "b"}]),
    ),
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
        others = set(connection.execute(select(users.c.id).where(segment.is_not(true())), {"as_of": AS_OF}).scalars())
        assert count(connection, segment, AS_OF) == len(found)
    everybody = {person["id"] for person in people}
    people = as_one(people)
    expected = {person["id"] for person in people if holds(where, person, segments)}
    assert found == expected, orjson.dumps(where)
    assert found | others == everybody
    assert not found & others


@pytest.mark.parametrize("value", VALUES)
def test_not_equals_is_the_opposite_of_equals(value: object) -> None:
    for operand in (1, "a", True):
        assert _test(value, {"equals": operand}) != _test(value, {"not_equals": operand})
