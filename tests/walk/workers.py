"""Operations: workers at work, at any step of it, frozen, dying, and overtaken by what happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.errors import LeaseLostError
from orchestrator.ledger import claim as queue
from orchestrator.ledger.states import State
from tests.walk.afterwards import Heard, settle
from tests.walk.door import Lane, claim, due_lanes, mark, skipped_by_template
from tests.walk.ledger import Message, lane_of
from tests.walk.people import CHANNELS
from tests.walk.registry import OPERATIONS, SECOND, operation
from tests.walk.town import LEASE, Died
from tests.walk.walk import Flight, Walk

STALE_SECONDS = 5 * SECOND


@operation(weight=12, picks=2)
def a_worker_works(walk: Walk, who: int, _script: int) -> None:
    """A round over all lanes with something due, to the end."""
    n = who % 2
    if not beats(walk, n):
        return
    for lane in lanes_of(walk, n):
        if not (takes(walk, n, lane, 200) and sends(walk, n) and lands(walk, n)):
            return


@operation(weight=2, picks=1)
def a_worker_beats(walk: Walk, who: int) -> None:
    beats(walk, who % 2)


@operation(5, 3, "a_worker_sends")
def a_worker_marks(walk: Walk, who: int, which: int, many: int) -> None:
    """One batch, and no further: the requests are still to be made. It may have slept for too long."""
    n = who % 2
    lanes = lanes_of(walk, n)
    if lanes:
        takes(walk, n, lanes[which % len(lanes)], (1, 2, 3, 200)[many % 4])


@operation(4, 2, "a_worker_settles")
def a_worker_sends(walk: Walk, who: int, _script: int) -> None:
    sends(walk, who % 2)


@operation(weight=5, picks=1)
def a_worker_settles(walk: Walk, who: int) -> None:
    lands(walk, who % 2)


AT_THE_DOOR = (
    *("somebody_agrees_or_not", "an_operator_suppresses") * 2,
    *("somebody_writes_back", "somebody_does_something"),
    *("pause_or_go_on", "pause_or_go_on", "an_address_moves", "the_caps_change", "a_receipt_comes"),
)


REFUSALS = ("somebody_agrees_or_not", "an_operator_suppresses")


@operation(8, 8)
def something_happens_at_the_door(walk: Walk, who: int, which: int, what: int, *picks: int) -> None:
    """Between the claim of a batch and its mark, or between the mark and the requests: they have to see it."""
    n = who % 2
    lanes = lanes_of(walk, n)
    if not lanes or not beats(walk, n):
        return
    lane, life = lanes[which % len(lanes)], walk.town.lives[n]
    taken = claim(walk.book, walk.beings[n].worker, lane, 200)
    name = AT_THE_DOOR[what % len(AT_THE_DOOR)]
    if name in REFUSALS:  # mostly of somebody whom it is about
        one = taken[picks[0] % len(taken)]
        picks = (one.key[1] - 1, CHANNELS.index(one.channel), *picks[2:])

    def happens() -> None:
        OPERATIONS[name].act(walk, *picks[: OPERATIONS[name].picks])

    if who % 3:
        life.meanwhile = happens
    walk.town.take(life, _real(walk, n, lane), 200)
    _marked(walk, n, taken, lane)
    if not who % 3:
        happens()
    if sends(walk, n):
        lands(walk, n)


def _real(walk: Walk, n: int, lane: Lane) -> queue.Lane:
    """The lane itself, as the worker sees it."""
    return next(one for one in walk.town.lanes(walk.town.lives[n]) if one.id == lane_of(*lane))


STEPS = (
    *("claiming", "claimed", "composed", "admitted", "marking", "marked"),
    *("leaving", "sent", "settling", "written", "settled"),
)


@operation(weight=5, picks=5)
def a_worker_dies(walk: Walk, who: int, which: int, step: int, nth: int, _script: int) -> None:
    """In the middle of one batch, at a step; another process starts in its place."""
    n = who % 2
    lanes = lanes_of(walk, n)
    if not lanes or not beats(walk, n):
        return
    life, name = walk.town.lives[n], STEPS[step % len(STEPS)]
    life.trap, life.seen = (name, nth % 3 if name in {"leaving", "sent"} else 0), 0
    lane, asked = lanes[which % len(lanes)], walk.asked
    real, died = _real(walk, n, lane), False
    try:
        walk.town.take(life, real, 200)
        walk.town.send(life)
        walk.town.land(life)
    except Died:
        died = True
    walk.asked = asked
    walk.expect(f"it dies at {name}", died, _lived_until(walk, n, lane, name, life.trap[1]))
    life.trap = ("", 0)
    walk.reborn(n, process=True)


def _lived_until(walk: Walk, n: int, lane: Lane, step: str, nth: int) -> bool:
    """The oracle's life up to a step; whether it came to it."""
    if step == "claiming":
        return True
    being, before = walk.beings[n], STEPS.index(step)
    taken = claim(walk.book, being.worker, lane, 200)
    if step == "marking":
        _released(walk, n, taken, lane)
    if before < STEPS.index("marked"):
        return bool(taken) or step == "claimed"
    _marked(walk, n, taken, lane)
    if step == "marked":
        return True
    requests = [flight for flight in being.flying if flight.answer is None]
    dies = step in {"leaving", "sent"} and len(requests) > nth
    for flight in requests[: nth + (step == "sent")] if dies else requests:
        _request(walk, n, flight)
    answered = bool(being.flying)
    if step in {"leaving", "sent", "settled"} and not dies:
        _settle(walk, n)
    elif step == "written":
        _undone(walk, n)
    return dies or (answered and step not in {"leaving", "sent"})


def lanes_of(walk: Walk, n: int) -> list[Lane]:
    """What there is to do, on which both sides agree."""
    expected = due_lanes(walk.book)
    found = [one.id for one in walk.town.lanes(walk.town.lives[n])]
    walk.expect("lanes with something due", found, [lane_of(*lane) for lane in expected])
    return expected


def alive(walk: Walk, n: int) -> bool:
    return walk.beings[n].until > walk.now


def attempt(walk: Walk, n: int, act: Callable[[], None]) -> bool:
    """Whether the worker could do it: without a lease it cannot, and another incarnation takes its place."""
    try:
        act()
        lost = False
    except LeaseLostError:
        lost = True
    walk.expect(f"worker {walk.beings[n].worker} has lost its lease", lost, not alive(walk, n))
    return not lost


def beats(walk: Walk, n: int) -> bool:
    if not attempt(walk, n, lambda: walk.town.beat(walk.town.lives[n])):
        walk.reborn(n, process=False)
        return False
    being = walk.beings[n]
    being.until = walk.workers[being.worker] = walk.now + LEASE
    return True


def takes(walk: Walk, n: int, lane: Lane, most: int) -> bool:
    life = walk.town.lives[n]
    real = next((one for one in walk.town.lanes(life) if one.id == lane_of(*lane)), None)
    if real is None:  # an earlier batch of the round has stopped its account, or taken its last message with it
        return True
    if not attempt(walk, n, lambda: walk.town.take(life, real, most)):
        walk.reborn(n, process=False)
        return False
    _marked(walk, n, claim(walk.book, walk.beings[n].worker, lane, most), lane)
    return True


def _released(walk: Walk, n: int, taken: list[Message], lane: Lane) -> list[Message]:
    """Composed and admitted: what has no turn goes back. Who may be marked."""
    ready = [one for one in taken if skipped_by_template(walk.book, one) is None]
    if walk.now > walk.beings[n].shut_until[lane[2]]:
        return ready
    for one in ready:
        one.wait()
    return []


def _marked(walk: Walk, n: int, taken: list[Message], lane: Lane) -> None:
    """Composed, admitted, marked; what has no turn goes back before."""
    book, being = walk.book, walk.beings[n]
    words = {one.key: skipped_by_template(book, one) for one in taken}
    sending = mark(book, _released(walk, n, taken, lane))
    for one in taken:
        if (reason := words[one.key]) is not None:
            one.crashes = 0
            one.end(State.SKIPPED, reason)
    for key, until in sending.items():
        message = book.messages[key]
        being.flying.append(Flight(key, message.account, message.address, until, walk.now))


def sends(walk: Walk, n: int) -> bool:
    asked = walk.asked
    walk.town.send(walk.town.lives[n])
    walk.asked = asked  # both sides hear the same
    for flight in walk.beings[n].flying:
        if flight.answer is None:
            _request(walk, n, flight)
    return True


def _request(walk: Walk, n: int, flight: Flight) -> None:
    """The request itself, if it may still be made."""
    message, being, audience = walk.book.messages[flight.key], walk.beings[n], walk.book.audience
    late = walk.now >= flight.until or walk.now - flight.marked > STALE_SECONDS or not alive(walk, n)
    whom = (flight.key[1], audience.addresses[flight.address].value)
    said = None if late or audience.just_refused(message.channel, whom, walk.now) else walk.drawn()
    if said is not None and said.name == "account_wait":
        being.shut_until[flight.account] = max(being.shut_until[flight.account], walk.now + said.wait * SECOND)
    flight.answer = Heard(message, flight.account, flight.address, said, walk.now)


def lands(walk: Walk, n: int) -> bool:
    life, being = walk.town.lives[n], walk.beings[n]
    if not any(flight.answer for flight in being.flying):
        return True
    if not attempt(walk, n, lambda: walk.town.land(life)):
        _forget(walk, n)
        walk.reborn(n, process=False)
        return False
    _settle(walk, n)
    return True


def _settle(walk: Walk, n: int) -> None:
    being = walk.beings[n]
    settle(walk.book, being.guards, [flight.answer for flight in being.flying if flight.answer is not None])
    being.flying = [flight for flight in being.flying if flight.answer is None]


def _undone(walk: Walk, n: int) -> None:
    """Refusals whose transaction is undone were noted all the same: they cost a message one more turn."""
    for flight in walk.beings[n].flying:
        if flight.answer is not None and flight.answer.said is not None and flight.answer.said.name == "refuses":
            audience, channel = walk.book.audience, flight.answer.message.channel
            audience.note(channel, flight.key[1], walk.now)
            audience.note(channel, audience.addresses[flight.address].value, walk.now)


def _forget(walk: Walk, n: int) -> None:
    """Nothing is written of answers that came too late; the guards have heard them all the same."""
    _undone(walk, n)
    guards = walk.beings[n].guards
    for flight in walk.beings[n].flying:
        if (one := flight.answer) is not None:
            said = one.said.name if one.said else ""
            guard = guards[one.account]
            guard.record(walk.now, one.address, dead=said == "dead", accepted=said == "accepted")
            if said == "dead" and guard.storming(walk.now):
                guard.suspects(walk.now)
