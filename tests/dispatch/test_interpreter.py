"""The interpreter as a sending process has it."""

from __future__ import annotations

import subprocess
import sys

from orchestrator.dispatch.interpreter import COLLECT_AFTER, TURNS

LOOK = """
import gc, sys
from orchestrator.dispatch import interpreter
interpreter.set_up()
print(gc.get_threshold(), sys.getswitchinterval(), gc.get_freeze_count() > 1000, gc.isenabled())
"""


def test_it_takes_turns_quickly_and_still_collects() -> None:
    told = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.strip() == f"{COLLECT_AFTER} {TURNS} True True"
