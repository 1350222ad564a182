"""The daemon: dispatcher, API, ticks and the local socket in one process and one event loop, until a signal."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import uvloop
from apscheduler.job import Job
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from orchestrator import metrics, traces
from orchestrator.audience import erased
from orchestrator.campaign.attributes import declared_in
from orchestrator.campaign.caps import CapsFile
from orchestrator.campaign.topics import topics_in
from orchestrator.content.links import Links
from orchestrator.daemon.alerting import Places, places_of
from orchestrator.daemon.bell import Bell
from orchestrator.daemon.control import serve, socket_path
from orchestrator.daemon.errands import Errands
from orchestrator.daemon.listening import Listener, listen
from orchestrator.daemon.restoring import Watchman, guard_of
from orchestrator.daemon.roles import ALL, LEADING, Leadership, Role
from orchestrator.daemon.ticks import Ticks
from orchestrator.daemon.verbs import Desk
from orchestrator.daemon.wiring import Parts, bell_of, build, know_erased, links_of, public_url
from orchestrator.dispatch import interpreter
from orchestrator.dispatch.sweep import recover_dead
from orchestrator.dispatch.worker import Worker
from orchestrator.errors import InputError, LeaseLostError, OrchestratorError
from orchestrator.ledger.leader import RENEW
from orchestrator.ledger.skew import MOST, skew
from orchestrator.policy.allowed import only_to
from orchestrator.settings import Settings, traces_endpoint
from orchestrator.store import AWAY, Store, unavailable, upgrade
from orchestrator.store.guard import Guard
from orchestrator.web.app import create_app, create_watch

log = logging.getLogger(__name__)

TICK = timedelta(seconds=20)
"""How often the periodic work runs, in business time."""
TICK_AT_LEAST, TICK_AT_MOST = timedelta(milliseconds=250), timedelta(seconds=20)
SHARDS = timedelta(seconds=1)
"""How often a worker's process looks whether there is something to plan."""
RECOVER = timedelta(seconds=2)
"""How often dead workers are looked for: what they held is free again within their lease and five seconds."""
RESTART_SECONDS = 1.0


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
    skewed: bool = field(default=False, init=False)
    """Whether this machine's clock is too far from the database's to take, lead or end anything."""
    _stopping: asyncio.Event = field(init=False)
    _ending: threading.Event = field(default_factory=threading.Event, init=False)
    _threads: ThreadPoolExecutor = field(init=False)
    _asking: ThreadPoolExecutor = field(init=False)
    """A thread of its own for who leads: else long ticks would cost the leader its lease, and end themselves."""
    _places: Places | None = field(default=None, init=False)
    _guard: Guard | None = field(default=None, init=False)
    _watchman: Watchman = field(init=False)
    _caps: CapsFile = field(init=False)
    _bell: Bell = field(init=False)
    _leadership: Leadership = field(init=False)
    _led: set[Role] = field(default_factory=set, init=False)
    _jobs: dict[Role, list[Job]] = field(default_factory=dict, init=False)
    """The ticks of each role."""

    def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            StoreLockedError: another process writes this SQLite file.
            ConfigError: the settings are wrong.
            InputError: a process of some roles alone, over a SQLite file.
        """
        self._places = places_of(self.settings)
        self.parts, self.links = build(self.settings), links_of(self.settings)
        interpreter.loaded()
        self._caps, self._bell = CapsFile(self.settings.campaigns), bell_of(self.settings)
        metrics.expect((name, one.channel, one.provider) for name, one in self.parts.channels.items())
        if self.roles != ALL and "://" not in self.settings.database:
            problem = "one process writes a SQLite file, so it has every role"
            raise InputError(problem, hint="leave --role out, or set `database` to a postgresql:// address")
        self.store = Store(self.settings.database)
        self._leadership = Leadership(self.store, self.parts.clock, self.roles)
        try:
            upgrade(self.store)
            self._guard = guard_of(self.settings, self.parts.clock, self.store)
            self._watchman = Watchman(self.store, self.parts.clock, self.settings, self._guard)
            self._know_erased()
            self._compare_clocks()
            if not self.skewed:
                recover_dead(self.store, self.parts.clock, self.parts.resend, others=self.store.path is not None)
            self._watchman.look()
            if self._guard is not None and not self.skewed:
                self._guard.tidy(self.parts.clock.now())
            if self.settings.only_to is not None:
                log.warning("only_to", extra={"entries": len(self.settings.only_to)})
            if endpoint := traces_endpoint(self.settings):
                traces.begin(endpoint)
            if Role.WORKER in self.roles:
                interpreter.set_up()
            uvloop.run(self._serve())
        finally:
            traces.end()
            if self._guard is not None:
                self._guard.close()
            self.store.close()

    def _know_erased(self) -> None:
        """Nobody is taken in under a wrong key: that would miss what erased people had refused."""
        know_erased(self.settings, self.store)
        with self.store.write() as connection:
            erased.settle(connection)

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
        listeners = await self._start_http()
        listening = asyncio.create_task(self._bell.listen(self._wake))
        control = await self._start_control()
        scheduler = self._start_ticks()
        log.info("ready", extra={"port": listeners[0].port})
        self.ready(listeners[0].port)
        try:
            await self._work()
        finally:
            scheduler.shutdown(wait=False)
            if control is not None:
                control.close()
            listening.cancel()
            for listener in listeners:
                await listener.end()
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
            self.worker = None
            try:
                self.worker = self._started()
                await self.worker.run()
            except LeaseLostError:
                log.warning("lease_lost", extra={"worker": self.worker.id if self.worker else None})
                await self._recover()
                self._look_again()
            except Exception:
                log.exception("worker_failed")
                await self._recover()
                self._look_again()
                await asyncio.sleep(RESTART_SECONDS)

    async def _recover(self) -> None:
        """Let others have what the worker held, and not a whole tick later."""
        if self.worker is None or self.skewed:
            return
        work = partial(recover_dead, self.store, self.parts.clock, self.parts.resend)
        with suppress(*AWAY):  # the sweeper does it later: the database may be away
            await asyncio.get_running_loop().run_in_executor(self._threads, work)
            await asyncio.get_running_loop().run_in_executor(self._threads, self._bell.ring)

    def _look_again(self) -> None:
        """The database may have been away, and be an older one by now: the next worker sends nothing until it is not.

        Looked at now, and where the guard does not answer with the ticks.
        """
        self._watchman.doubt()
        self._threads.submit(self._watchman.look)

    def _wake(self) -> None:
        if self.worker is not None:
            self.worker.wake()

    def _started(self) -> Worker:
        """A new incarnation, registered; a database that is away is asked again by the next."""
        parts, listed = self.parts, only_to(self.settings.only_to)
        worker = Worker(self.store, parts.clock, parts.quiet, parts.accounts, self.settings.lease, only_to=listed)
        worker.links, worker.routing, worker.caps = self.links, parts.planner.routing, self._caps
        worker.steady = lambda: not self.skewed and self._watchman.sure
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
            watched=self.settings.metrics_address is None,
        )

    async def _start_http(self) -> list[Listener]:
        """The API or, for processes without that role, how they are; and ``/metrics`` where it has its own address."""
        where, apart = self.settings.host, self.settings.metrics_address
        made = []
        try:
            if Role.WEB in self.roles or apart is None:
                made.append(await listen(self._app(), where, self.settings.port, "`port` or `host`"))
            if apart is not None:
                host, _, port = apart.rpartition(":")
                watch = create_watch(self.health)
                made.append(await listen(watch, host.strip("[]"), int(port), "`metrics_address`"))
        except OrchestratorError:
            for listener in made:
                await listener.end()
            raise
        return made

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
        ends = lambda: self._ending.is_set() or not (self._leads(Role.SCHEDULER) and self._watchman.sure)  # noqa: E731
        ticks = Ticks(self.store, self.parts, ends, self._bell.ring, self._ending.is_set)
        every = min(max(self.parts.clock.machine_span(TICK), TICK_AT_LEAST), TICK_AT_MOST).total_seconds()
        errands = Errands(self.store, self.parts.clock, self.settings, self._places, self._guard)
        scheduled = (ticks.runs, ticks.enrol, ticks.attribution, *errands.works())
        works = [(Role.SCHEDULER, work) for work in scheduled]
        works += [(Role.SWEEPER, ticks.sweeper), (Role.SWEEPER, errands.room), (Role.WORKER, ticks.brakes)]
        start = {"next_run_time": self.parts.clock.machine()}
        scheduler.add_job(self._lead, "interval", seconds=RENEW.total_seconds(), **start)
        scheduler.add_job(self._look, "interval", seconds=RENEW.total_seconds(), **start)
        self._led = {role for role in LEADING if self._leads(role)}
        for role, work in works:
            if role in self.roles:
                job = scheduler.add_job(self._tick, "interval", (role, work), seconds=every, **start)
                self._jobs.setdefault(role, []).append(job)
        if Role.WORKER in self.roles and not self._leadership.alone:
            seconds = SHARDS.total_seconds()
            scheduler.add_job(self._tick, "interval", (Role.WORKER, ticks.shards), seconds=seconds, **start)
        if Role.SWEEPER in self.roles and not self._leadership.alone:
            seconds = RECOVER.total_seconds()
            scheduler.add_job(self._tick, "interval", (Role.SWEEPER, ticks.recover), seconds=seconds, **start)
        scheduler.start()
        return scheduler

    def _leads(self, role: Role) -> bool:
        return role not in LEADING or (not self.skewed and self._leadership.leads(role))

    def _compare_clocks(self) -> None:
        try:
            with self.store.read() as connection:
                apart = skew(connection, self.parts.clock)
        except SQLAlchemyError:  # away: nothing is taken or led without it anyhow
            return
        metrics.clock_skew_seconds.set(apart.total_seconds())
        if (apart > MOST) != self.skewed:
            self.skewed = not self.skewed
            self._watchman.doubt()  # what is long over was told by a wrong clock
            log.warning("clock_skewed" if self.skewed else "clock_right", extra={"seconds": apart.total_seconds()})

    def _ask(self) -> None:
        self._compare_clocks()
        if not self.skewed:
            self._leadership.ask()

    async def _lead(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._asking, self._ask)
        led, self._led = self._led, {role for role in self.roles & LEADING if self._leads(role)}
        for role in self.roles & LEADING:
            metrics.leads.labels(role).set(role in self._led)
        for role in self._led - led:  # what the last leader left is taken on now, not at the next tick
            for job in self._jobs.get(role, ()):
                job.modify(next_run_time=self.parts.clock.machine())
        if not self._leads(Role.SWEEPER):
            metrics.forget_queue()  # whoever leads now measures it: two measures would be added up

    async def _look(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._watchman.look)

    async def _tick(self, role: Role, work: Callable[[], None]) -> None:
        """Periodic work, unless another leads; and none on a database that may be an older one."""
        if not self._leads(role):
            return
        try:
            if self._watchman.sure:
                await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except Exception as error:
            log.exception("tick_failed", extra={"work": work.__name__})
            if unavailable(error):
                self._watchman.doubt()
        if role in LEADING:
            self.ticked = self.parts.clock.machine()

    def health(self) -> dict[str, object]:
        """Whether the parts are alive: for ``/healthz``, quick, from memory."""
        machine = self.parts.clock.machine()
        fresh = self.ticked is not None and machine - self.ticked < 3 * TICK_AT_MOST
        leads = [role.value for role in sorted(self.roles & LEADING) if self._leads(role)]
        ticking = fresh or not leads
        lease_ok = Role.WORKER not in self.roles or (self.worker is not None and self.worker.alive())
        ok = ticking and lease_ok and not self.skewed
        said = {"ok": ok, "ticking": ticking, "worker": lease_ok, "clock": not self.skewed, "leads": leads}
        return {**said, "roles": sorted(self.roles), "business_time": self.parts.clock.now()}
