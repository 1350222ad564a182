"""Messages a second through the whole door: claim → compose → admit → mark → send → settle, on SQLite.

Once through a channel that answers at once, against the same three grouped transactions without any logic; once
through the real FCM channel to nginx, which is never the bottleneck, against as many bare requests to it; once to the
sandbox, which is. ``tls``: to nginx as FCM is spoken to, over TLS and HTTP/2, against bare requests over TLS in the
protocol in which the bare client is faster. ``postgresql``: to nginx as well, over PostgreSQL, with the rates in
Valkey. ``slow``: through a channel that answers after a tenth of a second, on SQLite or PostgreSQL, against what so
many connections allow.

Run as ``python -m bench.dispatch null|nginx|tls|sandbox|postgresql|slow|slow-postgresql COUNT``; prints one JSON
object.
``share`` is messages a second ÷ the reference's; ``ratio`` the other way round.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from bench.channels import NullChannel, SlowChannel
from bench.door import owed, plan, send_all
from bench.nginx import nginx, own_limit
from bench.plan import SEGMENT
from bench.population import LUNCH_ZONES, fill
from bench.reference import BODY, bare, grouped_transactions, protocols
from orchestrator.channel.base import Channel
from orchestrator.channel.push.fcm import open_channel
from orchestrator.content.files import read_folder
from orchestrator.store import Store
from tests.far_end import far_end
from tests.postgres import serving
from tests.valkey import valkey_server

TEMPLATE = "lunch-winback/dish"
CONNECTIONS = {"null": 200, "nginx": 400, "tls": 400, "sandbox": 128, "postgresql": 400, "slow": 200}
DEFINITION = {
    "name": "bench",
    "topic": "promotions",
    "audience": {"segment": "dormant"},
    "schedule": {"dates": ["2026-12-07"]},
    "window": {"local": "10:30-11:45", "late": "skip"},
    "steps": [{"channel": "push", "template": TEMPLATE}],
    "goal": {"event": "app_open", "within": "24h"},
    "holdout": "5%",
    "facts": ["orders", "favourite"],
}


@contextmanager
def planned(count: int, url: str) -> Iterator[tuple[Store, int]]:
    """A new database with a run of about ``count`` messages planned and due, and how many of them are to be sent."""
    templates = read_folder(Path(__file__).parents[1] / "templates", TEMPLATE)
    store = fill(url, count * 20 // 17, LUNCH_ZONES)
    plan(store, DEFINITION, SEGMENT, templates, {"fcm": "push"})
    with store.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    yield store, owed(store)
    store.close()


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of an empty database, whose server syncs its commits."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        with psycopg.connect(server.uri, autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = on")
            connection.execute("SELECT pg_reload_conf()")
        with server.database(empty=True) as url:
            yield url


def server_seconds(url: str) -> float:
    """Processor time of all processes of the server, those that have ended too; a file has none."""
    if "://" not in url:
        return 0.0
    with psycopg.connect(url) as connection:
        folder = connection.execute("SHOW data_directory").fetchone()
    assert folder is not None
    return cpu_below(int((Path(folder[0]) / "postmaster.pid").read_text().split()[0]))


def cpu_below(postmaster: int) -> float:
    """Seconds of processor time of a process, of those it has started, and of those of them that have ended."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # has ended meanwhile
            continue
        if int(path.parent.name) == postmaster:
            total += sum(int(one) for one in fields[11:15])
        elif int(fields[1]) == postmaster:
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def measure(kind: str, count: int) -> dict[str, object]:
    """One way through the door."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "bench.db")
        match kind:
            case "null":
                return _measure(kind, count, path, None)
            case "postgresql":
                with postgresql() as url, valkey_server() as valkey:
                    return _to_nginx(kind, count, url, valkey.address)
            case "slow":
                return _slowly(count, path)
            case "slow-postgresql":
                with postgresql() as url:
                    return _slowly(count, url)
            case "nginx" | "tls":
                return _to_nginx(kind, count, path)
            case _:
                return _to_sandbox(kind, count, folder)


def _slowly(count: int, url: str) -> dict[str, object]:
    with planned(count, url) as (store, owed):
        before = server_seconds(url)
        through = send_all(store, "fcm", SlowChannel, CONNECTIONS["slow"])
        server = (server_seconds(url) - before) / owed * 1e6
        reference = CONNECTIONS["slow"] / SlowChannel.usual
        return {
            **through.figures(),
            "server_us_per_message": round(server, 1),
            "reference_per_second": round(reference),
            "share": round(through.per_second / reference, 3),
            "ratio": round(reference / through.per_second, 2),
            "mean_batch": max(1, owed // max(through.batches, 1)),
            "peak_mb": _peak_mb(),
        }


def _to_sandbox(kind: str, count: int, folder: str) -> dict[str, object]:
    with far_end(Path(folder) / "far") as far:
        options = {"service_account_file": far.state / "service-account.json", "base_url": far.url}
        figures = _measure(kind, count, str(Path(folder) / "bench.db"), options)
        taken = [row["message_id"] for row in far.accepted() if row["message_id"] != "bench"]
        return {**figures, "duplicates": len(taken) - len(set(taken))}


def _to_nginx(kind: str, count: int, url: str, limits: str = "") -> dict[str, object]:
    with nginx() as server:
        if server is None:
            return {"messages": 0, "why": "nginx cannot be had here"}
        options: dict[str, object] = {"service_account_file": server.service_account(), "base_url": server.url}
        if kind == "tls":
            options |= {"base_url": server.tls_url, "ca_file": server.certificate}
        figures = _measure(kind, count, url, options, limits)
        through = 1 + len(protocols(options))  # ours, and the bare client's in each
        assert server.requests() >= through * int(str(figures["messages"])), "a request is missing"
        return {**figures, "far_end_per_second": round(own_limit(server, BODY, tls=kind == "tls") or 0)}


def _measure(kind: str, count: int, url: str, options: dict[str, object] | None, limits: str = "") -> dict[str, object]:
    with planned(count, url) as (store, owed):
        through = send_all(store, "fcm", lambda: _channel(options), CONNECTIONS[kind], redis=limits)
        peak = _peak_mb()
        size = max(1, owed // max(through.batches, 1))
        reference = grouped_transactions(store, size) if options is None else bare(options, owed, CONNECTIONS[kind])
        return {
            **through.figures(),
            "reference_per_second": round(reference),
            "share": round(through.per_second / reference, 3),
            "ratio": round(reference / through.per_second, 2),
            "peak_mb": peak,
            "mean_batch": size,
        }


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _channel(options: dict[str, object] | None) -> Channel:
    return NullChannel() if options is None else open_channel("fcm", options, "")


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
