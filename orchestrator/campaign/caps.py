"""How often people may be sent to at most: ``campaigns/caps.yaml``, for all campaigns together.

    caps:
      - {most: 2, within: 24h}
      - {channel: sms, tag: promotion, most: 1, within: 7d}
    exempt: [transactional]
    backoff: {after: 3, channels: [push], gaps: [3d, 7d, 14d], then: silence}

It is not part of a campaign's version: a change holds at once, for what is planned already too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, model_validator

from orchestrator.campaign.complaints import complaints
from orchestrator.campaign.reading import read_document
from orchestrator.campaign.schedule_form import Form
from orchestrator.campaign.spec import Campaign
from orchestrator.campaign.words import Slug, Span, refuse, span
from orchestrator.errors import ConfigError, Problem
from orchestrator.policy.caps import LONGEST, UNCAPPED, Backoff, CapRule, Caps, span_text

log = logging.getLogger(__name__)

FILE: Final = "caps.yaml"
MAX_RULES = 20
"""Braze's is ten; each one is asked for every message of its channel."""
AChannel = Literal["push", "sms", "email", "inbox", "webhook"]


def _rolling(value: object) -> timedelta:
    found = span(value)
    if found > LONGEST:
        refuse(f"{span_text(found)} is longer than {span_text(LONGEST)}", "the past beyond that is not looked at")
    return found


RollingSpan = Annotated[timedelta, BeforeValidator(_rolling), WithJsonSchema({"type": "string", "examples": ["7d"]})]
"""An exact span of no more than :data:`LONGEST`."""


class RuleForm(Form):
    """One rule: at most so many within any such span."""

    channel: AChannel | None = Field(default=None, description="messages of this channel alone; of all if left out")
    tag: Slug | None = Field(default=None, description="messages of campaigns with this tag alone; of all if left out")
    most: Annotated[int, Field(ge=0, le=1_000)] = Field(description="at most so many to one user; 0: never any")
    within: RollingSpan = Field(description="in any span of this length: 24h, 7d; at most 90d")


class BackoffForm(Form):
    """Fewer and fewer to who does not answer."""

    after: Annotated[int, Field(ge=1, le=100)] = Field(description="messages in a row without an answer")
    gaps: list[RollingSpan] = Field(max_length=20, description="how long to wait before each further one")
    channels: list[AChannel] = Field(
        default=["push"], min_length=1, description="whose messages are counted and held back"
    )
    then: Literal["silence"] = Field(default="silence", description="after the last gap: nothing until they come back")


class CapsForm(Form):
    """The file of caps."""

    caps: list[RuleForm] = Field(default=[], max_length=MAX_RULES, description="the rules; all that match hold")
    exempt: list[Slug] = Field(default=[], max_length=50, description="tags that are neither counted nor capped")
    horizon: Span = Field(
        default=timedelta(hours=24), description="how long before it is due a higher priority reserves its slot"
    )
    backoff: BackoffForm | None = Field(default=None, description="fewer and fewer to who does not answer")

    @model_validator(mode="after")
    def _sense(self) -> CapsForm:
        twice = {rule for rule in self.caps if self.caps.count(rule) > 1}
        for rule in twice:
            refuse(f"the same rule stands there twice: {_rule(rule).label}", "remove one", "caps")
        for rule in self.caps:
            if rule.tag in self.exempt:
                refuse(f"caps {rule.tag!r}, which is exempt from all caps", "remove it from one of the two", "exempt")
        return self


@dataclass(slots=True)
class CapsFile:
    """The caps as they stand in the file now. One that has become wrong is not followed: what it said last holds."""

    campaigns: Path
    _last: Caps = field(default=UNCAPPED, init=False)
    _told: str = field(default="", init=False)

    def __post_init__(self) -> None:
        """A daemon does not start with caps that it cannot read.

        Raises:
            ConfigError: with all that is wrong in the file.
        """
        self._last = caps_in(self.campaigns)

    def __call__(self) -> Caps:
        """The caps of now; asked at every mark."""
        try:
            self._last = caps_in(self.campaigns)
        except ConfigError as error:
            if (said := str(error)) != self._told:  # once for each mistake, not for each mark
                log.error("caps_unreadable", extra={"error": said})  # noqa: TRY400
                self._told = said
        return self._last


def caps_in(campaigns: Path) -> Caps:
    """What ``campaigns/caps.yaml`` says; no caps when there is no such file.

    Raises:
        ConfigError: with all that is wrong in it.
    """
    path = campaigns / FILE
    try:
        known = path.stat()
    except FileNotFoundError:
        return UNCAPPED
    except OSError as error:
        raise ConfigError([Problem(str(path), 0, "", f"cannot be read: {error.strerror}")]) from None
    return _read(path, known.st_mtime_ns, known.st_size)


def check_caps(campaigns: Path) -> Sequence[Problem]:
    """What is wrong with the file, if it is there."""
    try:
        caps_in(campaigns)
    except ConfigError as error:
        return error.problems
    return ()


def notes_on_caps(campaigns: Path, launched: Iterable[Campaign]) -> list[str]:
    """What somebody may not have meant: rules that forbid, tags that nobody has, steps that never leave."""
    try:
        caps = caps_in(campaigns)
    except ConfigError:
        return []
    known = list(launched)
    notes = [f"{FILE}: {rule.label}: 0 means never: no such message is sent" for rule in caps.rules if not rule.most]
    tags = {tag for campaign in known for tag in campaign.tagged}
    unknown = {tag for tag in ({rule.tag for rule in caps.rules} | caps.exempt) if tag} - tags
    notes += [f"{FILE}: no campaign has the tag {tag!r}" for tag in sorted(unknown)] if known else []
    for campaign in known:
        notes += _never(campaign, caps)
    return notes


def _never(campaign: Campaign, caps: Caps) -> Iterable[str]:
    for step in campaign.steps:
        for rule in caps.rules_for(step.channel, campaign.tagged):
            if not rule.most:
                yield f"{campaign.name}: step {step.index} ({step.channel}) is never sent: {FILE} says {rule.label}"


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> Caps:
    del changed, size  # asked at every mark; the file changes seldom
    document = read_document(path)
    if document.problems:
        raise ConfigError(document.problems)
    try:
        form = CapsForm.model_validate(document.data)
    except ValidationError as error:
        raise ConfigError(complaints(error, document, CapsForm)) from None
    rules = tuple(_rule(rule) for rule in form.caps)
    return Caps(rules, frozenset(form.exempt), form.horizon, _backoff(form.backoff) if form.backoff else None)


def _rule(form: RuleForm) -> CapRule:
    return CapRule(form.most, form.within, form.channel, form.tag)


def _backoff(form: BackoffForm) -> Backoff:
    return Backoff(form.after, tuple(form.gaps), frozenset(form.channels))
