"""Ours beside what others use, one after the other to the same far end on the same machine.

The bare clients (firebase-admin, pyfcm, aioapns) send ready-made messages and keep nothing: against them stands our
whole door, embedded on SQLite, and beside it our channel alone, like for like. The campaigns on Celery and Dramatiq
find a segment, render, send and record, on all cores, in PostgreSQL and Valkey: against them stand our planning and
sending together, in one process. Their source is in ``bench/peers/``; their environment is made when it is first
needed, in ``.peers/python``.

Run as ``python -m bench.against PEER COUNT [THEIRS]``; prints one JSON object. ``ratio`` is our messages a second
divided by theirs; ``alone_ratio`` the same of the channel alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.dispatch import DEFINITION, TEMPLATE
from bench.door import plan, send_all
from bench.nginx import Nginx, nginx
from bench.plan import SEGMENT
from bench.population import LUNCH_ZONES, fill
from bench.reference import BODY
from orchestrator.channel.base import Channel, Envelope, OutcomeClass, PushPayload
from orchestrator.channel.push import apns, fcm
from orchestrator.content.files import read_folder
from tests.postgres import serving
from tests.valkey import valkey_server

ROOT = Path(__file__).parents[1]
HOME = ROOT / ".peers" / "python"
REQUIREMENTS = ROOT / "bench" / "peers" / "requirements.txt"
CONNECTIONS = {"fcm": 128, "apns": 384}


@dataclass(frozen=True, slots=True)
class Peer:
    """A script of ``bench/peers``, what it sends through, and whether it is a whole campaign."""

    script: str
    words: str
    provider: str = "fcm"
    whole: bool = False
    arguments: tuple[str, ...] = ()


PEERS = {
    "firebase-admin": Peer("firebase_bare", "firebase-admin `send_each_async`, 500 a call"),
    "pyfcm": Peer("pyfcm_bare", "pyfcm `async_notify_multiple_devices`, 500 a call"),
    "aioapns": Peer("aioapns_bare", "aioapns, three connections, 384 requests in flight", "apns"),
    "celery": Peer("celery_firebase", "Celery + firebase-admin, a task per user", whole=True, arguments=("1",)),
    "celery-chunks": Peer(
        "celery_firebase", "Celery + firebase-admin, a task per 100 users", whole=True, arguments=("100",)
    ),
    "dramatiq": Peer("dramatiq_pyfcm", "Dramatiq + pyfcm, an actor per user", whole=True, arguments=("1",)),
    "dramatiq-chunks": Peer(
        "dramatiq_pyfcm", "Dramatiq + pyfcm, an actor per 100 users", whole=True, arguments=("100",)
    ),
}


def measure(name: str, count: int, theirs: int) -> dict[str, Any]:
    """Both, ours first."""
    peer = PEERS[name]
    if why := install():
        return {"why": why}
    with nginx() as far:
        if far is None:
            return {"why": "nginx cannot be had here"}
        mine = ours(peer, far, count)
        bare = 0.0 if peer.whole else uvloop.run(alone(_opener(peer.provider, far), peer.provider, count))
        before = far.requests()
        other = run_peer(peer, far, theirs)
        assert far.requests() - before >= theirs, "a request of theirs is missing"
    rate = other["messages"] / other["seconds"]
    return {
        **mine,
        "peer": peer.words,
        "whole": peer.whole,
        "bytes": len(BODY),
        "their_messages": other["messages"],
        "their_per_second": round(rate),
        "ratio": round(mine["per_second"] / rate, 2),
        **({} if peer.whole else {"alone_per_second": round(bare), "alone_ratio": round(bare / rate, 2)}),
    }


async def alone(opened: Callable[[], Channel], provider: str, count: int) -> float:
    """Messages a second of our channel by itself: ready-made messages, nothing kept, as the bare clients do."""
    channel, left = opened(), iter(range(count))
    payload = PushPayload("Lunch today: ramen?", "x" * 120, link="app://menu")

    async def one_after_another() -> None:
        for n in left:
            address = ("token", f"token-{n}") if provider == "fcm" else ("apns", f"{n:064x}")
            envelope = Envelope(str(n), 1, address[1], address[0], payload, timedelta(minutes=30), f"r1-{n}-0")
            outcome = await channel.send(envelope)
            assert outcome.kind is OutcomeClass.ACCEPTED, outcome

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(CONNECTIONS[provider])))
    seconds = time.perf_counter() - began
    await channel.close()
    return count / seconds


def ours(peer: Peer, far: Nginx, count: int) -> dict[str, Any]:
    """The same through our door; with planning where theirs is a whole campaign."""
    templates = read_folder(ROOT / "templates", TEMPLATE)
    with tempfile.TemporaryDirectory() as folder:
        store = fill(str(Path(folder) / "bench.db"), count * 20 // 17, LUNCH_ZONES)
        if peer.provider == "apns":
            with store.write() as connection:
                sql = "UPDATE address SET kind = 'apns', value = printf('%064x', id) WHERE channel = 'push'"
                connection.exec_driver_sql(sql)
        planning = plan(store, DEFINITION, SEGMENT, templates, {peer.provider: "push"})
        done = send_all(store, peer.provider, _opener(peer.provider, far), CONNECTIONS[peer.provider])
        store.close()
    seconds = done.seconds + (planning if peer.whole else 0)
    return {**done.figures(), "planning_seconds": round(planning, 2), "per_second": round(done.messages / seconds)}


def _opener(provider: str, far: Nginx) -> Callable[[], Channel]:
    opener, options = {"fcm": fcm.open_channel, "apns": apns.open_channel}[provider], _options(provider, far)
    return lambda: opener(provider, options, "")


def _options(provider: str, far: Nginx) -> dict[str, Any]:
    if provider == "fcm":
        return {"service_account_file": far.service_account(), "base_url": far.url}
    return {
        "team_id": "TEAM123456",
        "key_id": "ABCDE12345",
        "key_file": _apns_key(far),
        "topic": "com.example.food",
        "base_url": far.tls_url,
        "ca_file": far.certificate,
    }


def _apns_key(far: Nginx) -> Path:
    """A key to sign APNs' tokens with: a file."""
    path = far.folder / "AuthKey.p8"
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*kinds))
    return path


def run_peer(peer: Peer, far: Nginx, count: int) -> dict[str, Any]:
    """What the script prints."""
    with ExitStack() as stack:
        surroundings = stack.enter_context(_database_and_broker()) if peer.whole else {}
        given = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "FAR_END": far.url,
            "SERVICE_ACCOUNT": str(far.service_account()),
            "FAR_END_TLS_PORT": str(far.tls_port),
            "FAR_END_CERTIFICATE": str(far.certificate),
            "APNS_KEY": str(_apns_key(far)),
            **surroundings,
        }
        command = [str(HOME / "bin" / "python"), "-m", f"bench.peers.{peer.script}", str(count), *peer.arguments]
        done = subprocess.run(
            command, check=False, env=given, cwd=far.folder, capture_output=True, text=True, timeout=300
        )
    if done.returncode:
        raise SystemExit(f"bench.peers.{peer.script} ended with {done.returncode}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def _database_and_broker() -> Iterator[Mapping[str, str]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as postgres,
        postgres.database(empty=True) as url,
        valkey_server() as valkey,
    ):
        yield {"DATABASE": url, "BROKER": valkey.address}


def install() -> str:
    """Make the peers' environment, once for each content of their requirements; why not, or nothing."""
    done = HOME / "requirements.txt"
    if done.exists() and done.read_text() == REQUIREMENTS.read_text():
        return ""
    pip = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True, capture_output=True, timeout=120)
        subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True, capture_output=True, timeout=600)
    except (OSError, subprocess.SubprocessError) as error:
        return f"bench/peers/requirements.txt cannot be installed here: {type(error).__name__}"
    done.write_text(REQUIREMENTS.read_text())
    return ""


if __name__ == "__main__":
    size = int(sys.argv[2])
    print(json.dumps(measure(sys.argv[1], size, int(sys.argv[3]) if len(sys.argv) > 3 else size)))
