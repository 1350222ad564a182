"""What a daemon has loaded when it is up: little time and memory for what its deployment does not have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

UP = """
import gc, json, sys
from orchestrator.dispatch import interpreter
interpreter.begin()
from orchestrator.daemon.service import Daemon
from orchestrator.settings import AccountSettings, Settings

def ready(_port):
    print(json.dumps([gc.isenabled(), gc.get_freeze_count(), sorted({name.partition(".")[0] for name in sys.modules})]))
    daemon.stop()

options = {"host": "127.0.0.1", "tls": "none", "from": "Food <news@food.example>"}
accounts = {"mail": AccountSettings(channel="email", provider="smtp", options=options)}
daemon = Daemon(Settings(database=sys.argv[1], port=0, accounts=accounts), ready)
gone = gc.isenabled()
daemon.run()
assert not gone, "it looked for garbage while it was being loaded"
"""
ELSEWHERE = {"redis": "Redis or Valkey", "dns": "a DKIM key", "alembic": "an old schema", "scipy": "a report"}
"""Libraries, and what a deployment has that needs them."""


def python(script: str, *words: object) -> str:
    command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_it_loads_nothing_of_what_the_deployment_lacks_and_collects_garbage(tmp_path: Path) -> None:
    python(UP, tmp_path / "t.db")  # migrates
    collects, frozen, loaded = json.loads(python(UP, tmp_path / "t.db").splitlines()[-1])
    assert not set(ELSEWHERE).intersection(loaded)
    assert collects
    assert frozen > 100_000  # what was loaded is never looked through again


def test_the_command_looks_for_no_garbage_while_it_is_being_loaded() -> None:
    script = """
import atexit, gc, sys
atexit.register(lambda: print("collects", gc.isenabled()))
from orchestrator.cli import main
sys.argv = ["orchestrator", *sys.argv[1:], "--help"]
main()
"""
    assert python(script, "run").endswith("collects False\n")
    assert python(script, "doctor").endswith("collects True\n")
