"""The list of acts: what it shows and what it leaves out, whatever database keeps it, and along which index."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Connection, insert, text

from orchestrator.ledger import runs, stops
from orchestrator.ledger.history import Act, Wanted, acts, acts_query
from orchestrator.ledger.states import RunState
from orchestrator.ledger.transition import Transition, record
from orchestrator.store import Store
from orchestrator.store.tables import transition

AT = datetime(2026, 12, 7, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ANNA, BO = "operator anna", "operator bo"


def listed(store: Store, limit: int = 50, **wanted: object) -> list[Act]:
    with store.read() as connection:
        return acts(connection, Wanted(**wanted), limit)  # type: ignore[arg-type]


def words(found: list[Act]) -> list[tuple[str, str, str | None]]:
    return [(one.actor, one.new, one.campaign) for one in found]


@pytest.fixture
def told(store: Store) -> Store:
    """Two campaigns, a run, an account, and what became of single messages."""
    with store.write() as connection:
        runs.launch(connection, "lunch", "v" * 64, AT, ANNA)
        runs.launch(connection, "dinner", "w" * 64, AT + MINUTE, BO)
        closes = AT + timedelta(days=2)
        number = runs.create_run(
            connection, "lunch", "v" * 64, date(2026, 12, 8), now=AT + 2 * MINUTE, closes_at=closes
        )
        assert number is not None
        runs.set_run_state(connection, number, RunState.STOPPED, AT + 3 * MINUTE, "restored")
        stops.stop_account(connection, "fcm-1", "401", AT, AT + 4 * MINUTE, "fcm")
        for n in range(5):
            record(connection, [Transition(AT + 9 * MINUTE, "skipped", BO, "planned", "merged", "lunch", number, n)])
    return store


def test_acts_come_latest_first_and_single_messages_never(told: Store) -> None:
    assert words(listed(told)) == [
        ("fcm", "stopped", None),
        ("scheduler", "stopped", "lunch"),
        ("scheduler", "planning", "lunch"),
        (BO, "running", "dinner"),
        (ANNA, "running", "lunch"),
    ]
    assert [one.new for one in listed(told, 2)] == ["stopped", "stopped"]


def test_of_one_instant_the_later_line_comes_first(store: Store) -> None:
    with store.write() as connection:
        record(connection, [Transition(AT, f"n{number}", ANNA) for number in range(3)])
    assert [one.new for one in listed(store)] == ["n2", "n1", "n0"]


def test_a_line_of_a_run_that_names_no_campaign_is_of_its_runs_campaign(told: Store) -> None:
    ended, begun, launched = listed(told, campaign="lunch")
    assert (ended.new, ended.reason, ended.day, ended.version) == ("stopped", "restored", "2026-12-08", "v" * 64)
    assert (begun.run_id, launched.run_id, launched.day) == (ended.run_id, None, None)
    assert words(listed(told, campaign="dinner")) == [(BO, "running", "dinner")]


@pytest.mark.parametrize(
    ("actor", "found"),
    [
        (ANNA, [ANNA]), ("anna", [ANNA]), ("operator", [BO, ANNA]), ("scheduler", ["scheduler"] * 2), ("fcm", ["fcm"]),
        ("oper", []), ("an%", []), ("Anna", []),
    ],
)  # fmt: skip
def test_an_actor_is_named_as_a_whole_or_by_its_first_word(told: Store, actor: str, found: list[str]) -> None:
    assert [one.actor for one in listed(told, actor=actor)] == found


def test_since_takes_in_its_own_instant(told: Store) -> None:
    assert len(listed(told, since=AT + 3 * MINUTE)) == 2
    assert len(listed(told, since=AT + 3 * MINUTE + timedelta(microseconds=1))) == 1


def test_an_account_that_is_stopped_again_and_again_is_told_once_until_it_is_resumed(store: Store) -> None:
    with store.write() as connection:
        for code in ("401", "401", "403"):
            stops.stop_account(connection, "fcm-1", code, AT, AT, "fcm")
        assert stops.stopped_accounts(connection) == {"fcm-1": "403"}
        stops.resume_account(connection, "fcm-1", AT, ANNA)
        stops.stop_account(connection, "fcm-1", "401", AT, AT, "fcm")
    said = [(one.actor, one.old, one.new, one.reason) for one in reversed(listed(store))]
    stopped = ("fcm", None, "stopped", "account fcm-1: 401")
    assert said == [stopped, (ANNA, "stopped", "resumed", "account fcm-1"), stopped]


def test_that_an_older_database_was_restored_is_not_forgotten_for_another_reason(store: Store) -> None:
    """Else an operator could resume the account, and what left since the backup would leave again."""
    with store.write() as connection:
        for reason in ("restored", "401"):
            stops.stop_account(connection, "fcm-1", reason, AT, AT, "daemon")
        assert stops.stopped_accounts(connection) == {"fcm-1": "restored"}


EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}
ALONG = {
    "sqlite": "SEARCH transition USING INDEX ix_transition_act (at>?)",
    "postgresql": "Index Scan Backward using ix_transition_act on transition",
}


def _plan(connection: Connection, wanted: Wanted) -> list[str]:
    kind = connection.dialect.name
    sql = acts_query(wanted, 50).compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    return [str(row[-1]) for row in connection.execute(text(f"{EXPLAIN[kind]} {sql}"))]


@pytest.mark.parametrize("campaign", ["", "lunch"])
def test_acts_are_read_along_their_index_from_its_end_and_nothing_is_sorted(store: Store, campaign: str) -> None:
    with store.write() as connection:
        line = {"at": AT, "new": "skipped", "actor": "worker 1", "campaign": "lunch"}
        rows = [{**line, "message_id": n if n % 100 else None} for n in range(5_000)]
        connection.execute(insert(transition), rows)
    with store.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    with store.read() as connection:
        if store.dialect == "postgresql":  # fifty acts are sorted as fast as they are walked along
            connection.execute(text("SET LOCAL enable_bitmapscan = off"))
            connection.execute(text("SET LOCAL enable_sort = off"))
        for since in (None, AT):
            steps = _plan(connection, Wanted(campaign, "operator", since))
            along = ALONG[store.dialect] if since else ALONG[store.dialect].replace("SEARCH", "SCAN").split(" (")[0]
            assert any(along in step for step in steps), steps
            assert not any("ORDER BY" in step or "Sort" in step for step in steps), steps
