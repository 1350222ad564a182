"""The words conditions are made of: spans, names, operands, and the comparisons of one value."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Never, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

_DAY = timedelta(days=1)
_YEAR = timedelta(days=365)
_SHARE = re.compile(r"\d{1,3}(\.\d{1,4})?%")
MAX_SPAN = timedelta(days=36_600)
MAX_TIMES = 100_000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(?:\d{1,9}[smhdw]\s*)+")
_SPAN_PART = re.compile(r"(\d+)([smhdw])")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_KEY = re.compile(r'[^"\\\x00-\x1f]{1,128}')


def refuse(message: str, hint: str = "", field: str = "") -> Never:
    """What is wrong, in the words of whoever reads it; for a validator."""
    raise PydanticCustomError("segment", "{text}", {"text": message, "hint": hint, "field": field})


def _span(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _SPAN.fullmatch(value):
        refuse(f"{str(value)[:40]!r} is not a span", "write 90m, 12h, 30d or 2w")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _SPAN_PART.findall(value))
    if not 0 < seconds <= MAX_SPAN.total_seconds():
        refuse(f"{value[:40]!r} has to be more than nothing and at most {MAX_SPAN.days} days")
    return timedelta(seconds=seconds)


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        refuse(f"{value[:40]!r} is not a segment's name", "small letters, digits and hyphens: dormant-lunch-regulars")
    return value


def _key(value: str) -> str:
    if not _KEY.fullmatch(value):
        refuse(f"{value[:40]!r} cannot be a name here", 'at most 128 characters, no ", no \\')
    return value


def _operand(value: object) -> bool | int | float | str:
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        refuse("should be a text, a number, true or false")
    return value


def _order(value: object) -> int | float | str:
    operand = _operand(value)
    if isinstance(operand, bool):
        refuse("true and false have no order", "use equals")
    return operand


def _number(value: object) -> int | float:
    operand = _order(value)
    if isinstance(operand, str):
        refuse("should be a number")
    return operand


def _days(value: timedelta) -> timedelta:
    if value % _DAY or value > _YEAR:
        refuse("counts whole days, at most 365", "write 1d for today, 7d for today and the six days after")
    return value


def _share(value: object) -> float:
    if not isinstance(value, str) or not _SHARE.fullmatch(value) or not 0 < (share := float(value[:-1])) <= 100:  # noqa: PLR2004
        refuse(f"{str(value)[:40]!r} is not a share", "write 10% or 0.5%")
    return share / 100


Span = Annotated[
    timedelta,
    BeforeValidator(_span),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+[smhdw]\s*)+$", "examples": ["90m", "12h", "30d", "2w"]}),
]
Slug = Annotated[str, AfterValidator(_slug), WithJsonSchema({"type": "string", "pattern": f"^{_SLUG.pattern}$"})]
Key = Annotated[StrictStr, AfterValidator(_key)]
ChannelName = Literal["push", "sms", "email", "inbox", "webhook"]
Operand = Annotated[
    bool | int | float | str, PlainValidator(_operand), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Ordered = Annotated[int | float | str, PlainValidator(_order), WithJsonSchema({"type": ["string", "number"]})]
Words = Annotated[StrictStr, Field(min_length=1)]
Number = Annotated[int | float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
Days = Annotated[Span, AfterValidator(_days)]
Share = Annotated[
    float,
    PlainValidator(_share),
    WithJsonSchema({"type": "string", "pattern": f"^{_SHARE.pattern}$", "examples": ["10%"]}),
]
Operands = Annotated[list[Operand], Field(min_length=1, max_length=1000)]
Times = Annotated[StrictInt, Field(ge=0, le=MAX_TIMES)]


class Part(BaseModel):
    """What all parts share: unknown fields are errors, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Comparison(Part):
    """One comparison. The operand's type decides: a number is compared with numbers, text with text, else it is false.

    ``not_equals`` and ``not_in`` are the exact opposites of ``equals`` and ``in``: they hold where nothing is known.
    """

    equals: Operand | None = Field(default=None, description="the same value")
    not_equals: Operand | None = Field(default=None, description="any other value, or none")
    in_: Operands | None = Field(default=None, alias="in", description="one of these")
    not_in: Operands | None = Field(default=None, description="none of these")
    between: tuple[Ordered, Ordered] | None = Field(default=None, description="from … to, both included")
    less_than: Ordered | None = None
    at_most: Ordered | None = None
    more_than: Ordered | None = None
    at_least: Ordered | None = None
    contains: Words | None = Field(default=None, description="text with this in it")
    starts_with: Words | None = Field(default=None, description="text that begins so")
    present: StrictBool | None = Field(default=None, description="whether any value is known")
    before: Span | None = Field(default=None, description="a date or instant that long ago, or longer")
    within: Span | None = Field(default=None, description="a date or instant less long ago, and not in the future")
    within_next: Span | None = Field(default=None, description="a date or instant to come, and not later than that")
    anniversary: Days | None = Field(default=None, description="a date whose day and month come round in these days")

    DATES: ClassVar[tuple[str, ...]] = ("before", "within", "within_next", "anniversary")

    @model_validator(mode="after")
    def _one_comparison(self) -> Self:
        given = [name for name in Comparison.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            words = ", ".join(field.alias or name for name, field in Comparison.model_fields.items())
            refuse(f"has {len(given)} comparisons and needs one", f"one of: {words}")
        if self.between is not None:
            in_order(*self.between)
        return self

    @property
    def comparison(self) -> tuple[str, Any]:
        """The comparison's name and its operand."""
        return next((name, value) for name in Comparison.model_fields if (value := getattr(self, name)) is not None)


def in_order(low: object, high: object) -> None:
    """For a validator: two ends of one kind, the right way round."""
    if isinstance(low, str) != isinstance(high, str):
        refuse("needs two numbers or two texts", field="between")
    if low > high:  # type: ignore[operator]  # both text or both numbers, see above
        refuse("has its ends the wrong way round", f"write [{high}, {low}]", "between")
