"""A campaign file's fields: what may be written, field by field (docs/reference/campaign-file.md has the sentences).

These models see only text that enters. The rest of the house gets :class:`orchestrator.campaign.spec.Campaign`.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from orchestrator.campaign.schedule_form import Form, PartialWindowForm, ScheduleForm, WindowForm
from orchestrator.campaign.words import (
    CueWord,
    FactName,
    Line,
    Locale,
    PerSecond,
    Share,
    Slug,
    Span,
    TemplateName,
    Word,
    refuse,
)

MAX_STEPS = 15  # a message's id has four bits for its step
MAX_ARMS = 20


class AudienceForm(Form):
    """Whom."""

    segment: Slug = Field(description="the segment whose users are the audience: a file in campaigns/segments/")
    exclude: list[Slug] = Field(
        default=[], max_length=20, description="segments whose users are left out, with a reason"
    )


class BestTimeForm(Form):
    """The hour of the window that suits each user."""

    within_window: bool = Field(
        default=True, description="true: at each user's best hour within the window; false: as without best_time"
    )
    explore: Share | None = Field(
        default=None,
        description="the share that gets any hour of the window instead, so that there is something to learn",
    )


class WhenForm(Form):
    """A later step's condition."""

    not_: CueWord | None = Field(
        default=None,
        alias="not",
        description="only who has not: reopened, delivered, opened, clicked, converted, or an event's name",
    )
    is_: CueWord | None = Field(default=None, alias="is", description="only who has; the same words as in `not`")
    wait_for: CueWord | None = Field(
        default=None, description="sent as soon as it happens, and not without; the same words as in `not`"
    )
    within: Span | None = Field(default=None, description="with wait_for: how long after the step before it counts")
    after: Span | None = Field(
        default=None, description="how long after the step before; with wait_for: after it has happened"
    )

    @model_validator(mode="after")
    def _waits(self) -> Self:
        if self.wait_for is None and self.within is not None:
            refuse("goes with `wait_for`", "remove it, or add wait_for: opened", "within")
        if self.wait_for is None and self.after is None:
            refuse("is missing", "how long after the step before: after: 2h", "after")
        if self.wait_for is not None and self.within is None:
            refuse("is missing", "how long to wait at most: within: 6h", "within")
        return self

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.wait_for is not None and self.is_ is not None:
            refuse("stands beside `wait_for`", "write one of the two", "is")
        if self.not_ is not None and self.not_ in {self.is_, self.wait_for}:
            refuse("is what has to have happened: nobody would get it", "remove one of the two", "not")
        return self


class StepForm(Form):
    """One leg."""

    channel: Literal["push", "sms", "email", "inbox", "webhook"] = Field(
        description="push, sms, email, inbox (the app's own) or webhook"
    )
    template: TemplateName = Field(description="the message's folder under templates/")
    account: Slug | None = Field(
        default=None, description="the one account to send from; whichever of the channel's fits if left out"
    )
    rate: PerSecond | None = Field(default=None, description="at most so many messages: 2000/min, 30/s")
    when: WhenForm | None = Field(default=None, description="the condition of a later step")
    window: PartialWindowForm | None = Field(default=None, description="this step's own window; comes before an arm's")
    best_time: BestTimeForm | None = Field(default=None, description="this step's own best time; before an arm's")


class ConversionForm(Form):
    """What is success beyond coming back."""

    event: Word = Field(description="the event that is a conversion, such as order_paid")
    within: Span = Field(description="how long after the run's opening for the user it counts")
    value: Word | None = Field(default=None, description="the event's numeric property that is summed, such as amount")


_THEIR_OWN = frozenset({"message_opened", "link_clicked"})
"""Events that a mail's pixel or a scanner may cause: never success by themselves."""


class GoalForm(Form):
    """What is success."""

    event: Word = Field(default="app_open", description="the event that is a reopen")
    within: Span = Field(default="24h", validate_default=True, description="how long after the opening it counts")
    conversion: ConversionForm | None = Field(default=None, description="a further event that counts, such as an order")

    @model_validator(mode="after")
    def _by_the_app(self) -> Self:
        for event in (self.event, self.conversion.event if self.conversion else ""):
            if event in _THEIR_OWN:
                problem = f"{event!r} is no success: machines open mails and follow links too"
                refuse(problem, "name an event that the app itself reports, such as app_open", "event")
        return self


class ArmForm(Form):
    """A variant: what it does not say is the campaign's own."""

    name: Slug = Field(description="the arm's name in reports")
    weight: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="its share among the arms' weights")
    template: TemplateName | None = Field(default=None, description="the message's folder, for all steps")
    window: PartialWindowForm | None = Field(default=None, description="the arm's own window")
    best_time: BestTimeForm | None = Field(default=None, description="the arm's own best time")


class ExperimentForm(Form):
    """What is compared."""

    arms: list[ArmForm] = Field(min_length=1, max_length=MAX_ARMS, description="the variants")

    @model_validator(mode="after")
    def _names(self) -> Self:
        for name, count in Counter(arm.name for arm in self.arms).items():
            if count > 1:
                refuse(f"{count} arms are called {name!r}", "reports need different names", "arms")
            if name == "holdout":
                refuse("an arm cannot be called 'holdout'", "the field `holdout` makes the control group", "arms")
        return self


class BudgetForm(Form):
    """What SMS may come to."""

    sms: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = Field(default=None, description="at most so many SMS")
    sms_parts: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = Field(
        default=None, description="at most so many parts, as SMS are billed"
    )
    per: Literal["campaign", "run"] = Field(default="campaign", description="for all runs together, or for each run")

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if self.sms is None and self.sms_parts is None:
            refuse("limits nothing", "write budget: {sms_parts: 10000}")
        return self


class CampaignForm(Form):
    """A campaign file."""

    name: Slug = Field(description="the campaign's name: the file's, without .yaml; never changes after launch")
    title: dict[Locale, Line] = Field(default={}, description="what people call it, per language; the name if left out")
    topic: Slug = Field(description="what users consented to, such as promotions")
    priority: Annotated[int, Field(ge=0, le=100)] = Field(default=50, description="0 to 100; higher goes first")
    rate: PerSecond | None = Field(
        default=None, description="at most so many messages of all steps together: 2000/min, 30/s"
    )
    audience: AudienceForm = Field(description="whom")
    schedule: ScheduleForm = Field(description="which local dates, or which instants")
    window: WindowForm | None = Field(
        default=None, description="when, on the recipient's wall clock; may be left out of runs at instants"
    )
    best_time: BestTimeForm | None = Field(
        default=None, description="send at each user's best hour within the window; spread over it if left out"
    )
    facts: list[FactName] = Field(default=[], max_length=100, description="user attributes the templates may use")
    steps: list[StepForm] = Field(min_length=1, max_length=MAX_STEPS, description="the messages, in order")
    goal: GoalForm = Field(default_factory=GoalForm, description="what is success")
    holdout: Share = Field(default=0.0, description="the share of the audience that gets nothing, to compare with")
    experiment: ExperimentForm | None = Field(default=None, description="arms to compare; one arm `all` if left out")
    drop_if_back: bool = Field(default=True, description="whoever came back after planning gets no message")
    exit_on_conversion: bool | None = Field(
        default=None,
        description="whoever has converted gets nothing more of the run; true where goal.conversion is set",
    )
    recheck: Literal["segment"] | None = Field(
        default=None, description="segment: whoever is no longer in it as their message leaves gets none"
    )
    tags: list[Slug] = Field(
        default=[], max_length=20, description="what frequency caps know the campaign by; its topic if left out"
    )
    max_audience: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None, description="a brake: a run with a larger audience does not start"
    )
    budget: BudgetForm | None = Field(default=None, description="a brake: what the campaign's SMS may come to")
    seeds: list[Line] = Field(
        default=[], max_length=20, description="users who get a copy of every arm of each run; never counted"
    )

    @model_validator(mode="after")
    def _somewhen(self) -> Self:
        if self.schedule.days is None and self.schedule.dates is None:
            return self
        if self.window is None or self.window.local is None:
            refuse("needs `local` or `moment`", 'local: "10:30-11:45", or moment: before-lunch', "window")
        return self
