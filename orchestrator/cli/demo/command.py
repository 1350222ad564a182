"""``orchestrator demo``: a whole campaign on real purchases, one local date around the world, in about two minutes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.text import Text

from orchestrator.cli.context import Context
from orchestrator.cli.demo import behaviour, processes
from orchestrator.cli.demo.checks import OPENS, read_ledger, reopens_missing
from orchestrator.cli.demo.closing import Closing
from orchestrator.cli.demo.crowd import Crowd
from orchestrator.cli.demo.loopback import Loopback
from orchestrator.cli.demo.places import PLACES
from orchestrator.cli.demo.population import Population, introduce, populate, take_in
from orchestrator.cli.demo.processes import Child
from orchestrator.cli.demo.project import CAMPAIGN, Project, free_port, fresh_folder, new_key
from orchestrator.cli.demo.show import Count, Voyage, read_count
from orchestrator.cli.demo.timeline import SPEED, Timeline, timeline
from orchestrator.clock import AcceleratedClock, ManualClock, SystemClock
from orchestrator.errors import OrchestratorError
from orchestrator.settings import ClockSettings, load_settings
from orchestrator.store import Store

FOLDER = Path(".demo")
REPORT = Path("report.html")
STEP_SECONDS = 0.04
SHOW_SECONDS = 0.5
SETTLE_SECONDS = 20.0
"""How long the daemon may take, after the last goal window closed, to write down what it knows."""
PLANNED_WITHIN = timedelta(hours=12)
_DAY = timedelta(days=1)
_WIDE = 132


def demo(
    people: Annotated[int, typer.Option(hidden=True, help="So many customers instead of all.")] = 0,
    speed: Annotated[float, typer.Option(hidden=True, help="How fast business time runs.")] = SPEED,
    folder: Annotated[Path, typer.Option(hidden=True, help="Where it happens.")] = FOLDER,
) -> None:
    """Run a whole campaign around the world on this machine: real purchases, simulated phones."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDE
    with processes.ended_by_sigterm(), fresh_folder(folder.resolve()) as place:
        project = Project(place, free_port(), free_port(), new_key(), rate=500, ramp=0.2)
        times = timeline(SystemClock().machine(), speed)
        good = Demonstration(console, project, times, populate(times.yesterday, people or None)).run()
    if not good:
        raise typer.Exit(1)


@dataclass(slots=True)
class Demonstration:
    """One demonstration, from an empty folder to the verdict."""

    console: Console
    project: Project
    times: Timeline
    population: Population
    clock: AcceleratedClock = field(init=False)

    @property
    def end(self) -> datetime:
        """When the last member's goal window closes: a day after the last window on Earth opened."""
        openings = [datetime.combine(self.times.day, OPENS, ZoneInfo(place.zone)) for place in PLACES]
        return max(openings) + _DAY

    def run(self) -> bool:
        """Everything; whether all checks hold."""
        introduce(self.console, self.population)
        self._import()
        with processes.sandbox(self.project) as sandbox, self._daemon() as daemon:
            self._launch()
            with self._crowd() as crowd, self._reader() as store:
                self._sail(store, crowd, (sandbox, daemon))
                closing = Closing.read(store, self.project, self.population, crowd.done, self.clock)
        closing.ended_well = sandbox.process.returncode == 0 and daemon.process.returncode == 0
        good = closing.show(self.console, REPORT)
        if not good:
            self.console.print(Text(daemon.tail()), soft_wrap=True)
        return good

    def _import(self) -> None:
        self.project.copy_campaign(self.times.day)
        self.project.write_settings()
        processes.use_settings(self.project.config)
        context = Context(load_settings(), ManualClock(self.times.start), self.console)
        take_in(context, self.project.folder / "import", self.population)

    @contextmanager
    def _daemon(self) -> Iterator[Child]:
        """The daemon, and the clock from now on."""
        self.clock = self.times.clock(SystemClock().machine())
        start = ClockSettings(start=self.clock.start, origin=self.clock.origin, speed=self.clock.speed)
        self.project.write_settings(start)
        with processes.daemon(self.project) as child:
            yield child

    def _launch(self) -> None:
        context = Context.load()
        done = context.act("launch", name=CAMPAIGN, actor=context.actor)
        hours = (self.end - self.clock.start) / timedelta(hours=1)
        words = (
            f"{CAMPAIGN} launched as version {done['version'][:12]}: {self.times.day:%A %d %B %Y}, everywhere on "
            f"Earth. {hours:.0f} hours pass in {hours * 3600 / self.clock.speed:.0f} seconds; the inbox meanwhile: "
            f"http://127.0.0.1:{self.project.sandbox_port}/"
        )
        self.console.print(words, soft_wrap=not self.console.is_terminal)
        self.console.print(Text(SIMULATED, style="yellow"), soft_wrap=not self.console.is_terminal)

    @contextmanager
    def _crowd(self) -> Iterator[Crowd]:
        phones = Loopback(self.project.sandbox_port)
        app = Loopback(self.project.api_port, {"Authorization": f"Bearer {self.project.api_key}"})
        crowd = Crowd(self.population.people, self.clock, phones, app)
        try:
            yield crowd
        finally:
            phones.close()
            app.close()

    @contextmanager
    def _reader(self) -> Iterator[Store]:
        store = Store(str(self.project.database), writer=False)
        try:
            yield store
        finally:
            store.close()

    def _sail(self, store: Store, crowd: Crowd, children: tuple[Child, ...]) -> None:
        """Let the day pass, and people live in it."""
        with Voyage(self.console, self.times.day, self.clock.start, self.end) as voyage:
            self._plan(store, voyage, children)
            crowd.live(self.end)  # only now: who orders before the run opens is not in its audience
            shown = 0.0
            while self.clock.now() < self.end:
                self._step(crowd, children)
                if self.clock.monotonic() - shown > SHOW_SECONDS:
                    shown = self.clock.monotonic()
                    self._look(store, voyage, children)
                time.sleep(STEP_SECONDS)
            self._step(crowd, children)
            self._settle(store, crowd)
            self._look(store, voyage, children)

    def _step(self, crowd: Crowd, children: tuple[Child, ...]) -> None:
        """People live a little; when a process of ours does not answer because it is gone, that is what is said."""
        try:
            crowd.step()
        except OrchestratorError:
            time.sleep(SHOW_SECONDS)
            for child in children:
                child.check()
            raise

    def _plan(self, store: Store, voyage: Voyage, children: tuple[Child, ...]) -> None:
        """Wait until the date's run has been planned."""
        while not self._look(store, voyage, children).planned:
            if self.clock.now() > self.clock.start + PLANNED_WITHIN:
                raise OrchestratorError("the run was not planned before lunch", hint=children[-1].tail())
            time.sleep(SHOW_SECONDS / 5)

    def _look(self, store: Store, voyage: Voyage, children: tuple[Child, ...]) -> Count:
        for child in children:
            child.check()
        with store.read() as connection:
            count = read_count(connection)
        voyage.update(min(self.clock.now(), self.end), count)
        return count

    def _settle(self, store: Store, crowd: Crowd) -> None:
        """Wait until the daemon has attributed the last reopens; the checks say if it never does."""
        until = self.clock.monotonic() + SETTLE_SECONDS
        while self.clock.monotonic() < until:
            with store.read() as connection:
                ledger = read_ledger(connection)
            if not reopens_missing(ledger, crowd.done)[1]:
                return
            time.sleep(SHOW_SECONDS)


SIMULATED = (
    "These people are simulated, so their coming back is evidence of nothing. On average a push brings back "
    f"{behaviour.EFFECT['dish']:.0%} (dish) or {behaviour.EFFECT['coupon']:.0%} (coupon) of those it reaches, an SMS "
    f"{behaviour.SMS_FACTOR:.0%} of that; recent buyers more, towards noon more. Everybody, held out or not, also "
    f"opens the app unasked, with a chance of {behaviour.HABIT_LEAST:.0%} to {behaviour.HABIT_MOST:.0%} a day."
)
