"""What a gateway's description points with: placeholders in a request, and paths and patterns into an answer.

They are data, not code: names are looked up in a fixed list, and a pattern that could run for long is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator

from orchestrator.channel.json_text import text

READ = 500
"""Characters of an answer that a pattern sees."""
_LONGEST_PATTERN = 200
_MOST_REPEATS = 2
_MOST_STEPS = 10
_REPEAT = re.compile(r"[*+]|\{\d*,\d*\}")
_REPEATED_GROUP = re.compile(r"\)(?:[*+]|\{\d)")
_ESCAPED = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]", re.DOTALL)
_STEP = re.compile(r"[^.\[\]\s]{1,100}")
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


def _checked_pattern(pattern: str) -> str:
    """Refuse what is no pattern, and what takes more than quadratic time: repeated groups, many repetitions."""
    if len(pattern) > _LONGEST_PATTERN:
        raise ValueError(f"a pattern has at most {_LONGEST_PATTERN} characters")
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    bare = _ESCAPED.sub("x", pattern)
    if _REPEATED_GROUP.search(bare) or len(_REPEAT.findall(bare)) > _MOST_REPEATS or "(?P=" in bare:
        raise ValueError(f"repeats a group, or has more than {_MOST_REPEATS} of * and +: it could run for long")
    if re.search(r"\\[1-9]", pattern):
        raise ValueError("refers back to a group: it could run for long")
    if groups > 1:
        raise ValueError("has more than one group: the one group is what is read; write (?:…) for others")
    return pattern


def _checked_path(path: str) -> str:
    steps = path.split(".")
    if len(steps) > _MOST_STEPS or not all(_STEP.fullmatch(step) for step in steps):
        raise ValueError("is no path: names and positions with dots between, such as data.0.id")
    return path


Pattern = Annotated[str, AfterValidator(_checked_pattern)]
Path = Annotated[str, AfterValidator(_checked_path)]


def found(pattern: str, said: str) -> str | None:
    """What the pattern's group matched, or all of it when it has none; None when it is not there."""
    match = re.search(pattern, said[:READ])
    if match is None:
        return None
    return (match[1] or "") if match.re.groups else match[0]


def at(path: str, value: Any) -> Any:
    """What stands at ``data.0.id``; None when nothing does."""
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def text_at(path: str, value: Any) -> str:
    """The text or number at a path; ``true`` and ``false`` as JSON writes them; else empty."""
    there = at(path, value)
    if isinstance(there, bool):
        return "true" if there else "false"
    return repr(there) if isinstance(there, float) else text(there)


def places(template: str) -> set[str]:
    """The names between braces; ``{{`` and ``}}`` are braces themselves."""
    return {match[1] for match in _PLACE.finditer(template) if match[1] is not None}


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with its names filled in, once: what is filled in is not looked at again."""

    def one(match: re.Match[str]) -> str:
        return match[0][0] if match[1] is None else values[match[1]]

    return _PLACE.sub(one, template)
