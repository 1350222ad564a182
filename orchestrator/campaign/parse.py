"""From a checked form to the :class:`Campaign` the rest of the house uses: units settled, defaults in place."""

from __future__ import annotations

from datetime import timedelta

from pydantic import ValidationError

from orchestrator.campaign.complaints import complaints
from orchestrator.campaign.document import Document
from orchestrator.campaign.follow_ups import contradictions, exits, when_of
from orchestrator.campaign.form import (
    ArmForm,
    BestTimeForm,
    BudgetForm,
    CampaignForm,
    GoalForm,
    StepForm,
)
from orchestrator.campaign.schedule_form import (
    PartialWindowForm,
    RelativeToForm,
    ScheduleForm,
    TriggerForm,
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
    RelativeTo,
    Schedule,
    Step,
    Timing,
    Trigger,
)
from orchestrator.campaign.words import WORKDAYS
from orchestrator.errors import ConfigError, Problem
from orchestrator.timing.calendars import Holidays
from orchestrator.timing.cron import Cron
from orchestrator.timing.window import Window

ONLY_ARM = "all"
ANY_TIME = Timing(None, expires_after=timedelta(hours=1), spread=0.0)
"""Of a campaign that fires at instants and has no window: at once, and an hour later no more."""


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
    problems += [*_steps_that_never_fit(campaign, document), *contradictions(campaign, document)]
    problems += _best_hours_of_an_event(campaign, document)
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
        exit_on_conversion=exits(form),
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
        relative_to=_relative(form.relative_to) if form.relative_to else None,
        at=form.at or (),
        cron=Cron.parse(form.cron, form.zone) if form.cron and form.zone else None,
        trigger=_trigger(form.trigger) if form.trigger else None,
    )


def _trigger(form: TriggerForm) -> Trigger:
    after, unless = form.after or timedelta(0), tuple(dict.fromkeys(form.unless))
    return Trigger(form.event, after, unless, form.again_after, dict(form.properties))


def _relative(form: RelativeToForm) -> RelativeTo:
    return RelativeTo(form.attribute, form.event, form.yearly, form.offset)


def _timing(form: WindowForm | None) -> Timing:
    given = form or WindowForm()
    return _own_timing(given, Timing(given.local) if given.local else ANY_TIME)


def _own_timing(form: PartialWindowForm, campaigns: Timing) -> Timing:
    usual = Timing(form.local) if form.local and campaigns.window is None else campaigns
    expires = campaigns.expires_after if campaigns.expires_after != ANY_TIME.expires_after else usual.expires_after
    return Timing(
        window=form.local or campaigns.window,
        late=Late(form.late) if form.late else campaigns.late,
        expires_after=form.expires_after or expires,
        spread=usual.spread if form.spread is None else form.spread,
    )


def _step(index: int, form: StepForm, timing: Timing) -> Step:
    return Step(
        index=index,
        channel=form.channel,
        template=form.template,
        account=form.account,
        rate=form.rate,
        when=when_of(form.when) if form.when else None,
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


def _best_hours_of_an_event(campaign: Campaign, document: Document) -> list[Problem]:
    """Sending when it suits best, or so long after an event: one of the two."""
    if campaign.schedule.trigger is None or not campaign.at_best_hours:
        return []
    message = "does not go with `schedule.trigger`: the event says when"
    return [document.problem(("best_time",), message, "remove it, in steps and arms too")]


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
        waited, before = earliest + (step.when.after if step.when else timedelta(0)), earliest
        if timing.window is None:
            earliest = waited
            continue
        start, end = _extent(timing.window)
        earliest = max(start, waited)
        if earliest >= end and not _may_wait(timing, waited - start):
            found.append((step, waited - start, end - start))
        if step.when is not None and step.when.wait_for is not None:
            earliest = before + step.when.latest
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
