"""Deliberately broken variants: each breaks one promise as naive systems do, and the walk catches every one of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import cache
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from orchestrator.campaign.spec import RelativeTo
from orchestrator.dispatch import sweep
from orchestrator.ledger import lease, mark, receipts, recover, settle
from orchestrator.ledger.states import State
from orchestrator.plan import awaken
from orchestrator.policy import caps_sql, cues, facts, gate
from orchestrator.policy.caps import CapRule
from orchestrator.policy.facts import Facts, Terms
from orchestrator.policy.gate import Leave, Verdict
from orchestrator.policy.resolver import Opening, Send
from orchestrator.store import Store
from orchestrator.timing import zones
from orchestrator.timing.instants import InstantSet
from orchestrator.timing.window import Window
from tests.walk import shapes, town
from tests.walk.walk import RAISED, drawn, fails

WITHIN = 120
"""Seeds within which each has to be caught: fixed ones, so that this never depends on luck."""
LENGTH = 90
Variant = Callable[[], AbstractContextManager[object]]


def no_fence() -> AbstractContextManager[object]:
    """Nobody asks whether a worker's lease has run out."""
    return mock.patch.object(lease, "check", return_value=None)


def text_messages_again() -> AbstractContextManager[object]:
    """A recovery that puts back whatever a dead worker held."""
    return mock.patch.object(town, "RESEND", dict.fromkeys(shapes.RESEND, True))


def without(name: str) -> Variant:
    """A gate without one of its rules: what was planned once is sent."""

    def broken() -> AbstractContextManager[object]:
        return mock.patch.object(gate, "RULES", tuple(rule for rule in gate.RULES if rule[0] != name))

    return broken


def planned_window() -> AbstractContextManager[object]:
    """A window that is asked when planning alone; what is due leaves, and may arrive for an hour."""

    def late(facts: Facts, _terms: Terms, _door: Opening, now: datetime) -> Verdict:
        return Leave(State.HELD_OUT, "holdout") if facts.held_out else Send(now + timedelta(hours=1))

    return mock.patch.object(gate, "RULES", (*gate.RULES[:-1], ("window", late)))


def calendar_days() -> AbstractContextManager[object]:
    """Caps by the calendar's days: an evening and the morning after both pass."""

    def today(rule: CapRule) -> str:
        day = 86_400_000_000
        return f"sent.sent_at >= :now / {day} * {day} - {rule.within // timedelta(days=1) - 1} * {day}"

    return _uncached(mock.patch.object(caps_sql, "_within", today), caps_sql._sent_sql)


def forgetful_caps() -> AbstractContextManager[object]:
    """What waits to be sent again after a lost answer is not counted."""
    made = (caps_sql._sent_sql, caps_sql._reserved_sql, caps_sql._streak_sql)
    return _uncached(mock.patch.object(caps_sql, "in_doubt_sql", return_value="1 = 0"), *made)


@contextmanager
def _uncached(patch: AbstractContextManager[object], *made: object) -> Iterator[None]:
    """With statements made anew, before and after."""
    with ExitStack() as stack:
        for one in made:
            clear = getattr(one, "cache_clear")  # noqa: B009
            clear()
            stack.callback(clear)
        stack.enter_context(patch)
        yield


def fixed_offsets() -> AbstractContextManager[object]:
    """Clocks that never change: a zone is its offset in January."""

    @cache
    def on(window: Window, day: object, key: str) -> InstantSet:
        found: InstantSet | None = None
        for zone in zones.candidates(key):
            offset = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)).utcoffset()
            real = window.on(day, "UTC")  # type: ignore[arg-type]
            moved = InstantSet(
                tuple((start - (offset or _NONE), end - (offset or _NONE)) for start, end in real.intervals)
            )
            found = moved if found is None else found & moved
        return found or InstantSet()

    return _uncached(mock.patch("orchestrator.policy.resolver.on_all", on), *_openings())


_NONE = timedelta(0)


def _openings() -> list[object]:
    from orchestrator.policy import resolver

    return [resolver.opening]


def backward_receipts() -> AbstractContextManager[object]:
    """The latest receipt counts, whatever came before it."""
    forward = "(state = 'unknown' OR (state = 'accepted' AND :state <> 'accepted'))"
    assert forward in receipts._APPLY.text
    naive = text(receipts._APPLY.text.replace(forward, "state IN ('unknown', 'accepted', 'delivered', 'undelivered')"))
    return mock.patch.object(receipts, "_APPLY", naive)


def certainly_not_sent() -> AbstractContextManager[object]:
    """What may have arrived ends as if it had certainly not been sent: the fault that the walk found first."""
    stack = ExitStack()
    for room in (mark, settle, recover):
        stack.enter_context(mock.patch.object(room, "in_doubt", return_value=set[int]()))
    return stack


def unheard() -> AbstractContextManager[object]:
    """Receipts that overtake the answer are lost."""
    stack = ExitStack()
    for room in (mark, settle, recover):
        stack.enter_context(mock.patch.object(room, "apply_kept", return_value=None))
    return stack


def hasty() -> AbstractContextManager[object]:
    """Whoever refuses between the mark and the request gets it all the same."""
    return mock.patch("orchestrator.dispatch.flights.just_refused", return_value=False)


def machines_count() -> AbstractContextManager[object]:
    """An open is an open, whoever made it."""
    found = cues._found

    def naive(dialect: str, kind: str, name: str) -> Iterator[tuple[str, str]]:
        for at, rows in found(dialect, kind, name):
            yield at, re.sub(r"AND \(\(CASE .*$", "", rows, flags=re.DOTALL)

    return _uncached(mock.patch.object(cues, "_found", naive), facts._columns, awaken._wake_sql)


def deaf() -> AbstractContextManager[object]:
    """Nobody listens for what steps wait for: the gate alone asks, at the end of the wait."""
    return mock.patch.object(sweep, "awaken", return_value=0)


def on_the_day() -> AbstractContextManager[object]:
    """Dates of people's own, as if nothing was ever said of days before or after them."""
    return mock.patch.object(RelativeTo, "dated", lambda _self, day: day)


BROKEN: dict[str, Variant] = {
    "no fence": no_fence,
    "text messages sent again": text_messages_again,
    "a window asked when planning": planned_window,
    "offsets that never change": fixed_offsets,
    "caps by calendar days": calendar_days,
    "caps that forget what waits": forgetful_caps,
    "refusals asked when planning": without("suppressed"),
    "consents asked when planning": without("no_consent"),
    "refusals after the mark": hasty,
    "pause asked before the claim alone": without("paused"),
    "receipts that go back": backward_receipts,
    "receipts that are lost": unheard,
    "doubt that is forgotten": certainly_not_sent,
    "follow-ups whatever has happened": without("not"),
    "follow-ups whatever has not": without("is"),
    "who has converted goes on": without("converted"),
    "waits that end in any case": without("wait_for"),
    "opens by machines": machines_count,
    "nobody is woken": deaf,
    "own dates without their offset": on_the_day,
}


FIRST = {
    "caps that forget what waits": 68,
    "refusals after the mark": 12,
    "pause asked before the claim alone": 21,
    "receipts that are lost": 17,
    "follow-ups whatever has happened": 39,
    "follow-ups whatever has not": 22,
    "who has converted goes on": 35,
    "opens by machines": 34,
}
"""The seed that is tried before all others, where it takes many to find one."""


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_variant_is_caught(store: Store, loop: asyncio.AbstractEventLoop, name: str) -> None:
    with BROKEN[name]():
        seeds = (FIRST.get(name, 0), *range(WITHIN))
        found = ((seed, words) for seed in seeds if (words := fails(store, loop, drawn(seed, LENGTH))))
        seed, caught = next(found, (0, ""))
    assert caught
    assert RAISED not in caught, "it was to be caught by what it does, not by a variant that does not work"
    assert not fails(store, loop, drawn(seed, LENGTH)), "it was to be caught by what is broken, and by nothing else"
