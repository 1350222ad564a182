"""Sandbox and daemon as processes of their own, with a log file each; they never outlive who started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from orchestrator.cli.demo.loopback import Loopback
from orchestrator.cli.demo.project import Project
from orchestrator.errors import OrchestratorError

START_SECONDS = 60.0
STOP_SECONDS = 35.0
"""The daemon ends within 30 s of SIGTERM."""
_TAIL_LINES = 15
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Child:
    """A running process of ours."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raise when it is gone.

        Raises:
            OrchestratorError: with the end of its log.
        """
        code = self.process.poll()
        if code is not None:
            raise OrchestratorError(f"the {self.name} ended by itself (exit code {code})", hint=self.tail())

    def tail(self) -> str:
        """Where its log is, and its last lines."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"the end of {self.log}:", *(f"  {line}" for line in lines or ["(empty)"])])


@contextmanager
def sandbox(project: Project) -> Iterator[Child]:
    """The providers' stand-in; statuses of a text message come quickly, for business time runs fast."""
    inbound = f"http://127.0.0.1:{project.api_port}/callbacks/twilio/inbound"
    where = ["--port", str(project.sandbox_port), "--state", str(project.sandbox)]
    command = ["-m", "orchestrator.sandbox", *where, "--callback-inbound", inbound, "--callback-delay", "0.05"]
    with running("sandbox", command, project.folder) as child:
        _wait(child, lambda: _healthy(project.sandbox_port))
        yield child


@contextmanager
def daemon(project: Project) -> Iterator[Child]:
    """The real daemon, as ``orchestrator run`` starts it."""
    with running("daemon", ["-m", "orchestrator", "run", "--json-logs"], project.folder) as child:
        _wait(child, lambda: _healthy(project.api_port))
        yield child


@contextmanager
def running(name: str, arguments: Sequence[str], folder: Path) -> Iterator[Child]:
    """A Python process that is ended, and waited for, whatever happens here."""
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        child = Child(name, log, _start(arguments, output))
    try:
        yield child
    finally:
        _end(child.process)


def _start(arguments: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(child: Child, ready: Callable[[], bool]) -> None:
    until = time.monotonic() + START_SECONDS
    while not ready():
        child.check()
        if time.monotonic() > until:
            raise OrchestratorError(f"the {child.name} did not get ready in {START_SECONDS:.0f} s", hint=child.tail())
        time.sleep(_LOOK_SECONDS)


def _healthy(port: int) -> bool:
    line = Loopback(port)
    try:
        line.get("/healthz")
    except OrchestratorError:  # not there yet, or there and not well yet
        return False
    finally:
        line.close()
    return True


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends this process like an exception, so that children are ended too."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def use_settings(config: Path) -> None:
    """Make ``config`` the settings of this process and its children, whatever the environment says otherwise."""
    for name in [name for name in os.environ if name.startswith("ORCHESTRATOR_")]:  # noqa: TID251  # written, not read
        del os.environ[name]  # noqa: TID251
    os.environ["ORCHESTRATOR_CONFIG"] = str(config)  # noqa: TID251
