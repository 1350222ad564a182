"""The page about the sandbox names every kind of fault, every field of one, and every file of its folder."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.server import Options, Sandbox
from tests.docs.pages import page, rows, section

PAGE = page("howto/sandbox.md")
FOR_ITSELF = {"apns-server.pem", "apns-stranger.pem", "sendgrid-webhook.pem", "webpush-browsers", "sns-key.pem"}
"""What a provider keeps from its customers."""


def named(heading: str) -> set[str]:
    return {word for cells in rows(section(PAGE, heading)) for word in re.findall(r"`([^`]+)`", cells[0])}


def test_every_kind_of_fault_and_every_field() -> None:
    told = named("### What it can be told")
    assert told == {kind.value for kind in Kind}
    assert set(Fault.model_fields) <= named("## Make it misbehave")


def test_every_file_of_its_folder(tmp_path: Path) -> None:
    with Sandbox(Options(tmp_path)):
        made = {path.name for path in tmp_path.iterdir()}
    told = named("## What is in its folder")
    assert made - FOR_ITSELF == told
