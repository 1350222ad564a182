"""How much one render may do: steps, characters made, output, processor time.

Steps and characters are counted, so that the same template and facts always end the same way; the processor's time (not
the wall's: a busy machine is not the template's fault) is only read every so many steps, as a backstop.
"""

from __future__ import annotations

import time
from typing import Final

MAX_SOURCE_BYTES: Final = 64 * 1024
MAX_OUTPUT_BYTES: Final = 256 * 1024
MAX_SECONDS: Final = 0.25

MAX_VALUE: Final = 16 * 1024
"""Characters of any text made on the way."""
MAX_FACT: Final = 8 * 1024
"""Characters of one fact that is a text."""
MAX_ITEMS: Final = 500
"""Entries of one fact that is a list or a mapping."""
MAX_NUMBER: Final = 10**15
"""Beyond it a float is no longer exact to the cent."""

_MAX_STEPS = 200_000
_MAX_CHARACTERS = 2 * 1024 * 1024
_LOOK_EVERY = 128


class TemplateFault(Exception):  # noqa: N818  # a fault of the template, not of this program
    """What is wrong with a template or its facts, in words fit for an operator: never a fact's value."""


class Budget:
    """What is left for one render. A step is one filter, one pass of a loop, one operation, or 256 characters."""

    __slots__ = ("_characters", "_next_look", "_started", "_steps")

    def __init__(self) -> None:
        self._steps = 0
        self._characters = 0
        self._next_look = _LOOK_EVERY
        self._started = -1.0

    def work(self, steps: int) -> None:
        """Account for work about to be done.

        Raises:
            TemplateFault: too much.
        """
        self._steps += steps
        if self._steps >= self._next_look:
            self._look()

    def made(self, characters: int) -> None:
        """Account for a text that was made.

        Raises:
            TemplateFault: too long, or too much in all.
        """
        self._characters += characters
        if characters > MAX_VALUE or self._characters > _MAX_CHARACTERS:
            raise TemplateFault(f"makes more text than is allowed ({MAX_VALUE} characters for one value)")

    def _look(self) -> None:
        # The first look starts the watch: a usual render ends before it and pays no system call.
        now = time.thread_time()
        if self._started < 0:
            self._started = now
        if self._steps > _MAX_STEPS or now - self._started > MAX_SECONDS * 0.8:
            raise TemplateFault("does too much work for one message: shorten its loops")
        self._next_look = self._steps + _LOOK_EVERY


def fits(value: object, name: str) -> object:
    """A fact as it may be used: plain, and of bounded size. ``name`` is for the error.

    Raises:
        TemplateFault: it is neither.
    """
    if type(value) is str and len(value) <= MAX_FACT:  # nearly all are
        return value
    match value:
        case str():
            small = len(value) <= MAX_FACT
        case list() | tuple() | dict():
            small = len(value) <= MAX_ITEMS
        case int() | float():
            small = -MAX_NUMBER <= value <= MAX_NUMBER
        case None:
            small = True
        case _:
            raise TemplateFault(f"{name} is not a text, number, list or mapping")
    if not small:
        raise TemplateFault(f"{name} is too large to be used in a message")
    return value
