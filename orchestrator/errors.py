"""Errors, named for what happens next.

    OrchestratorError            says what, where, and what next; the CLI prints it and exits 1 (2 for ConfigError)
    ├── ConfigError              somebody must edit a file: carries every Problem of it (file, line, field, hint)
    ├── InputError               the caller sent or typed something that cannot be used
    ├── NotFoundError            the thing named does not exist (with the nearest names)
    ├── StoreLockedError         another process writes this SQLite file
    ├── LeaseLostError           this worker is no longer the owner of what it holds: stop, write nothing
    ├── RenderError              this one message cannot be composed: drop it, with the reason
    └── SkipMessage              a template asked not to send this one message (``skip("reason")``)

Waiting and refusing are returned, not raised. Sending never raises: a channel returns an ``Outcome``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from typing_extensions import override


class OrchestratorError(Exception):
    """What went wrong, where, and what to do next. Never holds an address, a token or a body."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @override
    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend in a file. ``line`` is 1-based, 0 when unknown; ``field`` is a dotted path."""

    file: str
    line: int
    field: str
    message: str
    hint: str = ""

    @override
    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        field = f" {self.field}:" if self.field else ""
        return f"{where}:{field} {self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(OrchestratorError):
    """A file has to be edited; ``problems`` has all that is wrong with it, in the file's order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class InputError(OrchestratorError):
    """What was given cannot be used; the message says which part and what would be."""


class NotFoundError(OrchestratorError):
    """The thing named does not exist."""


class StoreLockedError(OrchestratorError):
    """Another process is the writer of this SQLite file."""


class LeaseLostError(OrchestratorError):
    """This worker's lease ran out: it must write nothing and start nothing more."""


class RenderError(OrchestratorError):
    """One message cannot be composed from its template and facts."""


class SkipMessage(OrchestratorError):  # noqa: N818  # it is not a fault: the template decided
    """A template decided that this message is not to be sent; ``message`` is its reason."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'push'?`` for the nearest known word, or the known words, or nothing."""
    words = sorted(known)
    near = get_close_matches(word, words, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(words[:12])}" if words else ""
