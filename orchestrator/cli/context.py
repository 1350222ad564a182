"""What every command shares: settings, the database, the clock, and how results are shown."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from orchestrator.clock import Clock
from orchestrator.daemon.control import ask, socket_path
from orchestrator.daemon.verbs import VERBS, Desk
from orchestrator.daemon.wiring import clock_of, know_erased
from orchestrator.errors import NotFoundError, OrchestratorError
from orchestrator.settings import Settings, load_settings
from orchestrator.store import Store, upgrade


@dataclass(frozen=True, slots=True)
class Context:
    """Made once per command. Nothing is opened before it is used."""

    settings: Settings
    clock: Clock
    console: Console = field(default_factory=Console)

    @classmethod
    def load(cls) -> Context:
        """From settings file and environment.

        Raises:
            ConfigError: the settings are wrong.
        """
        settings = load_settings()
        return cls(settings, clock_of(settings))

    @contextmanager
    def reader(self) -> Iterator[Store]:
        """The database to read from; a new one is made when there is none yet."""
        try:
            store = Store(self.settings.database, writer=False)
        except NotFoundError:
            with self.writer():
                pass
            store = Store(self.settings.database, writer=False)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def writer(self) -> Iterator[Store]:
        """The database to write to, at this program's schema.

        Raises:
            StoreLockedError: another process, usually the daemon, writes it.
        """
        store = Store(self.settings.database)
        try:
            upgrade(store)
            know_erased(self.settings, store)
            yield store
        finally:
            store.close()

    def act(self, verb: str, progress: Callable[[int], None] = lambda _: None, **args: Any) -> dict[str, Any]:
        """Carry out an operator's verb: through the running daemon, else here."""
        if "://" not in self.settings.database:
            answer = ask(socket_path(Path(self.settings.database).resolve()), verb, args, progress)
            if answer is not None:
                return answer
        with self.writer() as store:
            return VERBS[verb](Desk(store, self.clock, self.settings, progress), **args)

    def running(self, verb: str) -> dict[str, Any] | None:
        """What the running daemon says of itself; None when there is none on this machine, or it cannot say."""
        if "://" in self.settings.database:
            return None
        try:
            return ask(socket_path(Path(self.settings.database).resolve()), verb, {}, lambda _: None)
        except OrchestratorError:  # an older release, or one that has just ended
            return None

    @property
    def actor(self) -> str:
        """Who is acting, for the history."""
        return f"operator {getpass.getuser()}"

    def print_json(self, value: object) -> None:
        """One JSON document on standard output, for machines."""
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str)
        self.console.file.write(text.decode() + "\n")
