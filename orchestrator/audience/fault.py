"""What is wrong in a file that people write, and where: from pydantic's words to theirs.

This room reads no YAML; whoever does hands over a :class:`Document`, which knows the line of every place in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from orchestrator.audience.condition import KINDS, ConsentOf, Past, PropertyIs, SegmentFile
from orchestrator.errors import Problem, did_you_mean

Place = tuple[str | int, ...]
"""Where a value stands: keys and, in lists, positions from 0."""

_PLAIN = {
    "missing": "is missing",
    "string_type": "should be text",
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "dict_type": "should be a group of fields",
    "model_type": "should be a group of fields",
    "model_attributes_type": "should be a group of fields",
}


class Document(Protocol):
    """The plain data of a file that remembers where everything stands."""

    @property
    def data(self) -> dict[str, Any]:
        """What the file says."""
        ...

    def problem(self, place: Place, message: str, hint: str = "") -> Problem:
        """A problem at a place of the file."""
        ...


@dataclass(frozen=True, slots=True)
class Plain:
    """Data that comes from no file: ``name`` is what problems call it."""

    name: str
    data: dict[str, Any]

    def problem(self, place: Place, message: str, hint: str = "") -> Problem:
        """A problem with the dotted place and no line; positions count from 1."""
        field = ".".join(str(part + 1) if isinstance(part, int) else part for part in place)
        return Problem(self.name, 0, field, message, hint)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to mend, at a place."""

    place: Place
    message: str
    hint: str = ""


def faults_of(error: ValidationError, model: type[BaseModel] = SegmentFile) -> Iterator[Fault]:
    """Everything that pydantic found, each thing once, with the nearest valid word where a word is wrong."""
    seen: set[Place] = set()
    for details in error.errors():
        context = details.get("ctx", {})
        place = tuple(part for part in details["loc"] if not _is_tag(part))
        place += (context["field"],) if context.get("field") else ()
        if place not in seen:
            seen.add(place)
            yield Fault(place, *_words(details, details["loc"], model))


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and part.startswith("<")


def _words(details: Mapping[str, Any], loc: Place, model: type[BaseModel]) -> tuple[str, str]:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    match kind:
        case "segment":
            words = context["text"], context["hint"]
        case "extra_forbidden":
            words = _unknown(str(loc[-1]), _model_at(loc[:-1], model))
        case "union_tag_not_found":
            words = _no_condition(value)
        case "literal_error":
            choices = _choices(context["expected"])
            words = f"unknown word {str(value)[:40]!r}", did_you_mean(str(value)[:64], choices)
        case _:
            words = _PLAIN.get(kind) or str(details["msg"]).lower(), ""
    return words


def _choices(expected: str) -> list[str]:
    return re.findall(r"'([^']+)'", expected)


def _unknown(name: str, model: type[BaseModel]) -> tuple[str, str]:
    if name in KINDS and model in KINDS.values():
        return "is a second condition here", "put both in a list under `all:`"
    return "unknown field", did_you_mean(name, [field.alias or key for key, field in model.model_fields.items()])


def _no_condition(value: object) -> tuple[str, str]:
    if not isinstance(value, dict) or not value:
        return "is not a condition", "a condition is a group of fields such as `did: order_paid`"
    words = [str(key) for key in value]
    near = next((hint for word in words if (hint := did_you_mean(word, KINDS)).startswith("did")), "")
    return f"unknown condition {words[0][:40]!r}", near or did_you_mean(words[0], KINDS)


def _model_at(loc: Place, model: type[BaseModel]) -> type[BaseModel]:
    """The model of the group of fields at a place, as far as its words are wanted for a hint."""
    for part in loc:
        if isinstance(part, str) and part.startswith("<"):
            model = KINDS[part.strip("<>")]
        elif part in _GROUPS and part in model.model_fields and model is not SegmentFile:
            model = _GROUPS[part]
        else:
            model = _inner(model, part)
    return model


_GROUPS: Mapping[str | int, type[BaseModel]] = {
    "consent": ConsentOf,
    "campaign": Past,
    "where": PropertyIs,
    "value": PropertyIs,
}


def _inner(model: type[BaseModel], part: str | int) -> type[BaseModel]:
    field = model.model_fields.get(part) if isinstance(part, str) else None
    annotation = field.annotation if field is not None else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else model
