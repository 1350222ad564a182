"""From a checked form to the :class:`Campaign` the rest of the house uses: units settled, defaults in place."""

from __future__ import annotations

from datetime import timedelta

from pydantic import ValidationError

from orchestrator.campaign.complaints import complaints
from orchestrator.campaign.document import Document
from orchestrator.campaign.form import (
    ArmForm,
    BestTimeForm,
    BudgetForm,
    CampaignForm,
    GoalForm,
    PartialWindowForm,
    ScheduleForm,
    StepForm,
    WindowForm,
)
from orchestrator.campaign.spec import (
    Arm,
    BestTime,
    Budget,
    Campaign,
    Conversion,
    Goal,
    Late,
    Schedule,
    Step,
    Timing,
    When,
)
from orchestrator.campaign.words import WORKDAYS
from orchestrator.errors import ConfigError, Problem
from orchestrator.timing.calendars import Holidays
from orchestrator.timing.window import Window

ONLY_ARM = "all"


def parse_campaign(document: Document) -> Campaign:
    """The campaign in a document.

    Raises:
        ConfigError: with everything that is wrong with the file by itself.
    """
    problems = [*document.problems, *_order_of_steps(document)]
    try:
        form = CampaignForm.model_validate(document.data)
    except ValidationError as error:
        problems += complaints(error, document, CampaignForm)
        raise ConfigError(sorted(problems, key=lambda problem: problem.line)) from None
    campaign = _campaign(form)
    problems += _steps_that_never_fit(campaign, document)
    if problems:
        raise ConfigError(problems)
    return campaign


def _campaign(form: CampaignForm) -> Campaign:
    timing = _timing(form.window)
    return Campaign(
        name=form.name,
        title=form.title or {"en": form.name},
        topic=form.topic,
        segment=form.audience.segment,
        exclude=tuple(form.audience.exclude),
        schedule=_schedule(form.schedule),
        timing=timing,
        steps=tuple(_step(index, step, timing) for index, step in enumerate(form.steps, start=1)),
        goal=_goal(form.goal),
        arms=tuple(_arm(arm, timing) for arm in form.experiment.arms) if form.experiment else (Arm(ONLY_ARM),),
        priority=form.priority,
        holdout=form.holdout,
        drop_if_back=form.drop_if_back,
        max_audience=form.max_audience,
        budget=_budget(form.budget) if form.budget else None,
        seeds=tuple(dict.fromkeys(form.seeds)),
        best_time=_best(form.best_time),
        rate=form.rate,
        tags=tuple(dict.fromkeys(form.tags)),
        recheck=form.recheck == "segment",
    )


def _schedule(form: ScheduleForm) -> Schedule:
    workdays = form.days == WORKDAYS
    return Schedule(
        weekdays=frozenset() if workdays else frozenset(form.days or ()),  # type: ignore[arg-type]  # not the word
        first=form.first,
        last=form.until,
        dates=frozenset(form.dates or ()),
        workdays=workdays,
        calendar=form.calendar,
        holidays=Holidays(form.holidays) if form.holidays else Holidays.IGNORE,
    )


def _timing(form: WindowForm) -> Timing:
    assert form.local is not None  # the form refuses a window without one
    return _own_timing(form, Timing(form.local))


def _own_timing(form: PartialWindowForm, campaigns: Timing) -> Timing:
    return Timing(
        window=form.local or campaigns.window,
        late=Late(form.late) if form.late else campaigns.late,
        expires_after=form.expires_after or campaigns.expires_after,
        spread=campaigns.spread if form.spread is None else form.spread,
    )


def _step(index: int, form: StepForm, timing: Timing) -> Step:
    return Step(
        index=index,
        channel=form.channel,
        template=form.template,
        account=form.account,
        rate=form.rate,
        when=When(not_reopened=form.when.not_ == "reopened", after=form.when.after) if form.when else None,
        timing=_own_timing(form.window, timing) if form.window else None,
        best=_best(form.best_time),
    )


def _arm(form: ArmForm, timing: Timing) -> Arm:
    own = _own_timing(form.window, timing) if form.window else None
    return Arm(form.name, form.weight, form.template, own, _best(form.best_time))


def _best(form: BestTimeForm | None) -> BestTime | None:
    return BestTime(form.within_window, form.explore) if form else None


def _goal(form: GoalForm) -> Goal:
    wanted = form.conversion
    return Goal(form.event, form.within, Conversion(wanted.event, wanted.within, wanted.value) if wanted else None)


def _budget(form: BudgetForm) -> Budget:
    return Budget(form.sms, form.sms_parts, each_run=form.per == "run")


def _order_of_steps(document: Document) -> list[Problem]:
    """The first step waits for nothing; a later one without a condition would leave together with the first."""
    steps = document.data.get("steps")
    problems = []
    for position, step in enumerate(steps if isinstance(steps, list) else ()):
        if not isinstance(step, dict):
            continue
        if position == 0 and "when" in step:
            hint = "remove it: there is no step before it"
            problems.append(document.problem(("steps", 0, "when"), "the first step waits for nothing", hint))
        if position > 0 and "when" not in step:
            hint = "add when: {not: reopened, after: 2h}"
            problems.append(
                document.problem(("steps", position), "would be sent together with the step before it", hint)
            )
    return problems


def _steps_that_never_fit(campaign: Campaign, document: Document) -> list[Problem]:
    problems: dict[tuple[int, str], Problem] = {}
    for arm in campaign.arms:
        for step, waited, left in _too_late(campaign, arm):
            where = f" of arm {arm.name!r}" if len(campaign.arms) > 1 else ""
            message = f"{_short(waited)} after the window{where} opens, it is over: nothing would ever be sent"
            hint = f"the window is {_short(left)} long: wait less, or give the step a later window"
            problem = document.problem(("steps", step.index - 1, "when", "after"), message, hint)
            problems.setdefault((step.index, message), problem)
    return list(problems.values())


def _too_late(campaign: Campaign, arm: Arm) -> list[tuple[Step, timedelta, timedelta]]:
    """Steps that come after the end of their window even for whoever got the first one at its very opening."""
    found = []
    earliest = timedelta(0)
    for step in campaign.steps:
        timing = campaign.timing_of(arm, step)
        start, end = _extent(timing.window)
        waited = earliest + (step.when.after if step.when else timedelta(0))
        earliest = max(start, waited)
        if earliest >= end and not _may_wait(timing, waited - start):
            found.append((step, waited - start, end - start))
    return found


def _may_wait(timing: Timing, waited: timedelta) -> bool:
    return timing.late is Late.NEXT and waited < timing.expires_after


def _extent(window: Window) -> tuple[timedelta, timedelta]:
    """First opening and last end, from the date's midnight."""
    starts, ends = [part.start for part in window.parts], [part.end for part in window.parts]
    return timedelta(minutes=min(starts)), timedelta(minutes=max(ends))


def _short(length: timedelta) -> str:
    minutes = round(length.total_seconds() / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours}h{rest:02}m" if hours and rest else f"{hours}h" if hours else f"{rest}m"
