"""``orchestrator up``: daemon, API and sandbox in real time, with the demonstration's people in them, until Ctrl-C."""

from __future__ import annotations

import time
from datetime import UTC, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from orchestrator.cli.context import Context
from orchestrator.cli.demo import processes
from orchestrator.cli.demo.closing import near, program
from orchestrator.cli.demo.population import introduce, populate, take_in
from orchestrator.cli.demo.project import CAMPAIGN, Project, free_port, kept_folder, new_key
from orchestrator.clock import SystemClock

FOLDER = Path(".up")
API_PORT, SANDBOX_PORT = 8080, 8090
LOOK_SECONDS = 0.5
_KEY, _POPULATED = "api-key", "populated"


def up(
    people: Annotated[int, typer.Option(hidden=True, help="So many customers instead of all.")] = 0,
    folder: Annotated[Path, typer.Option(hidden=True, help="Where it is kept.")] = FOLDER,
) -> None:
    """Start daemon, API and sandbox and stay until Ctrl-C; what happens is kept for the next time."""
    console = Console(highlight=False)
    with processes.ended_by_sigterm(), kept_folder(folder.resolve()) as place:
        api = free_port(API_PORT)
        project = Project(place, api, free_port(max(SANDBOX_PORT, api + 1)), _api_key(place))
        project.write_settings()
        processes.use_settings(project.config)
        if not (place / _POPULATED).exists():
            _fill(console, project, people or None)
        _stay(console, project)


def _api_key(folder: Path) -> str:
    file = folder / _KEY
    if not file.exists():
        file.touch(0o600)
        file.write_text(new_key(), encoding="ascii")
    return file.read_text(encoding="ascii").strip()


def _fill(console: Console, project: Project, most: int | None) -> None:
    """The first time: the same people as in the demonstration, who bought last yesterday."""
    clock = SystemClock()
    population = populate(clock.now().astimezone(UTC).date() - timedelta(days=1), most)
    introduce(console, population)
    context = Context.load()
    take_in(Context(context.settings, clock, console), project.folder / "import", population)
    (project.folder / _POPULATED).touch()


def _stay(console: Console, project: Project) -> None:
    with processes.sandbox(project) as sandbox, processes.daemon(project) as daemon:
        _greet(console, project)
        try:
            while True:
                sandbox.check()
                daemon.check()
                time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            console.print("stopping")


def _greet(console: Console, project: Project) -> None:
    name, campaign = program(), CAMPAIGN
    lines = (
        ("inbox", f"http://127.0.0.1:{project.sandbox_port}/", "every phone, as messages arrive"),
        ("API", f"http://127.0.0.1:{project.api_port}/healthz", f"key in {near(project.folder)}/{_KEY}"),
        ("logs", f"{near(project.folder)}/daemon.log, {near(project.folder)}/sandbox.log", ""),
        ("", "", ""),
        ("in another terminal", f"export ORCHESTRATOR_CONFIG={project.config}", ""),
        ("", f"{name} plan {campaign} --dry-run", "how many, why not, when"),
        ("", f"{name} launch {campaign}", "from now on it fires on its dates"),
        ("", f"{name} report {campaign}", "what came of it"),
        ("", f"{name} explain u-0001 {campaign}", "one user's story"),
        ("", f"{name} stop --all", "the brake"),
    )
    for what, where, why in lines:
        console.print(Text.assemble((f"{what:<21}", "bold"), f"{where:<66}", (why, "dim")), soft_wrap=True)
    console.print("Ctrl-C stops daemon and sandbox; what they know is kept.")
