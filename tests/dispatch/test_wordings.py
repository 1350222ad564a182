"""Words that are kept are the words that would have been written: else they are not kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from orchestrator.channel.base import SmsPayload
from orchestrator.content.links import Tracked
from orchestrator.content.templates import TemplateSet
from orchestrator.dispatch.wordings import Wordings
from orchestrator.ledger.claim import Claimed, Lane
from orchestrator.ledger.ids import LaneId, MessageId, message_id
from tests import world

NOW = datetime(2026, 12, 7, 10, tzinfo=UTC)
LANE = Lane(LaneId(1), 1, 1, "sms", "twilio", None, 50, "lunch", "v1")
CAMPAIGN = world.bundle({"steps": [{"channel": "sms", "template": "m"}]}).campaign


def claimed(user: int, run: int = 1, arm: str | None = None) -> Claimed:
    number = MessageId(message_id(run, user, 1))
    return Claimed(number, run, user, 1, 1, arm or CAMPAIGN.arms[0].name, False, NOW, NOW, 0)


def made(text: str) -> Tracked:
    return Tracked(SmsPayload(text))


def templates(text: str, channel: str = "sms") -> TemplateSet:
    return TemplateSet({f"m/{channel}.j2": text})


def test_the_next_message_to_the_same_user_has_the_same_words() -> None:
    words, compiled = Wordings(), templates("Hi {{ user.name }}, {{ campaign.title }}")
    words.keep(CAMPAIGN, compiled, LANE, claimed(1), made("Hi Li"))
    again, other = claimed(1, run=2), claimed(2)
    assert words.of(LANE, [again, other]) == {again.id: made("Hi Li")}


def test_what_another_lane_version_or_arm_says_is_another_thing() -> None:
    words, compiled = Wordings(), templates("Hi {{ user.name }}")
    words.keep(CAMPAIGN, compiled, LANE, claimed(1), made("Hi Li"))
    assert words.of(replace(LANE, version="v2"), [claimed(1)]) == {}
    assert words.of(replace(LANE, account="aliyun"), [claimed(1)]) == {}  # what it objects to may differ
    assert words.of(LANE, [claimed(1, arm="other")]) == {}


@pytest.mark.parametrize("text", ["{{ unsubscribe_url }}", "{{ user.name }} {{ trigger.item }}"])
def test_words_of_one_message_are_not_kept(text: str) -> None:
    words = Wordings()
    words.keep(CAMPAIGN, templates(text), LANE, claimed(1), made("once"))
    assert words.of(LANE, [claimed(1, run=2)]) == {}


def test_no_mail_is_kept() -> None:
    mails = world.bundle({"steps": [{"channel": "email", "template": "m"}]}).campaign
    words, compiled = Wordings(), templates("subject: Hi\n\n<p>Hi {{ user.name }}</p>", "email")
    words.keep(mails, compiled, replace(LANE, channel="email"), claimed(1), made("links of its own"))
    assert words.of(LANE, [claimed(1, run=2)]) == {}


def test_no_more_are_kept_than_there_is_room_for() -> None:
    words, compiled = Wordings(most=2), templates("Hi")
    for user in (1, 2, 3):
        words.keep(CAMPAIGN, compiled, LANE, claimed(user), made(f"Hi {user}"))
    assert len(words.of(LANE, [claimed(user) for user in (1, 2, 3)])) == 2
