"""Caps and back-off over instants: the single form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.policy.caps import UNCAPPED, Backoff, CapRule, Caps, Record, Restraint, span_text, strictest

NOW = datetime(2026, 12, 7, 0, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TWICE = CapRule(2, DAY)
PROMOTION = CapRule(1, 7 * DAY, "sms", "promotion")


@pytest.mark.parametrize(
    ("hours", "due", "until"),
    [
        ([], [], None),
        ([1], [], None),
        ([1, 20], [], NOW + 4 * HOUR),
        ([1, 2, 20], [], NOW + 22 * HOUR),  # two of them have to leave the span, and the older goes first
        ([3], [5], NOW + 21 * HOUR),  # one slot is spoken for
        ([], [5, 8], NOW + 5 * HOUR),  # both are: by then it is known whether they are used
        ([1, 2], [5, 8], NOW + 22 * HOUR),  # but not before there is room for anybody
        ([], [-1, 8], NOW + timedelta(minutes=1)),  # due already, and as good as sent
    ],
)
def test_a_slot_is_free_as_soon_as_the_span_has_room(hours: list[int], due: list[int], until: datetime | None) -> None:
    said = TWICE.full([NOW - n * HOUR for n in hours], [NOW + n * HOUR for n in due], NOW)
    assert said == (None if until is None else Restraint("capped:2 in 24h", until))


def test_none_at_all_is_never() -> None:
    """Mautic #10416 takes 0 for "no limit"."""
    assert CapRule(0, DAY, "push").full([], [], NOW) == Restraint("capped:0 push in 24h", None)


@pytest.mark.parametrize(
    ("channel", "tags", "labels"),
    [
        ("sms", ("promotion",), ["2 in 24h", "1 sms promotion in 7d"]),
        ("push", ("promotion",), ["2 in 24h"]),
        ("sms", ("news", "promotion"), ["2 in 24h", "1 sms promotion in 7d"]),
        ("sms", ("promo",), ["2 in 24h"]),
        ("sms", ("promotion", "transactional"), []),
    ],
)
def test_every_rule_that_covers_a_message_holds(channel: str, tags: tuple[str, ...], labels: list[str]) -> None:
    caps = Caps((TWICE, PROMOTION), frozenset({"transactional"}))
    assert [rule.label for rule in caps.rules_for(channel, tags)] == labels


def test_the_strictest_wins() -> None:
    soon, later, never = (Restraint(name, at) for name, at in (("a", NOW), ("b", NOW + HOUR), ("c", None)))
    assert strictest([None, soon, later]) == later
    assert strictest([soon, never, later]) == never
    assert strictest([None, None]) is None


BACKOFF = Backoff(3, (3 * DAY, 7 * DAY), frozenset({"push"}))


@pytest.mark.parametrize(
    ("unanswered", "days", "expected"),
    [
        (0, None, None),
        (2, 0.1, None),
        (3, 2.9, Restraint("backoff:3d", NOW + 0.1 * DAY)),
        (3, 3, None),
        (4, 3, Restraint("backoff:7d", NOW + 4 * DAY)),
        (4, 7, None),
        (5, 80, Restraint("backoff:silence", None)),
        (9, 80, Restraint("backoff:silence", None)),
    ],
)
def test_the_gap_grows_with_every_message_without_an_answer(
    unanswered: int, days: float | None, expected: Restraint | None
) -> None:
    last = None if days is None else NOW - days * DAY
    assert BACKOFF.says(unanswered, last, NOW) == expected


def test_messages_of_one_batch_count_against_each_other() -> None:
    record = Record({TWICE: [NOW - HOUR]})
    rules = (TWICE,)
    assert record.said(rules, None, NOW) == [None]
    record.leaves(rules, NOW)
    assert record.said(rules, None, NOW) == [Restraint("capped:2 in 24h", NOW + 23 * HOUR)]


def test_without_rules_nobody_is_held() -> None:
    assert UNCAPPED.rules_for("sms", ("promotion",)) == ()
    assert UNCAPPED.backoff_for("push", ("promotion",)) is None


@pytest.mark.parametrize("word", ["a'b", "a%", "_", "A", "a" * 65])
def test_what_could_not_stand_in_sql_is_no_rule(word: str) -> None:
    with pytest.raises(ValueError, match="no channel or tag"):
        CapRule(1, DAY, tag=word)
    with pytest.raises(ValueError, match="no channel or tag"):
        CapRule(1, DAY, channel=word)
    with pytest.raises(ValueError, match="no tag"):
        Caps(exempt=frozenset({word}))


@pytest.mark.parametrize(
    ("span", "text"),
    [(DAY, "24h"), (2 * DAY, "2d"), (HOUR * 36, "36h"), (timedelta(minutes=90), "90m"), (timedelta(seconds=5), "5s")],
)
def test_spans_are_written_as_in_files(span: timedelta, text: str) -> None:
    assert span_text(span) == text
