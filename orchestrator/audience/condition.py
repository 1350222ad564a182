"""The language of segments: what may stand under ``where`` in a segment file, checked, free of YAML.

Every span reaches back from ``as_of``, the instant the segment is evaluated at: *within* 30d is the half-open stretch
``(as_of - 30d, as_of]``, *before* 30d is everything up to ``as_of - 30d`` itself; together they are all of the past.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Never, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    StrictStr,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

MAX_SPAN = timedelta(days=36_600)
MAX_TIMES = 100_000
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(?:\d{1,9}[smhdw]\s*)+")
_SPAN_PART = re.compile(r"(\d+)([smhdw])")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_KEY = re.compile(r'[^"\\\x00-\x1f]{1,128}')


def _refuse(message: str, hint: str = "", field: str = "") -> Never:
    raise PydanticCustomError("segment", "{text}", {"text": message, "hint": hint, "field": field})


def _span(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _SPAN.fullmatch(value):
        _refuse(f"{str(value)[:40]!r} is not a span", "write 90m, 12h, 30d or 2w")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _SPAN_PART.findall(value))
    if not 0 < seconds <= MAX_SPAN.total_seconds():
        _refuse(f"{value[:40]!r} has to be more than nothing and at most {MAX_SPAN.days} days")
    return timedelta(seconds=seconds)


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        _refuse(f"{value[:40]!r} is not a segment's name", "small letters, digits and hyphens: dormant-lunch-regulars")
    return value


def _key(value: str) -> str:
    if not _KEY.fullmatch(value):
        _refuse(f"{value[:40]!r} cannot be a name here", 'at most 128 characters, no ", no \\')
    return value


def _operand(value: object) -> bool | int | float | str:
    if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
        _refuse("should be a text, a number, true or false")
    return value


def _order(value: object) -> int | float | str:
    operand = _operand(value)
    if isinstance(operand, bool):
        _refuse("true and false have no order", "use equals")
    return operand


Span = Annotated[
    timedelta,
    BeforeValidator(_span),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+[smhdw]\s*)+$", "examples": ["90m", "12h", "30d", "2w"]}),
]
Slug = Annotated[str, AfterValidator(_slug), WithJsonSchema({"type": "string", "pattern": f"^{_SLUG.pattern}$"})]
Key = Annotated[StrictStr, AfterValidator(_key)]
ChannelName = Literal["push", "sms", "email"]
Operand = Annotated[
    bool | int | float | str, PlainValidator(_operand), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Ordered = Annotated[int | float | str, PlainValidator(_order), WithJsonSchema({"type": ["string", "number"]})]
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
    contains: Annotated[StrictStr, Field(min_length=1)] | None = Field(default=None, description="text with this in it")
    present: StrictBool | None = Field(default=None, description="whether any value is known")

    @model_validator(mode="after")
    def _one_comparison(self) -> Self:
        given = [name for name in Comparison.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            words = ", ".join(field.alias or name for name, field in Comparison.model_fields.items())
            _refuse(f"has {len(given)} comparisons and needs one", f"one of: {words}")
        if self.between is not None:
            _ordered(*self.between)
        return self

    @property
    def comparison(self) -> tuple[str, Any]:
        """The comparison's name and its operand."""
        return next((name, value) for name in Comparison.model_fields if (value := getattr(self, name)) is not None)


def _ordered(low: object, high: object) -> None:
    if isinstance(low, str) != isinstance(high, str):
        _refuse("needs two numbers or two texts", field="between")
    if low > high:  # type: ignore[operator]  # both text or both numbers, see above
        _refuse("has its ends the wrong way round", f"write [{high}, {low}]", "between")


class Attribute(Comparison):
    """What is known of the user: name, locale, zone, country, or an attribute of the app's own."""

    attribute: Key


class PropertyIs(Comparison):
    """A property of an event."""

    property: Key


class Did(Part):
    """Did something, by default at least once; with ``at_most`` alone, never counts too."""

    did: Key
    at_least: Times | None = None
    at_most: Times | None = None
    exactly: Times | None = None
    within: Span | None = None
    where: list[PropertyIs] = Field(default=[], max_length=20)

    @model_validator(mode="after")
    def _counts(self) -> Self:
        if self.exactly is not None and (self.at_least is not None or self.at_most is not None):
            _refuse("stands alone, without at_least and at_most", field="exactly")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            _refuse(f"is more than at_most ({self.at_most})", field="at_least")
        return self

    @property
    def times(self) -> tuple[int, int | None]:
        """The fewest and the most times that hold; None: no limit."""
        if self.exactly is not None:
            return self.exactly, self.exactly
        fewest = self.at_least if self.at_least is not None else int(self.at_most is None)
        return fewest, self.at_most


class DidNot(Part):
    """Did not do something, ever or within a span."""

    did_not: Key
    within: Span | None = None
    where: list[PropertyIs] = Field(default=[], max_length=20)


class Last(Part):
    """When the latest one was: ``before`` 30d: 30 days ago or longer; ``within``: less long ago. Never is neither."""

    last: Key
    before: Span | None = None
    within: Span | None = None
    where: list[PropertyIs] = Field(default=[], max_length=20)

    @model_validator(mode="after")
    def _some_span(self) -> Self:
        if self.before is None and self.within is None:
            _refuse("needs a span", "before: 30d (at least that long ago) or within: 30d")
        if self.before is not None and self.within is not None and self.before >= self.within:
            _refuse("leaves nothing between before and within", "within has to reach further back", "within")
        return self


class AllOf(Part):
    """Every one of these."""

    all: list[Condition] = Field(min_length=1, max_length=100)


class AnyOf(Part):
    """At least one of these."""

    any: list[Condition] = Field(min_length=1, max_length=100)


class Not(Part):
    """Everybody else."""

    not_: Condition = Field(alias="not")


class InSegment(Part):
    """Everybody in another segment."""

    segment: Slug


class HasAddress(Part):
    """Can be reached on a channel: has a current address there."""

    address: ChannelName


class ConsentOf(Part):
    """What was agreed to."""

    channel: ChannelName
    topic: Key


class HasConsent(Part):
    """Has agreed to a topic on a channel, and not taken it back."""

    consent: ConsentOf


KINDS: Mapping[str, type[Part]] = {
    "all": AllOf,
    "any": AnyOf,
    "not": Not,
    "did": Did,
    "did_not": DidNot,
    "last": Last,
    "attribute": Attribute,
    "segment": InSegment,
    "address": HasAddress,
    "consent": HasConsent,
}
"""The word that opens a condition, and what it opens."""


def _kind(value: object) -> str | None:
    if isinstance(value, Part):
        return next(f"<{word}>" for word, model in KINDS.items() if type(value) is model)
    found = next((word for word in KINDS if word in value), None) if isinstance(value, dict) else None
    return f"<{found}>" if found else None


Condition = Annotated[
    Annotated[AllOf, Tag("<all>")]
    | Annotated[AnyOf, Tag("<any>")]
    | Annotated[Not, Tag("<not>")]
    | Annotated[Did, Tag("<did>")]
    | Annotated[DidNot, Tag("<did_not>")]
    | Annotated[Last, Tag("<last>")]
    | Annotated[Attribute, Tag("<attribute>")]
    | Annotated[InSegment, Tag("<segment>")]
    | Annotated[HasAddress, Tag("<address>")]
    | Annotated[HasConsent, Tag("<consent>")],
    Discriminator(_kind),
]


class SegmentFile(Part):
    """A segment file: a name, and who is in it."""

    name: Slug = Field(description="the file's name without .yaml")
    title: dict[str, str] = Field(default={}, description="what people call it, by locale")
    where: Condition = Field(description="who is in it")


for _model in (AllOf, AnyOf, Not, SegmentFile):
    _model.model_rebuild()
