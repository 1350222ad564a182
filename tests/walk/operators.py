"""Operations: time, the calendar, what operators do, and the housekeeping."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from orchestrator.ledger.states import CampaignState, RunState, State
from tests.walk import planning
from tests.walk.afterwards import recover, sweep
from tests.walk.ledger import Launched
from tests.walk.registry import AT_WORK, HOUR, MINUTE, SECOND, operation
from tests.walk.shapes import CAPS, FOLLOW_UPS, OWN_DATES, SHAPES, STARTS, Shape
from tests.walk.walk import Walk


@operation(weight=0, picks=1)
def begin(walk: Walk, where: int) -> None:
    """Where the walk begins; two seconds later, so that the limiters have filled."""
    walk.put_clock(STARTS[where % len(STARTS)])
    walk.town.open()
    walk.opened()
    walk.put_clock(walk.now + 2 * SECOND)


JUMPS = (SECOND, 2 * SECOND, 10 * SECOND, 61 * SECOND, 5 * MINUTE, 20 * MINUTE, HOUR, 3 * HOUR, 9 * HOUR)


@operation(6, 1, *AT_WORK, "tick")
def time_passes(walk: Walk, pick: int) -> None:
    walk.put_clock(walk.now + JUMPS[pick % len(JUMPS)])


@operation(16, 2, *AT_WORK)
def until_something_is_due(walk: Walk, which: int, after: int) -> None:
    """To an instant at which a message falls due, or a little before or after."""
    _jump(walk, (one.due for one in walk.book.messages.values() if one.state is State.PLANNED), which, after)


@operation(2, 2, *AT_WORK, "the_sweeper_comes")
def until_a_deadline(walk: Walk, which: int, after: int) -> None:
    _jump(walk, (one.deadline for one in walk.book.messages.values() if one.state is State.PLANNED), which, after)


def _jump(walk: Walk, ends: Iterable[datetime], which: int, after: int) -> None:
    """To one of the next instants ahead; where there is none, some hours on, and what is due then is planned."""
    ahead = sorted(at for at in set(ends) if at > walk.now)[:3]
    if not ahead:
        walk.put_clock(walk.now + (1 + which % 8) * HOUR)
        tick(walk, after)
        return
    at = ahead[max(which % 6 - 3, 0) % len(ahead)] + (0, 0, 0, 1, 90, 600, -1)[after % 7] * SECOND
    walk.put_clock(max(walk.now, at.replace(microsecond=0) + SECOND * bool(at.microsecond)))


@operation(weight=3, picks=2)
def launch(walk: Walk, which: int, form: int) -> None:
    """A campaign for the first time, or in another form."""
    forms = list(SHAPES.values())[which % len(SHAPES)]
    _launch(walk, forms[form % len(forms)])


@operation(weight=2, picks=1)
def launch_follow_ups(walk: Walk, form: int) -> None:
    """One more campaign, whose later steps go by what has happened."""
    _launch(walk, FOLLOW_UPS[form % len(FOLLOW_UPS)])


@operation(1, 1, "tick")
def launch_own_dates(walk: Walk, form: int) -> None:
    """And one whose runs are each for those whose own date it is."""
    _launch(walk, OWN_DATES[form % len(OWN_DATES)])


def _launch(walk: Walk, shape: Shape) -> None:
    walk.town.launch(shape)
    walk.book.campaigns[shape.name] = Launched(shape)


@operation(weight=3, picks=2)
def pause_or_go_on(walk: Walk, which: int, stop: int) -> None:
    """A running campaign pauses, a paused one goes on; now and then one is stopped for good."""
    live = [name for name, one in walk.book.campaigns.items() if one.state is not CampaignState.STOPPED]
    if not live:
        return
    name = sorted(live)[which % len(live)]
    one = walk.book.campaigns[name]
    running = one.state is CampaignState.RUNNING
    new = CampaignState.PAUSED if running else CampaignState.RUNNING
    one.state = CampaignState.STOPPED if stop % 5 == 0 else new
    walk.town.put(name, one.state)
    if one.state is CampaignState.STOPPED:
        for run in walk.book.runs.values():
            if run.live and run.shape.name == name:
                run.state, run.reason = RunState.STOPPED, "stopped"


@operation(weight=2, picks=1)
def the_caps_change(walk: Walk, which: int) -> None:
    walk.town.caps = walk.book.caps = CAPS[which % len(CAPS)]


@operation(weight=4, picks=1)
def tick(walk: Walk, cut: int) -> None:
    """Due runs are made and planned; now and then a plan is interrupted."""
    walk.town.tick(cut=cut % 4 == 0)
    planning.due(walk.book)
    for run in list(walk.book.runs.values()):
        planning.plan(walk.book, run, cut=cut % 4 == 0)


@operation(weight=6, picks=0)
def the_sweeper_comes(walk: Walk) -> None:
    walk.town.sweep()
    sweep(walk.book, walk.dead())


@operation(weight=1, picks=0)
def everything_starts_again(walk: Walk) -> None:
    """All processes end; the next one recovers from all of them at once."""
    walk.town.restart()
    walk.forget_refusals()
    walk.workers = dict.fromkeys(walk.workers, walk.now)
    recover(walk.book, walk.dead())
    walk.opened()


@operation(weight=2, picks=1)
def an_account_goes_on(walk: Walk, which: int) -> None:
    if walk.book.stops:
        name = sorted(walk.book.stops)[which % len(walk.book.stops)]
        walk.town.resume(name)
        walk.book.stops.discard(name)


@operation(weight=1, picks=2)
def an_operator_ends_a_doubt(walk: Walk, which: int, how: int) -> None:
    doubtful = [one for one in walk.book.messages.values() if one.state is State.UNKNOWN]
    if doubtful:
        one, state = doubtful[which % len(doubtful)], (State.ACCEPTED, State.FAILED)[how % 2]
        walk.town.resolve(one.key, state)
        one.resolve(state)
