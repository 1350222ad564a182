"""A process that is killed: the real parts over a SQLite file or PostgreSQL, with a trap at a chosen step.

``python -m tests.chaos.life DATABASE …`` opens the store, recovers, plans what is not planned to its end, and runs
the real Worker over the real channels until nothing is due any more; then it exits with 0. ``--daemon`` runs the whole
real Daemon instead, until SIGTERM.

``--die-at STEP:N`` is SIGKILL, ``--stop-at STEP:N`` SIGSTOP, when the door's probe names that step the Nth time. Steps
that no probe knows: ``commit`` (just before the Nth commit, whatever it is of) and ``planning`` (after the Nth chunk).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import uvloop
from pydantic import SecretStr
from sqlalchemy import event, text

from orchestrator.campaign.version import read_bundle
from orchestrator.channel.base import Channel, Payload, PushPayload
from orchestrator.clock import AcceleratedClock, to_micros
from orchestrator.content.links import Links
from orchestrator.daemon.logs import configure
from orchestrator.daemon.roles import roles
from orchestrator.daemon.service import Daemon
from orchestrator.daemon.wiring import Parts, build, links_of
from orchestrator.dispatch import interpreter
from orchestrator.dispatch.sweep import recover_dead
from orchestrator.dispatch.worker import Worker
from orchestrator.errors import LeaseLostError
from orchestrator.ledger.runs import runs_in
from orchestrator.ledger.states import RunState
from orchestrator.plan.due import due_runs
from orchestrator.settings import ClockSettings, Settings
from orchestrator.store import Store
from tests.chaos.broken import VARIANTS, elsewhere
from tests.far_end import FarEnd

API_KEY = "a key of the app"
DISCARD = 9
"""Nobody listens on this port: what Twilio calls back is lost."""
SOON = timedelta(hours=1)
"""A message that falls due within this is waited for: it is a retry. What is due later is another zone's lunch."""

_BUSY = text("""
    SELECT 1 FROM message JOIN run ON run.id = message.run_id WHERE run.state = 'active'
    AND (message.state IN ('claimed', 'sending') OR (message.state = 'planned' AND message.due_at < :soon)) LIMIT 1""")


@dataclass(slots=True)
class Trap:
    """Counts the steps it is told of, and sends this process a signal at the chosen one."""

    step: str
    n: int
    signal: signal.Signals
    delay: float
    seen: Counter[str] = field(default_factory=Counter)

    def __call__(self, step: str) -> None:
        self.seen[step] += 1
        if step != self.step or self.seen[step] != self.n:
            return
        if self.delay:  # on the wire: some time after the step, whatever goes on then
            threading.Timer(self.delay, os.kill, (os.getpid(), self.signal)).start()
        else:  # to this very thread: sent to the process, another one may take it and this one run on meanwhile
            signal.pthread_kill(threading.get_ident(), self.signal)


@dataclass(slots=True)
class Allergic:
    """A channel whose look at a payload with a certain word in it kills the process: a poisonous message."""

    real: Channel
    word: str

    def problems(self, payload: Payload) -> list[str]:
        if isinstance(payload, PushPayload) and self.word in payload.title:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.real.problems(payload)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


@dataclass(slots=True)
class Victim:
    """One life of the process."""

    store: Store
    parts: Parts
    trap: Trap
    lease: timedelta
    links: Links

    def recover(self) -> None:
        alone = self.store.path is not None
        found = recover_dead(self.store, self.parts.clock, self.parts.resend, others=alone)
        say(f"recovered {found}")

    def plan(self) -> None:
        with self.store.write() as connection:
            due_runs(connection, self.parts.clock.now())
        with self.store.read() as connection:
            waiting = [(item, read_bundle(connection, item.version)) for item in runs_in(connection, RunState.PLANNING)]
        for item, bundle in waiting:
            self.parts.planner.plan(self.store, item, bundle, lambda _size: self.trap("planning"))

    async def work(self) -> None:
        """Incarnation after incarnation, as the Daemon does, until nothing is due or SIGTERM came."""
        stopping = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        while not stopping.is_set():
            worker = Worker(
                self.store, self.parts.clock, self.parts.quiet, self.parts.accounts, self.lease, probe=self.trap
            )
            worker.links, worker.routing = self.links, self.parts.planner.routing
            worker.start()
            ending = asyncio.create_task(self._end(worker, stopping))
            try:
                await worker.run()
            except LeaseLostError:
                say(f"lease_lost {worker.id}")
                self.recover()
            finally:
                ending.cancel()
        for channel in self.parts.channels.values():
            await channel.close()

    async def _end(self, worker: Worker, stopping: asyncio.Event) -> None:
        while not stopping.is_set() and self._busy():
            try:
                await asyncio.wait_for(stopping.wait(), 0.05)
            except TimeoutError:
                continue
        stopping.set()
        worker.stop()

    def _busy(self) -> bool:
        with self.store.read() as connection:
            soon = {"soon": to_micros(self.parts.clock.now() + SOON)}
            return connection.execute(_BUSY, soon).first() is not None


def queued() -> float:
    """Seconds for which it could have run and others had the processors; 0 where the kernel does not say."""
    told = Path("/proc/self/schedstat")
    return int(told.read_text().split()[1]) / 1e9 if told.exists() else 0.0


def say(line: str) -> None:
    """A line for the test, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    given = _arguments()
    settings = _settings(given)
    with VARIANTS[given.broken](), elsewhere() if given.apart else nullcontext():
        _live(given, settings)


def _live(given: argparse.Namespace, settings: Settings) -> None:
    if given.daemon:
        configure(json=True)
        Daemon(settings, lambda port: say(f"up {port} {time.monotonic()} {queued()}"), roles(given.role)).run()
        return
    logging.basicConfig(stream=sys.stderr)
    clock = AcceleratedClock(given.start, given.speed, given.origin)
    trap = _trap(given)
    parts = build(settings, clock)
    interpreter.loaded()
    if given.allergy:
        for account in parts.accounts.values():
            account.channel = cast("Channel", Allergic(account.channel, given.allergy))
    store = Store(settings.database)
    event.listen(store.writer_engine, "commit", lambda _connection: trap("commit"))
    say("up")
    victim = Victim(store, parts, trap, settings.lease, links_of(settings))
    victim.recover()
    victim.plan()
    uvloop.run(victim.work())
    store.close()
    say(f"done {dict(trap.seen)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add = parser.add_argument
    add("database")
    add("--port", type=int, required=True, help="of the sandbox")
    add("--state", type=Path, required=True, help="folder of the sandbox")
    add("--start", type=datetime.fromisoformat, required=True)
    add("--origin", type=datetime.fromisoformat, required=True)
    add("--speed", type=float, default=1.0)
    add("--lease", type=float, default=60.0)
    add("--connections", type=int, default=64)
    add("--die-at", default="")
    add("--stop-at", default="")
    add("--delay", type=float, default=0.0)
    add("--allergy", default="")
    add("--daemon", action="store_true")
    add("--role", action="append", default=[], help="of the daemon; all if none is named")
    add("--rate", type=float, default=2000.0, help="messages a second of each account")
    add("--burst", type=int, default=0, help="of each account; 0: as many as connections")
    add("--ramp", type=float, default=0.0)
    add("--redis", default="")
    add("--campaigns", type=Path, default=Path("campaigns"), help="where caps.yaml is")
    add("--port-of-api", type=int, default=0)
    add("--broken", default="", help="a deliberately broken variant")
    add("--apart", action="store_true", help="on a machine of its own, as far as it can tell")
    return parser.parse_args()


def _trap(given: argparse.Namespace) -> Trap:
    what = signal.SIGSTOP if given.stop_at else signal.SIGKILL
    step, _, n = (given.stop_at or given.die_at or "never:1").partition(":")
    return Trap(step, int(n), what, given.delay)


def _settings(given: argparse.Namespace) -> Settings:
    far = FarEnd(given.port, given.state, 0)
    made = far.settings(
        given.database,
        public_url=f"http://127.0.0.1:{given.port_of_api or DISCARD}",
        port=given.port_of_api,
        api_keys=[SecretStr(API_KEY)],
        campaigns=given.campaigns,
        redis=SecretStr(given.redis) if given.redis else None,
        links_key_file=given.state / "links.key",
        clock=ClockSettings(start=given.start, origin=given.origin, speed=given.speed),
    )
    burst = given.burst or given.connections
    few: dict[str, Any] = {"connections": given.connections, "burst": burst, "rate": given.rate}
    few["ramp"] = timedelta(seconds=given.ramp)
    accounts = {name: account.model_copy(update=few) for name, account in made.accounts.items()}
    lease = timedelta(seconds=given.lease)  # shorter than a deployment may set: experiments wait for its end
    return made.model_copy(update={"accounts": accounts, "lease": lease})
