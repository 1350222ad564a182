"""Python's interpreter, set up for a process that is loaded once and then does little else but send."""

from __future__ import annotations

import gc
import sys

TURNS = 0.002
"""Seconds after which one thread must let another go on. By default it is 5 ms, for which the database's thread would
wait after each of its statements while the event loop is busy with answers. Whoever waits wakes up once a turn to ask:
with half a millisecond, eight workers on two cores woke one another up for a tenth of their processor time."""
COLLECT_AFTER = (10_000, 20, 20)
"""Objects and passes between looks for cycles. A message makes some sixty objects and no cycle: by default every tenth
pays for a look, and some for one through everything there is, which is a third of a message's processor time."""


def begin() -> None:
    """Before the program is loaded: what is being loaded is no garbage, and looking costs a fifth of a start's time."""
    gc.disable()


def loaded() -> None:
    """The program is loaded: look for garbage again, but never in there."""
    gc.freeze()
    gc.enable()


def set_up() -> None:
    """Take turns quickly, and look for garbage seldom, and never among what has been loaded by now."""
    sys.setswitchinterval(TURNS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
