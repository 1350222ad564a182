"""Twilio's list of messages: what is found in it arrived, and when it may be said that a message never did."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from email.utils import format_datetime

import pytest

from orchestrator.channel.base import Outcome
from orchestrator.clock import ManualClock
from tests.channel.far_end import Act, FarEnd, answers, cut, html, huge, reset, silence
from tests.channel.sms.twilio_end import BODY, HOUR, INQUIRY, MESSAGES, MINUTE, PHONE, SENT_AT, SID, K, opened


def record(body: str = BODY, age: timedelta = timedelta(), sid: str = SID) -> dict[str, object]:
    created = format_datetime(SENT_AT - age)
    return {"sid": sid, "body": body, "to": PHONE, "date_created": created, "status": "sent", "error_code": None}


def page(*records: dict[str, object], following: str | None = None) -> Act:
    return answers(
        200, {"messages": list(records), "page": 0, "page_size": 50, "next_page_uri": following, "uri": "/x"}
    )


def asked(clock: ManualClock, *acts: Act) -> tuple[Outcome | None, list[dict[str, str]]]:
    async def main() -> tuple[Outcome | None, list[dict[str, str]]]:
        async with opened(clock, *acts) as (channel, far):
            outcome = await channel.reconcile(INQUIRY)
            assert {seen.method for seen in far.requests} == {"GET"}
            return outcome, [seen.query for seen in far.requests]

    return asyncio.run(main())


def test_found_in_the_list(clock: ManualClock) -> None:
    outcome, queries = asked(clock, page(record("another"), record()))
    assert outcome is not None
    assert (outcome.kind, outcome.provider_id) == (K.ACCEPTED, SID)
    assert queries == [{"To": PHONE, "DateSent>": "2026-11-30T03:00:00Z", "PageSize": "50"}]


def test_found_though_it_has_no_date_yet(clock: ManualClock) -> None:
    outcome, queries = asked(clock, page(), page(record()))
    assert outcome is not None
    assert outcome.kind is K.ACCEPTED
    assert "DateSent>" not in queries[1]


def test_never_arrived(clock: ManualClock) -> None:
    """Other words of another time, or the same words of last week."""
    later = page(record(BODY + " ", -HOUR), record("x", -HOUR))
    for acts in ([page()], [later], [page(record(age=timedelta(days=7)))]):
        outcome, _ = asked(clock, *acts)
        assert outcome is not None
        assert (outcome.kind, outcome.code) == (K.DROP_MESSAGE, "never_arrived")


@pytest.mark.parametrize("age", [-MINUTE, timedelta(), MINUTE])
def test_another_text_of_that_time_may_be_it(clock: ManualClock, age: timedelta) -> None:
    """It was composed again: the points in it may have been others when it was sent."""
    assert asked(clock, page(record("You have 41 points", age)))[0] is None


def test_on_a_later_page(clock: ManualClock) -> None:
    outcome, queries = asked(clock, page(record("x"), following=f"{MESSAGES}?Page=1&PageToken=PT1"), page(record()))
    assert outcome is not None
    assert outcome.kind is K.ACCEPTED
    assert queries[1] == {"Page": "1", "PageToken": "PT1"}


def test_a_list_without_end_says_nothing(clock: ManualClock) -> None:
    outcome, queries = asked(clock, page(record("x"), following=f"{MESSAGES}?Page=1"))
    assert outcome is None
    assert len(queries) == 6


@pytest.mark.parametrize(
    "act", [answers(500), html(200), answers(200, {}), answers(401), reset, silence, cut(200), huge]
)
def test_an_error_is_no_answer(clock: ManualClock, act: Act) -> None:
    assert asked(clock, act)[0] is None
    assert asked(clock, page(), act)[0] is None


def test_credentials_do_not_follow_a_link_elsewhere(clock: ManualClock) -> None:
    async def main() -> None:
        async with FarEnd() as thief:
            evil = {"meta": {"key": "messages", "next_page_url": f"{thief.url}/steal"}, "messages": [record("x")]}
            async with opened(clock, answers(200, evil)) as (channel, _):
                assert await channel.reconcile(INQUIRY) is None
            assert not thief.requests

    asyncio.run(main())
