"""A campaign file's fields about time: schedule and window; the rest is in :mod:`orchestrator.campaign.form`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from orchestrator.audience.segment_sql import COLUMNS
from orchestrator.audience.terms import Key
from orchestrator.campaign.words import (
    WORKDAYS,
    ACalendar,
    CronText,
    Day,
    FactName,
    Instants,
    LocalWindow,
    Offset,
    ScheduleDays,
    Share,
    Slug,
    Span,
    Word,
    Zone,
    refuse,
)

SOONEST_AFTER_EVENT = timedelta(days=3)
"""A run is planned before its date begins anywhere: by then, two days earlier is not over in Hawaii yet."""


class Form(BaseModel):
    """Unknown fields are errors; a quoted number is text; nothing changes after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


class RelativeToForm(Form):
    """Each user's own date."""

    attribute: Key | None = Field(
        default=None, description="the attribute that holds the date: birthday, points_expire_on"
    )
    event: Word | None = Field(default=None, description="instead: the event whose last time is the date")
    yearly: bool = Field(default=False, description="true: the date comes round every year, as birthdays do")
    offset: Offset = Field(
        default="0d", validate_default=True, description="whole days after the date, -3d is three days before"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.attribute is None) == (self.event is None):
            refuse("needs either `attribute` or `event`", "attribute: birthday, or event: order_paid")
        if self.attribute in COLUMNS:
            refuse(f"{self.attribute} is text, no date", "name an attribute that holds a date", "attribute")
        if self.event is not None and self.yearly:
            refuse("goes with `attribute`", "remove it: an event is dated by the last time it happened", "yearly")
        if self.event is not None and self.offset < SOONEST_AFTER_EVENT:
            days = SOONEST_AFTER_EVENT.days
            refuse(
                f"is {days}d at least with `event`: that day has to be over everywhere when the run is planned",
                f"for sooner: schedule: {{trigger: {{event: {self.event}, after: 24h}}}}",
                "offset",
            )
        return self


class TriggerForm(Form):
    """An event that makes who did it a member, one by one."""

    event: Word = Field(description="the event that does it; the last time counts: cart_updated")
    after: Span | None = Field(default=None, description="how long after the event: 45m; at once if left out")
    unless: list[Word] = Field(
        default=[], max_length=20, description="events that make it needless: whoever does one meanwhile gets nothing"
    )
    again_after: Span = Field(
        default="24h",
        validate_default=True,
        description="how long after the run opened for a user they may become a member again: 7d",
    )
    properties: dict[FactName, Any] = Field(
        default={},
        max_length=100,
        description="properties of the event that templates print as trigger.…, each with an example for previews",
    )

    @model_validator(mode="after")
    def _sense(self) -> Self:
        if self.event in self.unless:
            refuse(f"{self.event!r} is the event itself", "remove it: the last time counts anyway", "unless")
        return self


WAYS = ("days", "dates", "at", "cron", "trigger")
"""The fields of a schedule that say when; exactly one of them stands there."""
_SPANNED = frozenset({"days", "cron", "trigger"})
"""Those that go on: `from` and `until` say from which date to which."""


class ScheduleForm(Form):
    """Which local dates, each in every user's own zone; or which instants, the same for all."""

    days: ScheduleDays | None = Field(
        default=None, description="days of the week: every, mon-fri, [mon, wed]; or the workdays of a calendar"
    )
    first: Day | None = Field(
        default=None, alias="from", description="first local date, with `days`, `cron` or `trigger`"
    )
    until: Day | None = Field(default=None, description="last local date, with `days`, `cron` or `trigger`")
    dates: list[Day] | None = Field(
        default=None, min_length=1, max_length=400, description="single local dates, instead of `days`"
    )
    at: Instants | None = Field(
        default=None, description="instead of `days`: one instant or a list, with offset: 2026-12-24T18:00:00+08:00"
    )
    cron: CronText | None = Field(
        default=None, description='instead of `days`: instants as cron writes them, in `zone`: "0 9 * * mon"'
    )
    zone: Zone | None = Field(default=None, description="whose wall clock `cron` is about: Asia/Shanghai")
    holidays: Literal["skip", "only"] | None = Field(
        default=None,
        description="skip public holidays, or run on them only: the calendar's, else each member's country's",
    )
    calendar: ACalendar | None = Field(
        default=None, description="whose holidays and workdays: CN, DE-BY, or one of campaigns/calendars.yaml"
    )
    relative_to: RelativeToForm | None = Field(
        default=None, description="a date of each user's own: only those whose date it is are members"
    )
    trigger: TriggerForm | None = Field(
        default=None, description="instead of `days`: an event of each user's own, such as a cart left behind"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        there = [way for way in WAYS if getattr(self, way) is not None]
        if not there:
            refuse("needs one of " + ", ".join(f"`{way}`" for way in WAYS), "days: every, or dates: [2026-12-01]")
        if len(there) > 1:
            refuse(f"stands beside `{there[0]}`", "a schedule has one of them: remove the other", there[1])
        if there[0] not in _SPANNED and (self.first or self.until):
            refuse(f"does not go with `{there[0]}`", "remove it", "from" if self.first else "until")
        if self.days == WORKDAYS and self.calendar is None:
            refuse("workdays are those of a calendar", "add calendar: CN", "calendar")
        if self.first and self.until and self.until < self.first:
            refuse(f"{self.until} is before `from`, {self.first}", "exchange the two", "until")
        return self

    @model_validator(mode="after")
    def _whose_clock(self) -> Self:
        if self.cron is not None and self.zone is None:
            refuse("needs a zone: whose wall clock is meant?", "add zone: Asia/Shanghai", "cron")
        if self.cron is None and self.zone is not None:
            refuse("goes with `cron`", "remove it: dates are each member's own, and instants have an offset", "zone")
        return self

    @model_validator(mode="after")
    def _fires(self) -> Self:
        if isinstance(self.days, frozenset) and self.first and self.until:
            length = (self.until - self.first).days
            reached = {(self.first.weekday() + n) % 7 for n in range(min(length, 6) + 1)} if length >= 0 else self.days
            if not reached & self.days:
                refuse("none of these days lies between `from` and `until`", "the campaign would never run", "days")
        return self

    @model_validator(mode="after")
    def _relative_to_dates(self) -> Self:
        if self.relative_to is not None and self.days is None and self.dates is None:
            refuse("goes with `days`: each local date has a run, for those whose own date it is", "add days: every")
        return self


class PartialWindowForm(Form):
    """When, for one step or arm: what is not said is the campaign's own."""

    local: LocalWindow | None = Field(default=None, description='the recipient\'s wall clock: "10:30-11:45", half-open')
    moment: Slug | None = Field(default=None, description="instead of local: a moment by name, such as before-lunch")
    late: Literal["skip", "next"] | None = Field(default=None, description="a missed window: skip, or the next date's")
    spread: Share | None = Field(default=None, description="the share of the window over which sending is spread")
    expires_after: Span | None = Field(
        default=None, description="with late: next, how long a message stays worth sending"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.local is not None and self.moment is not None:
            refuse("stands beside `local`", "write one of the two", "moment")
        return self


class WindowForm(PartialWindowForm):
    """When, on the recipient's wall clock; without `local`, for how long after an instant."""

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if self.local is None and self.late is not None:
            refuse("goes with `local`", 'add local: "10:30-11:45", or remove it', "late")
        return self
