"""The folder a demonstration happens in: made by us and known by its mark, with settings, campaign copy and ports."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from orchestrator.cli.demo.purchases import CHECKOUT
from orchestrator.errors import InputError
from orchestrator.sandbox.credentials import ACCOUNT_SID, FROM_NUMBER
from orchestrator.settings import ClockSettings

CAMPAIGN = "lunch-winback"
MARK = ".made-by-orchestrator"
HOLDOUT = "20%"
"""A tenth of the sample's audience is too few people to tell a difference with."""
_CHANGED = {
    "schedule": "schedule: {{dates: [{day}]}}   # the demonstration runs this one date, around the whole world",
    "holdout": f"holdout: {HOLDOUT}   # the demonstration has few people: half of this is too few to compare with",
}


@dataclass(frozen=True, slots=True)
class Project:
    """A deployment of one folder. Everything in its settings file is absolute, so that it can be used from anywhere."""

    folder: Path
    api_port: int
    sandbox_port: int
    api_key: str
    rate: int = 100
    ramp: float = 60

    @property
    def config(self) -> Path:
        """The settings file."""
        return self.folder / "orchestrator.yaml"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "orchestrator.db"

    @property
    def sandbox(self) -> Path:
        """The sandbox's state: credentials, and the log of what it accepted."""
        return self.folder / "sandbox"

    @property
    def campaigns(self) -> Path:
        """The demonstration's own copy of the campaign, once it has one; else the samples themselves."""
        own = self.folder / "campaigns"
        return own if own.is_dir() else CHECKOUT / "campaigns"

    def write_settings(self, clock: ClockSettings | None = None) -> None:
        """Write the settings file, for its owner's eyes only: the API key stands in it."""
        text = _SETTINGS.format(
            database=json.dumps(str(self.database)),
            campaigns=json.dumps(str(self.campaigns)),
            templates=json.dumps(str(CHECKOUT / "templates")),
            api_port=self.api_port,
            api_key=json.dumps(self.api_key),
            rate=self.rate,
            ramp=self.ramp,
            base_url=f"http://127.0.0.1:{self.sandbox_port}",
            service_account=json.dumps(str(self.sandbox / "service-account.json")),
            auth_token=json.dumps(str(self.sandbox / "twilio-auth-token")),
            account_sid=ACCOUNT_SID,
            sender=FROM_NUMBER,
        )
        if clock is not None:
            text += _CLOCK.format(start=clock.start.isoformat(), origin=clock.origin.isoformat(), speed=clock.speed)
        descriptor = os.open(self.config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)

    def copy_campaign(self, day: date) -> None:
        """Copy the campaign files, the campaign firing on one date alone, and with a larger holdout."""
        target = self.folder / "campaigns"
        shutil.copytree(CHECKOUT / "campaigns", target)
        file = target / f"{CAMPAIGN}.yaml"
        text = file.read_text(encoding="utf-8")
        for field, line in _CHANGED.items():
            text, found = re.subn(rf"^{field}:.*$", line.format(day=day), text, flags=re.MULTILINE)
            if found != 1:
                source = CHECKOUT / "campaigns" / file.name
                raise InputError(f"{source} has no line `{field}: …`", hint="restore the file")
        file.write_text(text, encoding="utf-8")


_SETTINGS = """\
# Written by `orchestrator demo` or `orchestrator up` at every start: edits do not last.
# The accounts are the sandbox's: nothing leaves this machine.
database: {database}
campaigns: {campaigns}
templates: {templates}
port: {api_port}
api_keys: [{api_key}]
accounts:
  fcm:
    channel: push
    provider: fcm
    rate: {rate}
    burst: 50
    ramp: {ramp}
    options: {{base_url: "{base_url}", service_account_file: {service_account}}}
  twilio:
    channel: sms
    provider: twilio
    rate: {rate}
    burst: 50
    ramp: {ramp}
    options:
      base_url: "{base_url}"
      account_sid: {account_sid}
      auth_token_file: {auth_token}
      from: "{sender}"
"""
_CLOCK = """\
# Business time runs fast, from `start` at the machine's `origin`.
clock: {{start: "{start}", origin: "{origin}", speed: {speed}}}
"""


@contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """An empty folder of ours, held for as long as it is used; an earlier one of ours is removed.

    Raises:
        InputError: the folder is not ours, or is in use.
    """
    _check_ours(folder)
    with _held(folder):
        for entry in folder.iterdir():
            if entry.name != MARK:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        yield folder


@contextmanager
def kept_folder(folder: Path) -> Iterator[Path]:
    """A folder of ours as it was left, held for as long as it is used.

    Raises:
        InputError: the folder is not ours, or is in use.
    """
    _check_ours(folder)
    with _held(folder):
        yield folder


def _check_ours(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder} is no folder of ours", hint="move it away, or start in another folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise InputError(
            f"{folder} has files in it that this command did not make",
            hint="move it away, or start in another folder",
        )


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / MARK).open("a", encoding="ascii") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder} is in use by another `orchestrator`", hint="stop that one first") from None
        yield


def new_key() -> str:
    """An API key."""
    return secrets.token_urlsafe(24)


def free_port(wanted: int = 0) -> int:
    """``wanted`` or the next port above it that nobody listens on; any for 0."""
    for port in range(wanted, wanted + 100 if wanted else 1):
        with socket.socket() as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                line.bind(("127.0.0.1", port))
            except OSError:
                continue
            number: int = line.getsockname()[1]
            return number
    raise InputError(f"no free port from {wanted} on", hint="stop something that listens there")
