"""Python's interpreter, set up for sending: once in a process that does little else, when all of it is loaded."""

from __future__ import annotations

import gc
import sys

TURNS = 0.0005
"""Seconds after which one thread must let another go on. By default it is 5 ms, for which the database's thread would
wait after each of its statements while the event loop is busy with answers."""
COLLECT_AFTER = (10_000, 20, 20)
"""Objects and passes between looks for cycles. A message makes some sixty objects and no cycle: by default every tenth
pays for a look, and some for one through everything there is, which is a third of a message's processor time."""


def set_up() -> None:
    """Take turns quickly, and look for garbage seldom, and never among what has been loaded by now."""
    sys.setswitchinterval(TURNS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
