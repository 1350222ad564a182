"""What segment files may say, and what is said about those that say something else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from orchestrator.audience.condition import SegmentFile
from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.audience.people import ConsentChange, UserRow, set_consents, upsert_users
from orchestrator.audience.segment import MAX_PARTS, attributes_of, clause, count, refuse_past, sample
from orchestrator.errors import ConfigError, InputError
from orchestrator.store.engine import Store
from orchestrator.store.tables import event, users

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


def segment(where: object, name: str = "s") -> dict[str, Any]:
    return {"name": name, "where": where}


def problems(where: object, **others: object) -> list[str]:
    segments = {"s": segment(where), **{name: segment(other, name) for name, other in others.items()}}
    with pytest.raises(ConfigError) as caught:
        clause("s", segments)
    return [str(problem).removeprefix("segment s: ") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"did": "x", "at_leas": 2}, "where.at_leas: unknown field (did you mean 'at_least'?)"),
        ({"dit": "x"}, "where: unknown condition 'dit' (did you mean 'did'?)"),
        ("did", "where: is not a condition (a condition is a group of fields such as `did: order_paid`)"),
        ({"did": "x", "within": "30"}, "where.within: '30' is not a span (write 90m, 12h, 30d or 2w)"),
        ({"did": "x", "within": "0d"}, "where.within: '0d' has to be more than nothing and at most 36600 days"),
        (
            {"did": "x", "attribute": "y"},
            "where.attribute: is a second condition here (put both in a list under `all:`)",
        ),
        ({"did": "x", "at_least": 3, "at_most": 1}, "where.at_least: is more than at_most (1)"),
        ({"did": "x", "exactly": 3, "at_most": 1}, "where.exactly: stands alone, without at_least and at_most"),
        ({"did": "x", "at_least": True}, "where.at_least: should be a whole number"),
        (
            {"did": "x", "where": [{"property": "p", "mor_than": 1}]},
            "where.where.1.mor_than: unknown field (did you mean 'more_than'?)",
        ),
        ({"last": "x"}, "where: needs a span or a value (before: 30d, within: 30d, or value: {property: …})"),
        ({"last": "x", "before": "3d", "within": "2d"}, "where.within: leaves nothing between before and within"),
        ({"attribute": "x", "equals": [1]}, "where.equals: should be a text, a number, true or false"),
        ({"attribute": "x", "less_than": True}, "where.less_than: true and false have no order (use equals)"),
        ({"attribute": "x", "between": [3, 1]}, "where.between: has its ends the wrong way round (write [1, 3])"),
        ({"attribute": "x", "between": ["a", 1]}, "where.between: needs two numbers or two texts"),
        ({"attribute": "x", "equals": 1, "present": True}, "where: has 2 comparisons and needs one"),
        ({"attribute": 'a"b', "present": True}, "where.attribute: 'a\"b' cannot be a name here"),
        ({"attribute": "zone", "equals": 1}, "where.equals: zone is text (put the value in quotes)"),
        ({"address": "pusj"}, "where.address: unknown word 'pusj' (did you mean 'push'?)"),
        ({"consent": {"chanel": "push", "topic": "t"}}, "where.consent.channel: is missing"),
        ({"all": []}, "where.all: "),
        ({"segment": "sother"}, "where.segment: unknown segment 'sother' (did you mean 'other'?)"),
    ],
)
def test_each_mistake_is_named_with_its_place_and_the_fix(where: object, expected: str) -> None:
    assert problems(where, other={"did": "x"})[0].startswith(expected)


def test_all_mistakes_are_told_at_once() -> None:
    found = problems({"all": [{"did": "x", "at_leas": 1}, {"not": {"dit": "x"}}, {"segment": "t"}]}, t={"last": "x"})
    assert [text.split(":")[0] for text in found] == ["where.all.1.at_leas", "where.all.2.not", "segment t"]


def test_a_circle_is_refused_and_named() -> None:
    found = problems({"segment": "a"}, a={"not": {"segment": "b"}}, b={"all": [{"segment": "a"}]})
    assert found == [
        "segment a: where.not.segment: goes round in a circle: a → b → a",
        "segment b: where.all.1.segment: goes round in a circle: b → a → b",
    ]
    assert problems({"segment": "s"}) == ["where.segment: goes round in a circle: s → s"]


def test_a_few_lines_that_stand_for_millions_are_refused() -> None:
    others: dict[str, object] = {f"l{n}": {"all": [{"segment": f"l{n + 1}"}] * 10} for n in range(8)}
    found = problems({"segment": "l0"}, **others, l8={"did": "x"})
    assert f"segment l0: where: stands for more than {MAX_PARTS} conditions (split it up)" in found


def test_an_unknown_segment_is_not_found() -> None:
    with pytest.raises(ConfigError, match=r"dormant: unknown segment .did you mean 'dormand'"):
        clause("dormant", {"dormand": {"name": "dormand", "where": {"did": "x"}}})


def test_a_past_instant_is_refused_where_attributes_are_asked_naming_them() -> None:
    segments = {
        "s": segment({"all": [{"attribute": "tier", "equals": "gold"}, {"segment": "t"}]}),
        "t": segment({"not": {"attribute": "country", "equals": "DE"}}, "t"),
        "u": segment({"did": "x"}, "u"),
    }
    assert attributes_of("s", segments) == ["country", "tier"]
    with pytest.raises(InputError, match="attributes that keep no history: country, tier"):
        refuse_past("s", segments, NOW - timedelta(seconds=1), NOW)
    refuse_past("s", segments, NOW, NOW)
    refuse_past("u", segments, NOW - timedelta(days=500), NOW)


def test_consents_are_those_of_the_instant(store: Store) -> None:
    segments = {"s": segment({"consent": {"channel": "push", "topic": "news"}})}
    days = [NOW - timedelta(days=n) for n in (9, 6, 3)]
    with store.write() as connection:
        upsert_users(connection, [UserRow("u")], NOW)
        stated = zip((True, False, True), days, strict=True)
        set_consents(connection, [ConsentChange(1, "push", "news", yes, "t", at, dated=True) for yes, at in stated])
        asked = [days[0] - timedelta(seconds=1), *days, NOW]
        assert [count(connection, clause("s", segments), at) for at in asked] == [0, 1, 0, 1, 1]


def test_the_schema_is_there_for_editors() -> None:
    schema = SegmentFile.model_json_schema()
    assert {"name", "where"} <= set(schema["properties"])
    assert schema["$defs"]["Did"]["properties"]["within"]["anyOf"][0]["examples"] == ["90m", "12h", "30d", "2w"]


def test_a_sample_is_the_same_each_time(store: Store) -> None:
    segments = {"s": segment({"attribute": "x", "present": False})}
    with store.write() as connection:
        upsert_users(connection, [UserRow(f"u{n}") for n in range(50)], NOW)
        first = sample(connection, clause("s", segments), NOW, 5)
        assert first == sample(connection, clause("s", segments), NOW, 5)
    assert len(set(first)) == 5
    assert first != [f"u{n}" for n in range(5)]


@pytest.mark.on("sqlite")  # whose plan it reads
def test_events_are_reached_through_their_index(store: Store) -> None:
    """Mautic #8113: a rebuild of 40 minutes at 260,000 contacts."""
    where = {
        "all": [{"did": "a", "at_least": 2, "within": "9d"}, {"not": {"last": "a", "before": "3d"}}, {"did_not": "b"}]
    }
    chosen = select(users.c.id).where(users.c.id > 0, users.c.id <= 9, clause("s", {"s": segment(where)}))
    consented = {"any": [{"consent": {"channel": "push", "topic": "t"}}, {"address": "push"}]}
    agreed = select(users.c.id).where(clause("s", {"s": segment(consented)}))
    with store.read() as connection:
        plans = []
        for statement in (chosen, agreed):
            compiled = statement.params(as_of=NOW).compile(connection, compile_kwargs={"render_postcompile": True})
            values = tuple(compiled.construct_params()[name] for name in compiled.positiontup or ())
            values = tuple(0 if isinstance(value, datetime) else value for value in values)
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", values).all()
            plans.append("\n".join(row[3] for row in rows))
    assert plans[0].count("INDEX ix_event_user_id_name_at (user_id=? AND name=? AND at") == 3, plans[0]
    assert "SCAN event" not in plans[0]
    assert "SCAN consent" not in plans[1]
    assert "SCAN address" not in plans[1]


def test_a_hundred_thousand_events_are_quick(store: Store) -> None:
    with store.write() as connection:
        upsert_users(connection, [UserRow(f"u{n}") for n in range(1000)], NOW)
        rows = [
            {
                "user_id": n % 1000 + 1,
                "name": "a",
                "at": NOW - timedelta(hours=n // 100),
                "received_at": NOW,
                "source_id": str(n),
            }
            for n in range(30_000)
        ]
        connection.execute(insert(event), rows)
        segments = {"s": segment({"all": [{"did": "a", "at_least": 5, "within": "10d"}, {"did_not": "b"}]})}
        assert count(connection, clause("s", segments), NOW) == 1000


def test_json_values_of_other_types_are_never_compared(store: Store) -> None:
    """Text "10" and number 9: neither database may cast one into the other, or fail trying."""
    people = [UserRow(f"u{n}", attributes={"x": x}) for n, x in enumerate([10, "10", "ten", True, 9.5])]
    with store.write() as connection:
        upsert_users(connection, people, NOW)
        record_events(
            connection, [IncomingEvent("u0", "e", NOW, "1", {"x": "ten"}), IncomingEvent("u1", "e", NOW, "2")], NOW
        )

        def found(where: object) -> int:
            return count(connection, clause("s", {"s": segment(where)}), NOW)

        assert found({"attribute": "x", "more_than": 9}) == 2
        assert found({"attribute": "x", "at_least": "10"}) == 2
        assert found({"attribute": "x", "in": [10, "10", True]}) == 3
        assert found({"did": "e", "where": [{"property": "x", "more_than": 1}]}) == 0
        assert found({"did": "e", "where": [{"property": "x", "not_equals": 1}]}) == 2
