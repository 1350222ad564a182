"""Blocks of runs on PostgreSQL: made ahead, missed by nobody, and made of what there was before."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from orchestrator.ledger.ids import RUN_SHIFT, message_id
from orchestrator.store import Store, migrate, upgrade
from orchestrator.store.blocks import AHEAD, BLOCK, Block, blocks, keep_blocks
from tests.far_end import wait_for

pytestmark = [pytest.mark.postgresql, pytest.mark.on("postgresql")]

RUN = text("""
    INSERT INTO run (id, campaign, version, local_date, state, as_of, closes_at, created_at)
    VALUES (:run, 'c', 'v', CAST(:run AS TEXT), 'active', 1, 1, 1)""")
MEMBER = text("""
    INSERT INTO member (run_id, user_id, arm, held_out, decision, zone_key, country)
    VALUES (:run, :user, 'all', FALSE, 'planned', 'UTC', 'DE')""")
MESSAGE = text("""
    INSERT INTO message (id, run_id, user_id, step, lane_id, address_id, arm, held_out, state, due_at, deadline,
                         state_at)
    VALUES (:id, :run, :user, :step, 17, :address, 'all', FALSE, 'planned', 1, 1, 1) ON CONFLICT DO NOTHING""")
ATTEMPT = text("""
    INSERT INTO attempt (message_id, n, worker_id, account, started_at, outcome) VALUES (:id, 1, 1, 'fcm', 1, 'x')""")
WHERE = text("SELECT tableoid::regclass::text FROM message WHERE id = :id")


def owe(connection: Connection, run: int, user: int = 1, step: int = 1, address: int | None = None) -> int:
    number = message_id(run, user, step)
    row = {"id": number, "run": run, "user": user, "step": step, "address": address or user}
    return connection.execute(MESSAGE, row).rowcount


def few(first: int, past: int) -> list[Block]:
    return [Block(n * BLOCK, (n + 1) * BLOCK) for n in range(first, past)]


def rest_of(connection: Connection) -> list[str]:
    return [str(connection.execute(WHERE, {"id": row}).scalar_one()) for row in connection.execute(IDS).scalars()]


IDS = text("SELECT id FROM message ORDER BY id")


def test_blocks_are_made_ahead_of_the_runs_and_asking_again_makes_none(store: Store) -> None:
    with store.write() as connection:
        assert blocks(connection) == few(0, AHEAD + 1)
        connection.execute(RUN, {"run": 5 * BLOCK + 3})
    assert keep_blocks(store) == few(5, 6 + AHEAD)
    assert keep_blocks(store) == []
    with store.write() as connection:
        assert owe(connection, 5 * BLOCK + 3) == 1
        assert rest_of(connection) == [f"message_r{5 * BLOCK}"]


def test_a_message_whose_block_is_not_there_is_kept_and_its_fellows_join_it(store: Store) -> None:
    with store.write() as connection:
        connection.execute(RUN, {"run": 1000})
        assert owe(connection, 1000) == 1
        assert owe(connection, 1000, step=2, address=7) == 1
        assert owe(connection, 1000, user=9, step=2, address=7) == 0  # a step and an address: one message
        assert rest_of(connection) == ["message_rest"] * 2
    made = keep_blocks(store)
    assert made == few(1000 // BLOCK + 1, 1000 // BLOCK + AHEAD + 1)  # not the one that has begun
    with store.write() as connection:
        assert owe(connection, 1000, user=2) == 1
        assert rest_of(connection) == ["message_rest"] * 3


def test_one_message_to_an_address_and_step_in_every_partition(store: Store) -> None:
    with store.write() as connection:
        for run in (1, BLOCK, BLOCK + 1):
            assert owe(connection, run) == 1
            assert owe(connection, run, user=2, address=1) == 0
        with pytest.raises(IntegrityError), connection.begin_nested():
            connection.execute(text("UPDATE message SET run_id = 2"))  # an id says which run it is of


def test_programs_that_make_blocks_at_once_make_them_once(store: Store) -> None:
    with store.write() as connection:
        connection.execute(RUN, {"run": 20 * BLOCK})
    made: list[Block] = []
    threads = [threading.Thread(target=lambda: made.extend(keep_blocks(store))) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert sorted(made) == few(20, 21 + AHEAD)


def test_blocks_that_cannot_be_had_wait_for_the_next_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.store.blocks.LOCK_MS", 50)
    with store.write() as connection:
        connection.execute(RUN, {"run": 20 * BLOCK})
    with store.read() as report:
        report.execute(text("SELECT count(*) FROM message"))  # holds every partition until it ends
        assert keep_blocks(store) == []
        with store.write() as connection:
            assert owe(connection, 20 * BLOCK) == 1  # and nobody waits
            connection.execute(text("DELETE FROM message"))
    assert len(keep_blocks(store)) == AHEAD + 1


def test_whoever_waits_for_a_report_to_make_a_block_keeps_nobody_waiting_for_long(store: Store) -> None:
    with store.write() as connection:
        connection.execute(RUN, {"run": 20 * BLOCK})
    with store.read() as report:
        report.execute(text("SELECT count(*) FROM message"))
        making = threading.Thread(target=keep_blocks, args=(store,))
        making.start()
        with store.read() as other:
            wait_for(lambda: _waits(store), "the block to wait for the report")
            began = time.monotonic()
            other.execute(text("SELECT count(*) FROM message"))  # behind it in the line
            waited = time.monotonic() - began
        making.join(30)
    assert waited < 1


def test_a_ledger_of_before_becomes_the_first_block_and_goes_back(empty: Store) -> None:
    _to(empty, "0013_lane_version")
    with empty.write() as connection:
        for run in (1, 2, 700):
            connection.execute(RUN, {"run": run})
            connection.execute(MEMBER, {"run": run, "user": 1})
            owe(connection, run)
            connection.execute(ATTEMPT, {"id": message_id(run, 1, 1)})
        rows = _rows(connection)
        indexes = _indexes(connection)
    upgrade(empty)
    with empty.write() as connection:
        assert blocks(connection) == [Block(0, 11 * BLOCK), *few(11, 11 + AHEAD)]
        assert _rows(connection) == rows
        assert rest_of(connection) == ["message_r0"] * 3
        assert owe(connection, 702) == 1
        assert owe(connection, 702, user=2, address=1) == 0
        assert owe(connection, 11 * BLOCK) == 1
        assert rest_of(connection)[3:] == ["message_r0", f"message_r{11 * BLOCK}"]
    _to(empty, "0013_lane_version", down=True)
    with empty.write() as connection:
        assert _indexes(connection) == indexes
        assert len(_rows(connection)["message"]) == 5
        assert owe(connection, 702, user=2, address=1) == 0
    upgrade(empty)


def test_an_index_of_an_operators_own_stays_what_it_was(empty: Store) -> None:
    _to(empty, "0013_lane_version")
    with empty.write() as connection:
        connection.execute(text('CREATE INDEX "Ours" ON message (reason)'))
        connection.execute(text('CREATE INDEX "Our message" ON message (state)'))
    upgrade(empty)
    with empty.read() as connection:
        ours = {name: made for name, made in _indexes(connection) if name.startswith("Our")}
    assert "ON public.message_r0 " in ours["Ours"]
    assert "ON public.message_r0 " in ours["Our message_r0"]
    assert "ON ONLY public.message " in ours["Our message"]  # and so of every block to come


def test_a_migration_that_waits_for_who_waits_for_it_is_tried_again(empty: Store) -> None:
    _to(empty, "0013_lane_version")
    failed: list[BaseException] = []

    def work() -> None:
        try:
            upgrade(empty)
        except BaseException as error:  # noqa: BLE001  # of a thread: told below
            failed.append(error)

    migrating = threading.Thread(target=work)
    with empty.read() as reader:
        reader.execute(text("SELECT count(*) FROM message"))
        migrating.start()
        wait_for(lambda: _waits(empty), "the migration to wait for the reader")
        reader.execute(text("SELECT count(*) FROM run"))  # the server ends who has waited longer
    migrating.join(30)
    assert not failed
    with empty.read() as connection:
        assert blocks(connection)


def _waits(store: Store) -> bool:
    with store.read() as connection:
        return bool(connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())


def test_a_later_programs_schema_is_left_alone(empty: Store) -> None:
    upgrade(empty)
    with empty.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999_later'"))
    upgrade(empty)
    with empty.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999_later"


def _rows(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    tables = {"member": "run_id", "message": "id", "attempt": "message_id"}
    return {
        name: [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name} ORDER BY {key}"))]
        for name, key in tables.items()
    }


def _indexes(connection: Connection) -> list[tuple[str, str]]:
    query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"
    return [(row[0], row[1]) for row in connection.execute(text(query))]


def _to(store: Store, revision: str, *, down: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    with store.writer_engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)


def test_a_run_named_alone_opens_its_block_alone(store: Store) -> None:
    with store.read() as connection:
        for sql in ("run_id = :run", "id >= :low AND id < :high", "id = :low"):
            asked = {"run": BLOCK + 1, "low": BLOCK + 1 << RUN_SHIFT, "high": BLOCK + 2 << RUN_SHIFT}
            plan = str(connection.execute(text(f"EXPLAIN SELECT * FROM message WHERE {sql}"), asked).all())
            assert f"message_r{BLOCK} " in plan or f"message_r{BLOCK}_" in plan
            assert "message_r0" not in plan
            assert f"message_r{2 * BLOCK}" not in plan
