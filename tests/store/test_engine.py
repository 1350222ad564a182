"""One writer a file, fair turns, readers that only read, and errors that say nothing about people."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from orchestrator.errors import NotFoundError, StoreLockedError
from orchestrator.store import Store, engine, lock_holder, unavailable, unless_committed
from tests.far_end import wait_for

HOLD = """
import sys
from orchestrator.store import Store
store = Store(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_who_writes(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(StoreLockedError, match=rf"t\.db is being written by process {other.pid}\n") as caught:
            Store(str(path))
        assert "let the running daemon do the work" in caught.value.hint
        with Store(str(path), writer=False).read() as connection:  # who only reads is welcome
            assert connection.execute(text("SELECT 1")).scalar() == 1
        other.kill()
    Store(str(path)).close()  # a killed writer leaves no lock behind


def test_the_lock_names_its_holder_only_while_it_is_held(tmp_path: Path) -> None:
    assert lock_holder(tmp_path / "t.db") == ""
    store = Store(str(tmp_path / "t.db"))
    assert int(lock_holder(tmp_path / "t.db")) > 0
    with pytest.raises(StoreLockedError):
        Store(str(tmp_path / "t.db"))
    store.close()
    Store(str(tmp_path / "t.db")).close()


def test_a_reader_of_no_file_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no database at gone\.db\n  launch a campaign or import users first"):
        Store(str(tmp_path / "gone.db"), writer=False)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_writes_nothing(tmp_path: Path) -> None:
    writer = Store(str(tmp_path / "t.db"))
    with writer.write() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
    reader = Store(str(tmp_path / "t.db"), writer=False)
    with pytest.raises(StoreLockedError, match="opened the database read-only"), reader.write():
        pass
    for store in (reader, writer):
        with store.read() as connection, pytest.raises(OperationalError, match="readonly"):
            connection.execute(text("INSERT INTO t VALUES (1)"))
    reader.close()
    writer.close()


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "t.db"))
    with store.write() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))

    def fail() -> None:
        with store.write() as connection:
            connection.execute(text("INSERT INTO t VALUES (1)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM t")).scalar() == 0
    with store.write() as connection:  # and the turn was given back
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    store.close()


def test_whoever_asked_to_write_first_writes_first(tmp_path: Path) -> None:
    """A planner that writes chunk after chunk must not starve the dispatcher."""
    store = Store(str(tmp_path / "t.db"))
    order: list[int] = []

    def work(number: int) -> None:
        with store.write():
            order.append(number)

    with store.write():
        threads = []
        for number in range(6):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            wanted = number + 2  # this one's ticket is drawn
            wait_for(lambda wanted=wanted: store._turn._next_ticket == wanted, "the next in the queue")
    for thread in threads:
        thread.join(10)
    assert order == [0, 1, 2, 3, 4, 5]
    store.close()


def test_errors_hide_what_was_written(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "t.db"))
    with store.write() as connection:
        connection.execute(text("CREATE TABLE t (value TEXT UNIQUE)"))
    twice = text("INSERT INTO t VALUES (:value), (:value)")
    for use in (store.write, store.read):
        with use() as connection, pytest.raises((IntegrityError, OperationalError)) as caught:
            connection.execute(twice, {"value": "+4915112345678"})
        assert "+4915112345678" not in str(caught.value)
        assert "hidden" in str(caught.value)
    store.close()


def test_errors_of_postgresql_are_to_hide_it_too() -> None:
    store = Store("postgresql://nobody@localhost/none")
    assert store.dialect == "postgresql"
    assert store.writer_engine.hide_parameters
    store.close()


def test_nobody_else_can_read_what_a_database_holds(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    store = Store(str(path))
    with store.write() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    store.close()
    assert {name: mode for name, mode in modes.items() if name != "t.db.lock"} == dict.fromkeys(
        ("t.db", "t.db-wal", "t.db-shm"), 0o600
    )


def test_a_program_that_knows_nothing_of_our_lock_is_named_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_SECONDS", 0.1)
    path = tmp_path / "t.db"
    store = Store(str(path))
    with store.write() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
    browser = sqlite3.connect(path, isolation_level=None)
    browser.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLockedError, match=r"t\.db is being written by another program") as caught, store.write():
        pytest.fail("nothing may be written now")
    assert "database browser" in caught.value.hint
    store.close()
    with pytest.raises(StoreLockedError, match="another program"):  # nor can it be opened; and our own lock is given up
        Store(str(path))
    browser.execute("ROLLBACK")
    browser.close()
    store = Store(str(path))
    with store.write() as connection:
        connection.execute(text("INSERT INTO t VALUES (1)"))
    store.close()


def _insert(store: Store, *values: int) -> None:
    with store.write() as connection:
        for value in values:
            connection.execute(text(f"INSERT INTO t VALUES ({value})"))


def test_a_private_store_takes_back_what_failed_and_that_alone(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "t.db"), private=True)
    with store.write() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER PRIMARY KEY)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    with pytest.raises(IntegrityError):
        _insert(store, 2, 1)
    _insert(store, 3)
    with store.read() as connection:
        assert connection.execute(text("SELECT a FROM t ORDER BY a")).scalars().all() == [1, 3]
    store.close()
    store.close()


def test_nothing_of_a_private_store_outlives_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "t.db"), private=True)
    with store.write() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER)"))
    store.close()
    again = Store(str(tmp_path / "t.db"))
    with again.read() as connection, pytest.raises(OperationalError, match="no such table"):
        connection.execute(text("SELECT * FROM t"))
    again.close()


def test_what_is_remembered_of_a_transaction_is_undone_when_it_is_not_committed(store: Store) -> None:
    undone: list[str] = []

    def transaction(name: str, then: Callable[[Connection], object]) -> None:
        with store.write() as connection:
            unless_committed(connection, lambda: undone.append(name))
            then(connection)

    def refuse(*_: object) -> None:
        raise ConnectionError

    transaction("committed", lambda _: None)
    with pytest.raises(ConnectionError):
        transaction("failed", refuse)
    with pytest.raises(ConnectionError):
        transaction("not acknowledged", lambda connection: event.listen(connection, "commit", refuse))
    transaction("committed", lambda _: None)
    assert undone == ["failed", "not acknowledged"]


@pytest.mark.parametrize(
    ("statement", "values", "wanted"),
    [
        ("SELECT * FROM a_table_that_is_not_there", {}, True),
        ("SELECT :x", {"x": object()}, False),  # no driver knows how to write it
        ("INSERT INTO meta (key, value) VALUES (NULL, 'x')", {}, False),
    ],
    ids=["no table", "no such type", "refused"],
)
def test_what_the_database_can_do_for_nobody_is_told_from_what_was_asked_of_it(
    store: Store, statement: str, values: dict[str, object], wanted: bool
) -> None:
    with pytest.raises(SQLAlchemyError) as caught, store.write() as connection:
        connection.execute(text(statement), values)
    assert unavailable(caught.value) is wanted


@pytest.mark.on("postgresql")
@pytest.mark.parametrize(
    "before", ["SET TRANSACTION READ ONLY", "CREATE ROLE no_rights; SET LOCAL ROLE no_rights"], ids=["standby", "right"]
)
def test_a_right_that_is_missing_and_a_standby_that_only_reads_are_no_messages_doing(store: Store, before: str) -> None:
    def tried() -> None:
        with store.write() as connection:
            for statement in (*before.split("; "), "DELETE FROM meta"):
                connection.execute(text(statement))

    with pytest.raises(SQLAlchemyError) as caught:
        tried()
    assert unavailable(caught.value)
