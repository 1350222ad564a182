"""Aliyun's records: what is found in them arrived, and when it may be said that a message never did."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.channel.base import Inquiry, Outcome
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, answers, cut, html, huge, reset, silence
from tests.channel.sms.aliyun_end import DAY, HOUR, PAYLOAD, PHONE, K, opened, page, refusal

SENT_AT = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)
INQUIRY = Inquiry("4711", PHONE, PAYLOAD, SENT_AT)


def asked(
    clock: ManualClock, *acts: Act, inquiry: Inquiry = INQUIRY, later: timedelta = HOUR
) -> tuple[Outcome | None, list[dict[str, str]]]:
    async def main() -> tuple[Outcome | None, list[dict[str, str]]]:
        async with opened(clock, *acts) as (channel, far):
            clock.advance(later)
            outcome = await channel.reconcile(inquiry)
            names = ("Action", "PhoneNumber", "SendDate", "PageSize", "CurrentPage")
            return outcome, [{name: seen.form[name] for name in names} for seen in far.requests]

    return asyncio.run(main())


def test_found_in_the_records(clock: ManualClock) -> None:
    outcome, queries = asked(clock, page("1", "4711"))
    assert outcome == Outcome(K.ACCEPTED, "reconciled")
    query = {"Action": "QuerySendDetails", "PhoneNumber": "13800138000", "SendDate": "20261201", "PageSize": "50"}
    assert queries == [{**query, "CurrentPage": "1"}]


def test_found_on_a_later_page(clock: ManualClock) -> None:
    outcome, queries = asked(clock, page(*"abc", total=4), page("4711", total=4))
    assert outcome is not None
    assert outcome.kind is K.ACCEPTED
    assert [query["CurrentPage"] for query in queries] == ["1", "2"]


def test_around_midnight_in_beijing_both_days_are_asked(clock: ManualClock) -> None:
    near = replace(INQUIRY, sent_at=datetime(2026, 11, 30, 15, 59, 30, tzinfo=UTC))
    outcome, queries = asked(clock, page("1"), page("4711"), inquiry=near)
    assert outcome is not None
    assert outcome.kind is K.ACCEPTED
    assert [query["SendDate"] for query in queries] == ["20261130", "20261201"]


def test_never_arrived(clock: ManualClock) -> None:
    for act in (page(), page("1", "47110", "471")):
        outcome, _ = asked(clock, act)
        assert outcome == Outcome(K.DROP_MESSAGE, "never_arrived")


@pytest.mark.parametrize("later", [timedelta(), timedelta(minutes=9)])
def test_records_may_be_behind(clock: ManualClock, later: timedelta) -> None:
    """A query right after the attempt that finds nothing proves nothing."""
    assert asked(clock, page(), later=later)[0] is None


def test_records_are_gone_after_thirty_days(clock: ManualClock) -> None:
    outcome, queries = asked(clock, page(), later=29 * DAY + HOUR)
    assert (outcome, queries) == (None, [])


def test_records_without_end_say_nothing(clock: ManualClock) -> None:
    outcome, queries = asked(clock, page("1", total=10_000))
    assert outcome is None
    assert len(queries) == 4


@pytest.mark.parametrize(
    "act",
    [
        answers(500),
        html(200),
        answers(200, {}),
        refusal("isv.SYSTEM_ERROR"),
        answers(401),
        reset,
        silence,
        cut(200),
        huge,
    ],
)
def test_an_error_is_no_answer(clock: ManualClock, act: Act) -> None:
    assert asked(clock, act)[0] is None
    assert asked(clock, page("1", total=5), act)[0] is None
