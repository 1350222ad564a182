"""The language of segments: what may stand under ``where`` in a segment file, checked, free of YAML.

Every span reaches back from ``as_of``, the instant the segment is evaluated at: *within* 30d is the half-open stretch
``(as_of - 30d, as_of]``, *before* 30d is everything up to ``as_of - 30d`` itself; together they are all of the past.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Discriminator, Field, StrictStr, Tag, model_validator

from orchestrator.audience.terms import (
    ChannelName,
    Comparison,
    Key,
    Number,
    Part,
    Share,
    Slug,
    Span,
    Times,
    in_order,
    refuse,
)


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
            refuse("stands alone, without at_least and at_most", field="exactly")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            refuse(f"is more than at_most ({self.at_most})", field="at_least")
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


class _Edge(Part):
    """The latest, or the first, of a user's events: when it was, and a property of it. Never is neither."""

    before: Span | None = None
    within: Span | None = None
    where: list[PropertyIs] = Field(default=[], max_length=20)
    value: PropertyIs | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.before is None and self.within is None and self.value is None:
            refuse("needs a span or a value", "before: 30d, within: 30d, or value: {property: …}")
        if self.before is not None and self.within is not None and self.before >= self.within:
            refuse("leaves nothing between before and within", "within has to reach further back", "within")
        return self


class Last(_Edge):
    """When the latest one was: ``before`` 30d: 30 days ago or longer; ``within``: less long ago. Never is neither."""

    last: Key


class First(_Edge):
    """The same of the first one ever: ``within`` 30d is somebody who began less than 30 days ago."""

    first: Key


class _Total(Part):
    """A number made of a property of a user's events; what is not a number does not count."""

    property: Key
    equals: Number | None = None
    between: tuple[Number, Number] | None = None
    less_than: Number | None = None
    at_most: Number | None = None
    more_than: Number | None = None
    at_least: Number | None = None
    within: Span | None = None
    where: list[PropertyIs] = Field(default=[], max_length=20)

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        given = [name for name in _LIMITS if getattr(self, name) is not None]
        if len(given) != 1:
            refuse(f"has {len(given)} comparisons and needs one", f"one of: {', '.join(_LIMITS)}")
        if self.between is not None:
            in_order(*self.between)
        return self


_LIMITS = ("equals", "between", "less_than", "at_most", "more_than", "at_least")


def limit_of(total: Sum | Average) -> Comparison:
    """The comparison of a number, by itself."""
    return Comparison.model_validate({name: getattr(total, name) for name in _LIMITS})


class Sum(_Total):
    """A property added up over events; of nobody's events it is 0."""

    sum: Key


class Average(_Total):
    """The mean of a property over events; who has none is in no comparison."""

    average: Key


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


class IsSuppressed(Part):
    """Must not be sent to on a channel: the user, or an address they have there, is suppressed."""

    suppressed: ChannelName


class Past(Part):
    """What became of a user in an earlier campaign."""

    was_sent: Slug | None = None
    opened: Slug | None = None
    clicked: Slug | None = None
    reopened: Slug | None = None
    did_not_reopen: Slug | None = None
    converted: Slug | None = None
    was_held_out: Slug | None = None
    within: Span | None = None

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        given = [name for name in PAST if getattr(self, name) is not None]
        if len(given) != 1:
            refuse(f"has {len(given)} questions and needs one", f"one of: {', '.join(PAST)}")
        return self

    @property
    def question(self) -> tuple[str, str]:
        """What is asked, and of which campaign."""
        return next((name, value) for name in PAST if (value := getattr(self, name)) is not None)


PAST = ("was_sent", "opened", "clicked", "reopened", "did_not_reopen", "converted", "was_held_out")


class InCampaign(Part):
    """What became of them in an earlier campaign."""

    campaign: Past


class InSample(Part):
    """A share of all users, by chance, and the same ones each time; another ``salt`` draws others."""

    sample: Share
    salt: StrictStr = Field(default="", max_length=64)


KINDS: Mapping[str, type[Part]] = {
    "all": AllOf,
    "any": AnyOf,
    "not": Not,
    "did": Did,
    "did_not": DidNot,
    "last": Last,
    "first": First,
    "sum": Sum,
    "average": Average,
    "attribute": Attribute,
    "segment": InSegment,
    "address": HasAddress,
    "consent": HasConsent,
    "suppressed": IsSuppressed,
    "campaign": InCampaign,
    "sample": InSample,
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
    | Annotated[First, Tag("<first>")]
    | Annotated[Sum, Tag("<sum>")]
    | Annotated[Average, Tag("<average>")]
    | Annotated[Attribute, Tag("<attribute>")]
    | Annotated[InSegment, Tag("<segment>")]
    | Annotated[HasAddress, Tag("<address>")]
    | Annotated[HasConsent, Tag("<consent>")]
    | Annotated[IsSuppressed, Tag("<suppressed>")]
    | Annotated[InCampaign, Tag("<campaign>")]
    | Annotated[InSample, Tag("<sample>")],
    Discriminator(_kind),
]


class SegmentFile(Part):
    """A segment file: a name, and who is in it."""

    name: Slug = Field(description="the file's name without .yaml")
    title: dict[str, str] = Field(default={}, description="what people call it, by locale")
    where: Condition = Field(description="who is in it")


for _model in (AllOf, AnyOf, Not, SegmentFile):
    _model.model_rebuild()
