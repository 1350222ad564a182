"""A real PgBouncer before the PostgreSQL of the tests, in its transaction mode.

Taken from PATH, else from Debian's packages unpacked into ``.peers/`` (no root, nothing installed).
"""

from __future__ import annotations

import fcntl
import os
import platform
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

PLACE = Path(__file__).parents[1] / ".peers" / "pgbouncer"
PACKAGES = ("pgbouncer", "libcares2", "libc-ares2", "libevent-2.1-7", "libevent-2.1-7t64")
LIBRARIES = PLACE / "usr/lib" / f"{platform.machine()}-linux-gnu"
CONFIG = """
[databases]
* = host={host} user=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
auth_type = any
auth_file =
pool_mode = transaction
default_pool_size = {connections}
ignore_startup_parameters = extra_float_digits
pidfile = {folder}/pid
logfile = {folder}/log
"""


def program() -> str | None:
    """Where it is, fetched when needed; None where it cannot be had."""
    if found := shutil.which("pgbouncer"):
        return found
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "lock").open("a") as file:  # pytest's workers come at once
        fcntl.flock(file, fcntl.LOCK_EX)
        inside = PLACE / "usr/sbin/pgbouncer"
        with suppress(subprocess.TimeoutExpired):
            if not inside.exists():
                _fetch()
    return str(inside) if inside.exists() else None


def _fetch() -> None:
    for package in PACKAGES:  # libraries are called one way or the other
        subprocess.run(["apt-get", "download", package], cwd=PLACE, check=False, capture_output=True, timeout=20)
    for archive in PLACE.glob("*.deb"):
        subprocess.run(["dpkg", "-x", archive, PLACE], check=False, capture_output=True, timeout=20)


def version() -> tuple[int, ...]:
    """Of the program there is."""
    libraries = {"LD_LIBRARY_PATH": str(LIBRARIES)}
    command = [str(program()), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=libraries).stdout
    return tuple(map(int, said.split()[1].split(".")[:2]))


@contextmanager
def pooled(url: str, connections: int = 3) -> Iterator[str]:
    """The address of the same server through a PgBouncer that has so few connections to each database."""
    found = program()
    assert found is not None
    parts = urlsplit(url)
    folder = Path(tempfile.mkdtemp(prefix="pgb-"))
    folder.chmod(0o755)
    host = parse_qs(parts.query)["host"][0]
    (folder / "ini").write_text(CONFIG.format(host=host, folder=folder, connections=connections))
    alike: dict[str, object] = {}
    if os.geteuid() == 0:  # it refuses to be root; the program may lie where nobody may look
        nobody = pwd.getpwnam("nobody")
        copied = shutil.copy2(found, folder)
        libraries = folder / "lib"
        libraries.mkdir()
        for library in LIBRARIES.glob("lib*.so*"):
            shutil.copy2(library, libraries)
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        alike = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        found = str(copied)
    environment = {"LD_LIBRARY_PATH": f"{folder / 'lib'}:{LIBRARIES}", "PATH": "/usr/bin:/bin"}
    command = [found, "-q", str(folder / "ini")]
    process = subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.DEVNULL, **alike)  # type: ignore[call-overload]
    address = f"postgresql://postgres@/postgres?host={folder}&port=6432&pgbouncer=true"
    try:
        _wait_for(address, folder)
        yield address
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(address: str, folder: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(address.replace("&pgbouncer=true", "")).close()
        except psycopg.Error as error:
            if time.monotonic() > deadline:
                log = folder / "log"
                raise TimeoutError(log.read_text() if log.exists() else str(error)) from error
            time.sleep(0.05)
        else:
            return
