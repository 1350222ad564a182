"""What pydantic found, as problems with file, line, field and fix, in the words of whoever edits the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from orchestrator.campaign.document import Document, Place, shown
from orchestrator.errors import Problem, did_you_mean

PLANNED = {
    "devices": "sending to all of a user's devices",
    "incentive": "coupons",
    "judge": "judging an experiment automatically",
    "only_to": "an allow-list per campaign (the settings have one for the deployment)",
}
"""Fields that will mean something one day: refused by name, since ignoring one would change whom a campaign reaches."""
_PLANNED_CHANNELS = frozenset({"wechat"})

_LONGEST = 64  # nearest words are not looked for beyond
_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a group of fields",
    "model_type": "a group of fields",
    "model_attributes_type": "a group of fields",
}
_LIMITS = {
    "greater_than_equal": ("at least", "ge"),
    "less_than_equal": ("at most", "le"),
    "too_short": ("needs at least", "min_length"),
    "too_long": ("has more than", "max_length"),
    "string_too_short": ("is shorter than", "min_length"),
    "string_too_long": ("is longer than", "max_length"),
}
_KINDS = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a group of fields",
}


def complaints(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Problem]:
    """Every error of a validation as a problem of the document, in the file's order."""
    found = [_complaint(details, document, model) for details in error.errors()]
    return sorted(found, key=lambda problem: problem.line)


def _complaint(details: Mapping[str, Any], document: Document, model: type[BaseModel]) -> Problem:
    context = details.get("ctx", {})
    at: Place = tuple(part for part in details["loc"] if part != "[key]")
    if context.get("field"):
        at = (*at, context["field"])
    message, hint = _words(details, at, model)
    return document.problem(at, message, hint)


def _words(details: Mapping[str, Any], at: Place, model: type[BaseModel]) -> tuple[str, str]:
    """Message and hint. Our own refusals carry both; pydantic's get them from the field they are about."""
    value, context = details["input"], details.get("ctx", {})
    if "hint" in context:
        return details["msg"], context["hint"]
    match details["type"]:
        case "missing":
            found = "is missing", _description(model, at)
        case "extra_forbidden":
            found = _unknown_field(str(at[-1]), fields_at(model, at[:-1]))
        case "literal_error":
            found = _unknown_word(str(at[-1]), value, context["expected"])
        case kind if kind in _WANTED:
            found = f"should be {_WANTED[kind]}, and is {_kind(value)}", _description(model, at)
        case kind if kind in _LIMITS:
            found = _beyond(value, context, *_LIMITS[kind])
        case _:
            found = details["msg"], ""
    return found


def _beyond(value: object, context: Mapping[str, Any], words: str, limit: str) -> tuple[str, str]:
    if isinstance(value, list | dict | str):
        return f"{words} {context[limit]:,}{'' if isinstance(value, str) else ' of these'}", f"there are {len(value)}"
    return f"{words} {context[limit]:,}", f"it is {shown(value)}"


def _unknown_field(name: str, known: Mapping[str, str]) -> tuple[str, str]:
    if name in PLANNED:
        return f"is not supported yet: {PLANNED[name]}", "remove it"
    return "unknown field", did_you_mean(name[:_LONGEST], known)


def _unknown_word(field: str, value: object, expected: str) -> tuple[str, str]:
    known = re.findall(r"'([^']+)'", expected)
    if field == "channel" and str(value) in _PLANNED_CHANNELS:
        return f"the channel {value!r} is not supported yet", f"known: {', '.join(known)}"
    word = "channel" if field == "channel" else "word"
    return f"unknown {word} {shown(value)!r}", did_you_mean(str(value)[:_LONGEST], known)


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    kind = _KINDS.get(type(value), "something else")
    return kind if isinstance(value, list | dict) else f"{kind}: {shown(value)!r}"


def _description(model: type[BaseModel], at: Place) -> str:
    return fields_at(model, at[:-1]).get(str(at[-1]), "") if at else ""


def fields_at(model: type[BaseModel], at: Place) -> dict[str, str]:
    """The fields, each with its description, that may stand at a place in a file of this model."""
    current: type[BaseModel] | None = model
    for part in at:
        if isinstance(part, str):
            fields = current.model_fields.items() if current else ()
            current = next(
                (_model_in(field.annotation) for name, field in fields if (field.alias or name) == part), None
            )
    fields = current.model_fields.items() if current else ()
    return {field.alias or name: field.description or "" for name, field in fields}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
