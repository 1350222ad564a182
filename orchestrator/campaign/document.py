"""A YAML file as plain JSON-able data that remembers which line everything stands on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import Problem

_SHOWN = 40

Place = tuple[str | int, ...]
"""Where a value stands: keys and, in lists, positions from 0."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file's data, with the line of each value, and what is wrong with it as YAML without making it unreadable."""

    file: str
    data: dict[str, Any]
    lines: Mapping[Place, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def problem(self, place: Place, message: str, hint: str = "") -> Problem:
        """A problem at ``place``, or at the nearest enclosing value that has a line."""
        return Problem(self.file, self.line(place), dotted(place), message, hint)

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest one around it; 0 when unknown."""
        return next((self.lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self.lines), 0)


def dotted(place: Place) -> str:
    """``steps.2.when.after``: positions in lists are counted from 1, as people count steps."""
    return ".".join(str(part + 1) if isinstance(part, int) else shown(part) for part in place)


def shown(value: object) -> str:
    """A value short enough for a message."""
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def values_at(data: object, pattern: str, at: Place = ()) -> Iterator[tuple[Place, str]]:
    """Every text at a pattern such as ``steps.*.template``, with its place, whatever else is wrong with the data."""
    head, _, rest = pattern.partition(".")
    if not pattern:
        if isinstance(data, str):
            yield at, data
    elif head == "*" and isinstance(data, list):
        for position, item in enumerate(data):
            yield from values_at(item, rest, (*at, position))
    elif isinstance(data, dict) and head in data:
        yield from values_at(data[head], rest, (*at, head))
