"""The database: one writer at a time on SQLite, any number on PostgreSQL.

SQLite before 3.51.3 can lose committed writes when several connections write to one WAL file, so all writing of a
process goes through one connection behind a lock, one process writes a file (a lock file says which), and readers open
the file read-only. ``synchronous=FULL``: what is committed survives a power cut.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.engine import ExecutionContext
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError, ProgrammingError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.pool import QueuePool

from orchestrator.errors import NotFoundError, StoreLockedError
from orchestrator.store.dialect import register_functions

T = TypeVar("T")

AWAY = (SQLAlchemyError, StoreLockedError)
"""What says that the database did not do what it was asked: it is away, or another program holds its file."""
_ANYBODY = (OperationalError, InternalError, StoreLockedError, NoConnectionError)
_OF_THE_ROWS = ("57014", "54", "XX001", "XX002")  # a statement's time is over, a limit is passed, data are damaged
_NO_RIGHT_OR_TABLE = "42"  # class of PostgreSQL's errors; of what we cannot even ask for, ProgrammingError has none
BUSY_SECONDS = 5.0
TRIES = 3
_FOR_ANOTHERS_SAKE = {"40P01", "40001"}  # deadlock, serialization failure
USUAL_PAGES, BULK_PAGES = 1_000, 4_000


def unavailable(error: BaseException) -> bool:
    """Whether a database could do it for nobody: away, locked, full, read-only, or without a right or a table.

    Else it was about what was asked of it: what was to be written, or rows that take too long or are damaged.
    """
    state = str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")
    if isinstance(error, ProgrammingError):
        return state.startswith(_NO_RIGHT_OR_TABLE)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, _ANYBODY) and not state.startswith(_OF_THE_ROWS)


class Store:
    """An open database. ``write()`` and ``read()`` each give one transaction; ``close()`` when done."""

    def __init__(self, url: str, *, writer: bool = True, private: bool = False) -> None:
        """Open ``url``: a path to a SQLite file, or a ``postgresql://`` address.

        ``?pgbouncer=true`` at the end of an address: what it leads to is PgBouncer in its transaction mode, where the
        next transaction may be another connection's; nothing is prepared there then.

        ``private``: a file of this thread alone, of which nothing need outlive it: one connection for everything, and
        one transaction that is never committed, for there is nobody who would read it or recover from it.

        Raises:
            StoreLockedError: ``writer`` was asked for and another process is the SQLite file's writer, or a program
                that knows nothing of our lock file holds the file for longer than ``BUSY_SECONDS``.
            NotFoundError: a reader asked for a file that does not exist.
        """
        self.url = url
        self.path = None if "://" in url else Path(url).resolve()
        self.writer = writer
        self._lock: IO[str] | None = None
        self._turn = _Turn()
        self._private = private
        self._whole: Connection | None = None
        if self.path is None:
            self._reader = self._writer = _postgresql(url)
            return
        if writer:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _take_lock(self.path)
            self.path.touch(0o600)  # addresses are in it; SQLite gives its log and index the file's own mode
            self._writer = _sqlite(self.path, read_only=False, private=private)
            try:
                with self._writer.connect() as connection:  # creates the file, so that readers find one
                    connection.exec_driver_sql("SELECT 1")
            except BaseException:
                self._writer.dispose()
                self._lock.close()
                raise
        elif not self.path.is_file():
            raise NotFoundError(f"no database at {self.path.name}", hint="launch a campaign or import users first")
        self._reader = self._writer if private else _sqlite(self.path, read_only=True)

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._reader.dialect.name

    @property
    def writer_engine(self) -> Engine:
        """For migrations; and what tells databases apart within a process."""
        return self._writer

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One writing transaction, committed at the end, rolled back on an exception. Keep it under 50 ms."""
        if self.path is not None and self._lock is None:
            raise StoreLockedError("this process opened the database read-only")
        if self._private:
            with _undoing(_part(self._only())) as connection:
                yield connection
            return
        if self.path is None:
            with _undoing(self._writer.begin()) as connection:
                yield connection
            return
        with self._turn, _undoing(self._writer.begin()) as connection:
            yield connection

    def again(self, work: Callable[[Connection], T]) -> T:
        """``work`` in a writing transaction, from its beginning again when the server ended that for another's sake.

        PostgreSQL ends one of two transactions that wait for each other. ``work`` has to say all it says to the
        connection it is given.
        """
        for _ in range(TRIES - 1):
            try:
                with self.write() as connection:
                    return work(connection)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _FOR_ANOTHERS_SAKE:
                    raise
        with self.write() as connection:
            return work(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One reading transaction: a consistent view.

        Ended as one that writes is: when it is rolled back, the driver forgets what it has prepared.
        """
        if self._private:
            yield self._only()
            return
        with self._reader.connect() as connection:
            yield connection
            connection.commit()

    def _only(self) -> Connection:
        """The one connection of a private file, in its one transaction."""
        if self._whole is None:
            self._whole = self._writer.connect()
            self._whole.begin()
        return self._whole

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """While much is written: SQLite carries pages from its log into the file in larger lots."""
        self._checkpoint_every(BULK_PAGES)
        try:
            yield
        finally:
            self._checkpoint_every(USUAL_PAGES)

    def _checkpoint_every(self, pages: int) -> None:
        if self.path is not None:
            with self.write() as connection:  # there is one writing connection: it stays so
                connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint={pages}")

    def close(self) -> None:
        """Give up connections and the lock."""
        if self._whole is not None:
            self._whole.close()
            self._whole = None
        self._reader.dispose()
        if self.writer:
            self._writer.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


_UNDOING = "undoing"


def unless_committed(connection: Connection, undo: Callable[[], None]) -> None:
    """Have ``undo`` called should this transaction of :meth:`Store.write` not be committed, or not say whether it was.

    For what is remembered beside the database of what it was told.
    """
    connection.info[_UNDOING].append(undo)


@contextmanager
def _undoing(transaction: AbstractContextManager[Connection]) -> Iterator[Connection]:
    """The transaction; what others remember of it is undone when it fails."""
    undoing = list[Callable[[], None]]()
    try:
        with transaction as connection:
            connection.info[_UNDOING] = undoing
            yield connection
    except BaseException:
        for undo in undoing:
            undo()
        raise


@contextmanager
def _part(connection: Connection) -> Iterator[Connection]:
    """A part of a longer transaction, undone by itself when it fails."""
    driver: Any = connection.connection.driver_connection  # what SQLAlchemy adds would cost more than the savepoint
    driver.execute("SAVEPOINT part")
    try:
        yield connection
    except BaseException:
        driver.execute("ROLLBACK TO part")
        driver.execute("RELEASE part")
        raise
    driver.execute("RELEASE part")


class _Turn:
    """A lock that is fair: whoever asked first goes first, so a planner's chunks never starve the dispatcher."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next_ticket = 0
        self._serving = 0

    def __enter__(self) -> None:
        with self._changed:
            ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
            while ticket != self._serving:
                self._changed.wait()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._serving += 1
            self._changed.notify_all()


def lock_holder(path: Path) -> str:
    """What the lock file says of the process that holds it (its pid), or nothing."""
    try:
        return _lock_path(path).read_text().strip()
    except OSError:
        return ""


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _take_lock(path: Path) -> IO[str]:
    handle = _lock_path(path).open("a+", encoding="ascii")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise StoreLockedError(
            f"{path.name} is being written by process {lock_holder(path) or 'unknown'}",
            hint="one process writes a SQLite file: stop that one, or let the running daemon do the work",
        ) from None
    handle.truncate(0)
    handle.write(str(os.getpid()))
    handle.flush()
    return handle


_PRIVATE = (
    *("locking_mode=EXCLUSIVE", "journal_mode=MEMORY", "synchronous=OFF"),
    *("cache_size=-262144", "mmap_size=4294967296"),
)


def _sqlite(path: Path, *, read_only: bool, private: bool = False) -> Engine:
    engine = create_engine(
        f"sqlite:///file:{quote(str(path))}?mode={'ro' if read_only else 'rwc'}&uri=true",
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=8 if read_only else 1,
        max_overflow=24 if read_only else 0,
        hide_parameters=True,  # an error's text goes to the log: no addresses in it
    )

    def prepare(connection: Any, _record: Any) -> None:
        register_functions(connection)
        if not (read_only or private):
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-32768" if not read_only else "PRAGMA cache_size=-2048")
        for pragma in _PRIVATE if private else ():
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA temp_store=MEMORY")

    def explain(context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            raise StoreLockedError(
                f"{path.name} is being written by another program, and has been for {BUSY_SECONDS:g} seconds",
                hint="end what has it open (a database browser, a sqlite3 shell, a copy under way), and try again",
            ) from None

    event.listen(engine, "connect", prepare)
    event.listen(engine, "handle_error", explain)
    begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _postgresql(url: str) -> Engine:
    """Nothing of ours outlives a transaction, but for what is prepared: statements that are said for each batch.

    They are planned each time for their values. A plan for any values would hold for a connection's life, made when
    what it reads was empty.
    """
    address = make_url(url).set(drivername="postgresql+psycopg")
    pooled = str(address.query.get("pgbouncer", "")).lower() in {"true", "1"}
    engine = create_engine(
        address.difference_update_query(["pgbouncer"]),
        connect_args={"prepare_threshold": None if pooled else sys.maxsize},  # of its own accord, never
        pool_pre_ping=True,  # a server that was restarted costs nobody an error
        hide_parameters=True,
    )
    event.listen(engine, "handle_error", _hide_rows)
    if not pooled:
        event.listen(engine, "connect", _plan_each_time)
        event.listen(engine, "do_execute", _execute)
    return engine


def _plan_each_time(connection: Any, _record: Any) -> None:
    connection.execute("SET plan_cache_mode = force_custom_plan")
    connection.commit()


def _execute(cursor: Any, statement: str, parameters: Any, context: ExecutionContext) -> bool:
    """Say to the driver which statements are to be prepared; the others are SQLAlchemy's to say."""
    if not context.execution_options.get("prepared"):
        return False
    cursor.execute(statement, parameters, prepare=True)
    return True


def _hide_rows(context: ExceptionContext) -> None:
    """PostgreSQL shows the row in question below its message; an error's text goes to the log."""
    said = getattr(getattr(context.original_exception, "diag", None), "message_primary", None)
    if said is None:
        return
    whole, shown = str(context.original_exception), context.sqlalchemy_exception
    context.original_exception.args = (said,)
    if shown is not None:
        shown.args = tuple(str(arg).replace(whole, said) for arg in shown.args)


__all__ = ["Store", "lock_holder"]
