"""The daemon: dispatcher, API, ticks and the local socket in one process and one event loop, until a signal."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import uvicorn
import uvloop
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from orchestrator.campaign.attributes import declared_in
from orchestrator.campaign.caps import CapsFile
from orchestrator.campaign.topics import topics_in
from orchestrator.content.links import Links
from orchestrator.daemon.alerting import Places, places_of
from orchestrator.daemon.control import serve, socket_path
from orchestrator.daemon.errands import Errands
from orchestrator.daemon.restoring import check_restored, open_guard
from orchestrator.daemon.roles import ALL, LEADING, Leadership, Role
from orchestrator.daemon.ticks import Ticks
from orchestrator.daemon.verbs import Desk
from orchestrator.daemon.wiring import Parts, build, links_of, public_url
from orchestrator.dispatch.sweep import recover_dead
from orchestrator.dispatch.worker import Worker
from orchestrator.errors import InputError, LeaseLostError, OrchestratorError
from orchestrator.ledger.leader import RENEW
from orchestrator.policy.allowed import only_to
from orchestrator.settings import Settings
from orchestrator.store import Store, upgrade
from orchestrator.store.guard import Guard
from orchestrator.web.app import create_app, create_watch

log = logging.getLogger(__name__)

TICK = timedelta(seconds=20)
"""How often the periodic work runs, in business time."""
TICK_AT_LEAST, TICK_AT_MOST = timedelta(milliseconds=250), timedelta(seconds=20)
RESTART_SECONDS = 1.0


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the daemon has one."""

    @contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass(slots=True)
class Daemon:
    """A deployment's process, whole or in some ``roles``. ``ready`` hears the API's port when everything is up."""

    settings: Settings
    ready: Callable[[int], None] = lambda _port: None
    roles: frozenset[Role] = ALL
    store: Store = field(init=False)
    parts: Parts = field(init=False)
    links: Links = field(init=False)
    worker: Worker | None = field(default=None, init=False)
    ticked: datetime | None = field(default=None, init=False)
    _stopping: asyncio.Event = field(init=False)
    _ending: threading.Event = field(default_factory=threading.Event, init=False)
    _threads: ThreadPoolExecutor = field(init=False)
    _asking: ThreadPoolExecutor = field(init=False)
    """A thread of its own for who leads: else long ticks would cost the leader its lease, and end themselves."""
    _places: Places | None = field(default=None, init=False)
    _guard: Guard | None = field(default=None, init=False)
    _caps: CapsFile = field(init=False)
    _leadership: Leadership = field(init=False)

    def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            StoreLockedError: another process writes this SQLite file.
            ConfigError: the settings are wrong.
            InputError: a process of some roles alone, over a SQLite file.
        """
        self._places = places_of(self.settings)
        self.parts, self.links = build(self.settings), links_of(self.settings)
        self._caps = CapsFile(self.settings.campaigns)
        if self.roles != ALL and "://" not in self.settings.database:
            problem = "one process writes a SQLite file, so it has every role"
            raise InputError(problem, hint="leave --role out, or set `database` to a postgresql:// address")
        self.store = Store(self.settings.database)
        self._leadership = Leadership(self.store, self.parts.clock, self.roles)
        try:
            upgrade(self.store)
            recover_dead(self.store, self.parts.clock, self.parts.resend, others=self.store.path is not None)
            check_restored(self.store, self.parts.clock, self.settings)
            self._guard = open_guard(self.settings, self.parts.clock)
            if self.settings.only_to is not None:
                log.warning("only_to", extra={"entries": len(self.settings.only_to)})
            uvloop.run(self._serve())
        finally:
            if self._guard is not None:
                self._guard.close()
            self.store.close()

    def stop(self) -> None:
        """Begin to end; safe in a signal handler of the loop."""
        self._stopping.set()
        self._ending.set()
        if self.worker is not None:
            self.worker.stop()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        self._begin_threads()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop)
        server, serving = await self._start_api()
        control = await self._start_control()
        scheduler = self._start_ticks()
        log.info("ready", extra={"port": _port(server)})
        self.ready(_port(server))
        try:
            await self._work()
        finally:
            scheduler.shutdown(wait=False)
            if control is not None:
                control.close()
            server.should_exit = True
            await serving
            self._end_threads()
            for channel in self.parts.channels.values():
                await channel.close()
            self._leadership.resign()
            log.info("stopped")

    def _begin_threads(self) -> None:
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="ticks")
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="leader")

    def _end_threads(self) -> None:
        for threads in (self._threads, self._asking):
            threads.shutdown(wait=True, cancel_futures=True)

    async def _work(self) -> None:
        """Incarnation after incarnation: a worker that lost its lease, or broke, is followed by a new one."""
        if Role.WORKER not in self.roles:
            await self._stopping.wait()
        while not self._stopping.is_set():
            try:
                self.worker = self._started()
                await self.worker.run()
            except LeaseLostError:
                log.warning("lease_lost", extra={"worker": self.worker.id if self.worker else None})
                with suppress(SQLAlchemyError):  # the sweeper does it later: the database may be away
                    recover_dead(self.store, self.parts.clock, self.parts.resend)  # not a whole tick later
            except Exception:
                log.exception("worker_failed")
                await asyncio.sleep(RESTART_SECONDS)

    def _started(self) -> Worker:
        """A new incarnation, registered; a database that is away is asked again by the next."""
        parts, listed = self.parts, only_to(self.settings.only_to)
        worker = Worker(self.store, parts.clock, parts.quiet, parts.accounts, self.settings.lease, only_to=listed)
        worker.links, worker.routing, worker.caps = self.links, parts.planner.routing, self._caps
        if self._guard is not None:
            worker.marked = self._guard.marked
        worker.start()
        return worker

    def _app(self) -> FastAPI:
        """What is served: the API, or for processes without that role how they are."""
        if Role.WEB not in self.roles:
            return create_watch(self.health)
        return create_app(
            self.store,
            self.parts.clock,
            api_keys=[key.get_secret_value() for key in self.settings.api_keys],
            public_url=public_url(self.settings),
            callbacks=self.parts.callbacks(),
            postboxes=self.parts.postboxes(),
            account_channels={name: (c.channel, c.provider) for name, c in self.parts.channels.items()},
            health=self.health,
            links=self.links,
            topics=lambda: topics_in(self.settings.campaigns),
            declared=lambda: declared_in(self.settings.campaigns),
        )

    async def _start_api(self) -> tuple[uvicorn.Server, asyncio.Task[None]]:
        config = uvicorn.Config(
            self._app(),
            http="httptools",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
            lifespan="on",
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve([_listen(self.settings.host, self.settings.port)]))
        while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.01)
        if serving.done():
            serving.result()
        return server, serving

    async def _start_control(self) -> asyncio.Server | None:
        if self.store.path is None:
            return None
        desk = Desk(self.store, self.parts.clock, self.settings, breakers=self._breakers)
        return await serve(desk, socket_path(self.store.path))

    def _breakers(self) -> dict[str, str]:
        return {name: account.breaker.state(name).value for name, account in self.parts.accounts.items()}

    def _start_ticks(self) -> AsyncIOScheduler:
        scheduler = AsyncIOScheduler(
            timezone="UTC", job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        ticks = Ticks(self.store, self.parts, lambda: self._ending.is_set() or not self._leads(Role.SCHEDULER))
        every = min(max(self.parts.clock.machine_span(TICK), TICK_AT_LEAST), TICK_AT_MOST).total_seconds()
        errands = Errands(self.store, self.parts.clock, self.settings, self._places, self._guard)
        scheduled = (ticks.runs, ticks.enrol, ticks.attribution, *errands.works())
        works = [(Role.SCHEDULER, work) for work in scheduled] + [(Role.SWEEPER, ticks.sweeper)]
        start = {"next_run_time": self.parts.clock.machine()}
        scheduler.add_job(self._lead, "interval", seconds=RENEW.total_seconds(), **start)
        for role, work in works:
            if role in self.roles:
                scheduler.add_job(self._tick, "interval", (role, work), seconds=every, **start)
        scheduler.start()
        return scheduler

    def _leads(self, role: Role) -> bool:
        return self._leadership.leads(role)

    async def _lead(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._asking, self._leadership.ask)

    async def _tick(self, role: Role, work: Callable[[], None]) -> None:
        if not self._leads(role):
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except Exception:
            log.exception("tick_failed", extra={"work": work.__name__})
        self.ticked = self.parts.clock.machine()

    def health(self) -> dict[str, object]:
        """Whether the parts are alive: for ``/healthz``, quick, from memory."""
        machine = self.parts.clock.machine()
        fresh = self.ticked is not None and machine - self.ticked < 3 * TICK_AT_MOST
        leads = [role.value for role in sorted(self.roles & LEADING) if self._leads(role)]
        ticking = fresh or not leads
        lease_ok = Role.WORKER not in self.roles or (self.worker is not None and self.worker.alive())
        said = {"ok": ticking and lease_ok, "ticking": ticking, "worker": lease_ok, "leads": leads}
        return {**said, "roles": sorted(self.roles), "business_time": self.parts.clock.now()}


def _listen(host: str, port: int) -> socket.socket:
    """The API's socket: uvicorn would end the process with a line of its own.

    Raises:
        OrchestratorError: somebody else listens there, or there is no such address.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        problem = f"cannot listen on {host}:{port}: {os.strerror(error.errno) if error.errno else error}"
        raise OrchestratorError(problem, hint="stop what listens there, or set another `port` or `host`") from None


def _port(server: uvicorn.Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port
