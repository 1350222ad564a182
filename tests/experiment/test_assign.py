"""Arms and holdout: stable, fair, independent, and the same in SQL."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from orchestrator.errors import InputError
from orchestrator.experiment.assign import arm_of, arm_sql, held_out, held_out_sql
from orchestrator.store.engine import Store

ARMS = [("dish", 1), ("coupon", 1), ("later", 1)]
USERS = [f"user-{n}" for n in range(20_000)]


@pytest.fixture
def store(shared_store: Store) -> Store:
    return shared_store


def test_known_values_stay() -> None:
    """A change here re-draws every running experiment: never change these lines."""
    drawn = {user: arm_of("lunch-winback", user, ARMS) for user in ("1", "2", "42", "张三", "a@b")}
    assert drawn == KNOWN_ARMS
    kept = {user for user in map(str, range(60)) if held_out("lunch-winback", user, 0.05)}
    assert kept == KNOWN_HOLDOUT


KNOWN_ARMS = {"1": "dish", "2": "coupon", "42": "coupon", "张三": "later", "a@b": "coupon"}
KNOWN_HOLDOUT = {"55"}


def test_arms_are_not_drawn_again_on_every_evaluation() -> None:  # notifuse
    assert len({arm_of("c", "u", ARMS) for _n in range(100)}) == 1
    assert len({held_out("c", "u", 0.5) for _n in range(100)}) == 1


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1), (97, 3), (7, 0, 13), (1, 2, 3, 4), (0, 5)])
def test_weights_are_respected(weights: tuple[int, ...]) -> None:
    arms = [(f"arm{n}", weight) for n, weight in enumerate(weights)]
    counts = Counter(arm_of("c", user, arms) for user in USERS)
    for name, weight in arms:
        expected = len(USERS) * weight / sum(weights)
        assert abs(counts[name] - expected) <= 4 * (expected**0.5)


def test_the_holdout_has_its_share() -> None:
    for share in (0.0, 0.05, 0.5, 1.0):
        count = sum(held_out("c", user, share) for user in USERS)
        assert abs(count - share * len(USERS)) <= 4 * (len(USERS) * share * (1 - share)) ** 0.5


def test_a_larger_holdout_keeps_whom_the_smaller_had() -> None:
    assert all(held_out("c", user, 0.2) for user in USERS if held_out("c", user, 0.1))


def test_holdout_arm_and_campaigns_are_drawn_independently() -> None:
    """Chi-squared over the 2 by 3 table stays under what one table in ten thousand exceeds (2 degrees of freedom)."""
    table = Counter((held_out("c", user, 0.3), arm_of("c", user, ARMS)) for user in USERS)
    assert chi_squared(table) < 18.4
    table = Counter((arm_of("c", user, ARMS) == "dish", arm_of("another", user, ARMS)) for user in USERS)
    assert chi_squared(table) < 18.4
    table = Counter((held_out("c", user, 0.3), str(held_out("another", user, 0.3))) for user in USERS)
    assert chi_squared(table) < 15.1


def chi_squared(table: Counter[tuple[bool, str]]) -> float:
    rows, columns = Counter[bool](), Counter[str]()
    for (row, column), count in table.items():
        rows[row] += count
        columns[column] += count
    expected = {(r, c): rows[r] * columns[c] / table.total() for r in rows for c in columns}
    return sum((table[cell] - e) ** 2 / e for cell, e in expected.items())


anything = st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    campaign=st.text(anything, min_size=1, max_size=12),
    users=st.lists(st.text(anything, max_size=20), min_size=1),
    arms=st.lists(
        st.tuples(st.from_regex(r"[\w .-]{1,12}", fullmatch=True), st.integers(0, 9)), min_size=1, max_size=5
    ).filter(lambda arms: any(w for _n, w in arms)),
    share=st.floats(0, 1),
)
def test_sql_and_python_say_the_same(
    store: Store, campaign: str, users: list[str], arms: list[tuple[str, int]], share: float
) -> None:
    kind = store.dialect
    arm, held = arm_sql(kind, "campaign", "u.id", arms), held_out_sql(kind, "campaign", "u.id", share)
    statement = text(f"SELECT {arm}, {held} FROM (SELECT CAST(:id AS TEXT) AS id) AS u")
    with store.read() as connection:
        for user in users:
            found = connection.execute(statement, {"campaign": campaign, "id": user}).one()
            assert (found[0], bool(found[1])) == (arm_of(campaign, user, arms), held_out(campaign, user, share))


def test_the_sql_for_postgresql_is_the_same_draw() -> None:
    sql = arm_sql("postgresql", "campaign", "users.external_id", [("a", 1), ("b", 3)])
    drawn = "('x' || substr(md5(CAST(:campaign AS TEXT) || ':arm:' || users.external_id), 1, 8))::bit(32)::bigint"
    assert sql == f"CASE WHEN {drawn} < 1073741824 THEN 'a' ELSE 'b' END"
    assert set(text(sql)._bindparams) == {"campaign"}


@pytest.mark.parametrize("arms", [[], [("a", 0)], [("a", 2), ("b", -1)]])
def test_impossible_weights(arms: list[tuple[str, int]]) -> None:
    with pytest.raises(InputError, match="weight"):
        arm_of("c", "u", arms)


@pytest.mark.parametrize("name", ["", "it's", "a:b", "a\\b", 'a"b', "a;b", "a%b", "x" * 101])
def test_names_that_would_mean_something_in_sql(name: str) -> None:
    for arms in ([(name, 1)], [("a", 1), (name, 0)]):
        with pytest.raises(InputError, match="name an arm"):
            arm_sql("sqlite", "campaign", "u.id", arms)
        with pytest.raises(InputError, match="name an arm"):
            arm_of("c", "u", arms)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_impossible_shares(share: float) -> None:
    with pytest.raises(InputError, match="share"):
        held_out("c", "u", share)
