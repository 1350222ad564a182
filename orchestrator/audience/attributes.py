"""Declared attributes: what the app says of its users, with types. Values are held to them as they come in.

``campaigns/attributes.yaml`` names them; an attribute that is not declared is taken as it comes. Dates and instants are
kept as texts in the order of time (``2026-12-01``, ``2026-12-01T11:02:03Z``), which segments compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, TypeAdapter, ValidationError

from orchestrator.audience.condition import Attribute, Condition
from orchestrator.audience.fault import Document, Fault, Place
from orchestrator.audience.terms import Comparison, Key, Operand
from orchestrator.errors import ConfigError, did_you_mean

TypeName = Literal["text", "int", "float", "bool", "date", "instant"]
TYPES: tuple[str, ...] = get_args(TypeName)
_LARGEST = 1 << 63
_SHOWN = 40


class Declared(BaseModel):
    """One attribute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: TypeName
    values: list[Operand] | None = Field(default=None, min_length=1, description="no others are taken in")
    index: bool = Field(default=True, description="segments over it are quick; costs a little at every import")
    description: StrictStr = ""


Declarations = Mapping[str, Declared]
NONE: Declarations = {}
_FILE: TypeAdapter[dict[str, Declared]] = TypeAdapter(
    dict[Key, Annotated[Declared, BeforeValidator(lambda value: {"type": value} if isinstance(value, str) else value)]]
)


def read_declarations(document: Document) -> dict[str, Declared]:
    """The attributes of a file such as ``{orders: int, tier: {type: text, values: [bronze, silver, gold]}}``.

    Raises:
        ConfigError: with all that is wrong in it.
    """
    try:
        found = _FILE.validate_python(document.data)
    except ValidationError as error:
        problems = [document.problem(tuple(one["loc"]), *_words(dict(one))) for one in error.errors()]
        raise ConfigError(problems) from None
    wrong = [
        document.problem((name, "values", place), f"{value!r} is not {WORDS[declared.type]}")
        for name, declared in found.items()
        for place, value in enumerate(declared.values or [])
        if _typed(declared.type, value) != value
    ]
    if wrong:
        raise ConfigError(wrong)
    return found


def _words(error: Mapping[str, Any]) -> tuple[str, str]:
    match error["type"]:
        case "literal_error":
            return f"unknown type {str(error['input'])[:_SHOWN]!r}", did_you_mean(str(error["input"])[:64], TYPES)
        case "extra_forbidden":
            return "unknown field", did_you_mean(str(error["loc"][-1]), Declared.model_fields)
        case "missing":
            return "is missing", f"one of: {', '.join(TYPES)}"
        case "segment":
            return error["ctx"]["text"], error["ctx"]["hint"]
        case _:
            return str(error["msg"]).lower(), ""


# --- values ----------------------------------------------------------------------------------------------------------

WORDS: Mapping[str, str] = {
    "text": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "date": "a date like 2026-12-01",
    "instant": "an instant like 2026-12-01T11:02:03Z",
}
_TRUE = frozenset({"true", "t", "yes", "y", "1", "是"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "否"})


def held_to(declared: Declarations, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes with their declared types.

    Raises:
        ValueError: one of them cannot have its type; says which and why.
    """
    if not declared:
        return dict(attributes)
    return {
        name: value if (wanted := declared.get(name)) is None or value is None else _held(name, wanted, value)
        for name, value in attributes.items()
    }


def _held(name: str, wanted: Declared, value: Any) -> Any:
    found = _typed(wanted.type, value)
    if found is None:
        raise ValueError(f"{name}: {str(value)[:_SHOWN]!r} is not {WORDS[wanted.type]}")
    if wanted.values is not None and found not in wanted.values:
        hint = did_you_mean(str(found)[:64], [str(one) for one in wanted.values])
        raise ValueError(f"{name}: {str(found)[:_SHOWN]!r} is not one of its values ({hint})")
    return found


def _typed(wanted: str, value: Any) -> Any:
    """The value as one of that type, or None."""
    try:
        return _MAKE[wanted](value)
    except (ValueError, TypeError, OverflowError):
        return None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _int(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise TypeError
    found = int(value)
    if not -_LARGEST <= found < _LARGEST:
        raise ValueError
    return found


def _float(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(found := float(value)):
        raise ValueError
    return found


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word not in _TRUE and word not in _FALSE:
        raise ValueError
    return word in _TRUE


def _date(value: Any) -> str:
    return date.fromisoformat(_text(value)[:10] if "T" in value else value).isoformat()


def _instant(value: Any) -> str:
    found = datetime.fromisoformat(_text(value))
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return found.isoformat().replace("+00:00", "Z")


_MAKE: Mapping[str, Callable[[Any], Any]] = {
    "text": _text,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "date": _date,
    "instant": _instant,
}


# --- segments over them ----------------------------------------------------------------------------------------------


def misused(condition: Condition, place: Place, declared: Declarations) -> Iterator[Fault]:
    """What a condition asks of a declared attribute that it can never be."""
    wanted = declared.get(condition.attribute) if isinstance(condition, Attribute) else None
    if wanted is None or not isinstance(condition, Attribute):
        return
    word, operand = condition.comparison
    here = (*place, word.rstrip("_"))
    if word in Comparison.DATES:
        if wanted.type not in {"date", "instant"}:
            yield Fault(here, f"{condition.attribute} is {WORDS[wanted.type]}, no date")
    elif word != "present":
        for value in operand if isinstance(operand, list | tuple) else [operand]:
            yield from _wrong_operand(condition.attribute, wanted, word, value, here)


def _wrong_operand(name: str, wanted: Declared, word: str, value: Any, here: Place) -> Iterator[Fault]:
    if not isinstance(value, _OPERANDS[wanted.type]) or (isinstance(value, bool) and wanted.type != "bool"):
        yield Fault(here, f"{name} is {WORDS[wanted.type]}, and {str(value)[:_SHOWN]!r} is not")
    elif wanted.values is not None and word in {"equals", "not_equals", "in_", "not_in"} and value not in wanted.values:
        known = [str(one) for one in wanted.values]
        yield Fault(here, f"{str(value)[:_SHOWN]!r} is not a value of {name}", did_you_mean(str(value)[:64], known))


_OPERANDS: Mapping[str, tuple[type, ...]] = {
    "text": (str,),
    "int": (int, float),
    "float": (int, float),
    "bool": (bool,),
    "date": (str,),
    "instant": (str,),
}
