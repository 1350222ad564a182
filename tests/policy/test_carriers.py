"""Routing: the set form in SQL and the single form in Python agree, shares hold, and nobody moves without a reason."""

from __future__ import annotations

import sqlite3
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.policy.carriers import (
    ANY,
    Carrier,
    Carriers,
    Routing,
    carried_sql,
    choice_sql,
    choose,
    in_order,
    without,
)
from orchestrator.store.dialect import register_functions

KINDS = ("token", "fid", "apns")
PLATFORMS = ("android", "ios", "web")
COUNTRIES = ("DE", "CN", "US")


def some(words: tuple[str, ...]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(words), max_size=2)


carriers = st.lists(
    st.tuples(
        st.one_of(st.just(ANY), st.frozensets(st.sampled_from(KINDS), min_size=1)),
        some(COUNTRIES),
        some(PLATFORMS),
        st.one_of(st.none(), st.integers(1, 5)),
    ),
    min_size=1,
    max_size=6,
).map(lambda found: in_order(Carrier(f"a{n}", "push", *one) for n, one in enumerate(found)))
addresses = st.tuples(
    st.sampled_from(KINDS),
    st.one_of(st.none(), st.sampled_from(PLATFORMS)),
    st.one_of(st.none(), st.sampled_from(COUNTRIES)),
    st.one_of(st.just(""), st.sampled_from(COUNTRIES)),
    st.integers(0, 10_000).map(lambda n: f"user-{n}"),
)
Address = tuple[str, str | None, str | None, str, str]


def in_sql(found: Carriers, address: Address) -> tuple[str | None, bool]:
    """What the database says: the account, and whether any carries it."""
    with sqlite3.connect(":memory:") as connection:
        register_functions(connection)
        connection.execute("CREATE TABLE a (kind, platform, country, own, person)")
        connection.execute("INSERT INTO a VALUES (?, ?, ?, ?, ?)", address)
        lanes = {one.name: f"'{one.name}'" for one in found}
        chosen = choice_sql("sqlite", found, lanes, "a", "a.own", "a.person")
        carried = carried_sql(found, "a", "a.own")
        row = connection.execute(f"SELECT {chosen}, 1 {carried} FROM a").fetchone()
    connection.close()
    return row[0], bool(row[1])


@settings(max_examples=400, deadline=None)
@given(found=carriers, address=addresses)
def test_the_two_forms_agree_and_what_they_choose_fits(found: Carriers, address: Address) -> None:
    kind, platform, own, country, user = address
    place = own or country
    chosen = choose(found, kind, platform, place, user)
    name, carried = in_sql(found, address)
    assert name == (chosen.name if chosen else None)
    assert carried == (chosen is not None) == any(one.takes(kind, platform, place) for one in found)
    if chosen is not None:
        assert chosen.takes(kind, platform, place)
        assert chosen.rank == max(one.rank for one in found if one.takes(kind, platform, place))


@settings(max_examples=200, deadline=None)
@given(found=carriers, address=addresses)
def test_a_stopped_account_moves_its_own_users_alone(found: Carriers, address: Address) -> None:
    kind, platform, own, country, user = address
    before = choose(found, kind, platform, own or country, user)
    for gone in found:
        left = without(found, [gone.name])
        after = choose(left, kind, platform, own or country, user)
        if before is None:
            assert after is None
        elif before.share is None and before != gone:
            assert after == before
        elif before == gone:
            assert after != gone


def shares(*weights: int) -> Carriers:
    return in_order(Carrier(f"a{n}", "sms", share=weight) for n, weight in enumerate(weights))


@pytest.mark.parametrize("weights", [(1, 1), (9, 1), (3, 2, 5)])
def test_shares_hold_within_tolerance_and_are_the_same_again(weights: tuple[int, ...]) -> None:
    people = [f"u{n}" for n in range(20_000)]

    def parts() -> list[str]:
        return [one.name for user in people if (one := choose(shares(*weights), "phone", None, "", user))]

    first, counts = parts(), Counter(parts())
    assert parts() == first
    for n, weight in enumerate(weights):
        assert abs(counts[f"a{n}"] / len(people) - weight / sum(weights)) < 0.015


def test_shares_are_not_the_draw_of_arms() -> None:
    """Half of each arm goes through each account, or the account would be part of the experiment."""
    from orchestrator.experiment.assign import arm_of

    people = [f"u{n}" for n in range(8_000)]
    found = Counter(
        (arm_of("lunch", user, [("a", 1), ("b", 1)]), one.name)
        for user in people
        if (one := choose(shares(1, 1), "phone", None, "", user))
    )
    assert all(abs(count / len(people) - 0.25) < 0.02 for count in found.values())
    assert len(found) == 4


def test_order_of_fallback() -> None:
    """Who names the country comes before who names none, then the order of the file; who does not fit never comes."""
    found = in_order(
        [
            Carrier("everywhere", "sms"),
            Carrier("china", "sms", countries=frozenset({"CN"})),
            Carrier("spare", "sms"),
            Carrier("germany", "sms", countries=frozenset({"DE"})),
        ]
    )
    order = []
    while (one := choose(found, "phone", None, "CN", "u")) is not None:
        order.append(one.name)
        found = without(found, [one.name])
    assert order == ["china", "everywhere", "spare"]
    assert [one.name for one in found] == ["germany"]


def test_the_sql_for_postgresql_is_the_same_draw() -> None:
    sql = choice_sql("postgresql", shares(1, 3), {"a0": ":lane0", "a1": ":lane1"}, "a", "''", "users.external_id")
    draw = "('x' || substr(md5('sms:account:' || users.external_id), 1, 8))::bit(32)::bigint"
    assert f"WHEN ({draw}) * (1 + 3) < (1) * 4294967296 THEN :lane0" in sql
    assert f"WHEN ({draw}) * (1 + 3) < (1 + 3) * 4294967296 THEN :lane1" in sql


@pytest.mark.parametrize("word", ["x'); DROP TABLE message; --", "a b", "", "日"])
def test_nothing_but_words_gets_into_sql(word: str) -> None:
    with pytest.raises(ValueError, match="names no kind"):
        Carrier("a", "push", frozenset({word}))


def test_a_single_account_that_takes_all_costs_nothing() -> None:
    assert carried_sql(in_order([Carrier("a", "sms")]), "choice", "m.country") == ""
    assert carried_sql((), "choice", "m.country") == ""


def test_steps_use_all_accounts_of_their_channel_or_the_one_they_name() -> None:
    routing = Routing((Carrier("a", "sms"), Carrier("b", "sms"), Carrier("c", "push")))
    assert [one.name for one in routing.of("sms", None)] == ["a", "b"]
    assert [one.name for one in routing.of("sms", "b")] == ["b"]
    assert routing.found("email", None) == ()
    with pytest.raises(ConfigError, match="did you mean 'b'"):
        routing.of("sms", "bb")
