"""Simulated people: a real baseline, a true effect, and acts at instants that make sense."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest

from orchestrator.cli.demo import behaviour
from orchestrator.cli.demo.behaviour import Act, Arrival, effect, habit, own_days, response
from orchestrator.cli.demo.people import Person

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)  # 11:00 in Shanghai


def person(*, dormant: int = 100, orders: int = 3, locale: str = "zh-CN") -> Person:
    known = ("Asia/Shanghai", "CN", "Asia/Shanghai")
    agreed = (("push", True), ("sms", True))
    return Person("u-1", "王安", locale, *known, (), "+8613123456789", agreed, "", orders, dormant, 30.0)


def arrival(channel: str = "push", *, coupon: bool = False, at: datetime = NOW) -> Arrival:
    return Arrival("77", channel, coupon, at)


def test_recent_and_frequent_buyers_open_the_app_more() -> None:
    assert habit(person(dormant=31)) > habit(person(dormant=400)) >= behaviour.HABIT_LEAST
    assert habit(person(orders=9)) > habit(person(orders=2))
    assert habit(person(orders=200)) == behaviour.HABIT_MOST


def test_the_effect_depends_on_copy_channel_person_and_hour() -> None:
    usual = effect(person(), arrival())
    assert effect(person(), arrival(coupon=True)) > usual
    assert effect(person(), arrival("sms")) < usual
    assert effect(person(dormant=500), arrival()) < usual
    assert effect(person(), arrival(at=NOW + timedelta(minutes=40))) > usual


def test_a_message_brings_back_as_many_as_its_effect_says() -> None:
    seen = [list(response(person(), arrival(), Random(seed))) for seed in range(4000)]
    came = sum(any(act.name == "app_open" for act in acts) for acts in seen)
    assert came / 4000 == pytest.approx(effect(person(), arrival()), abs=0.02)
    acts = [act for acts in seen for act in acts]
    assert all(act.at > NOW and not act.unasked for act in acts)
    assert {act.message_id for act in acts if act.name == "message_opened"} == {"77"}


def test_a_few_say_stop_to_texts_in_their_language_and_do_not_come() -> None:
    seen = [list(response(person(), arrival("sms"), Random(seed))) for seed in range(4000)]
    stops = [acts for acts in seen if any(act.text for act in acts)]
    assert len(stops) / 4000 == pytest.approx(behaviour.SAYS_STOP, abs=0.01)
    assert all(len(acts) == 1 for acts in stops)
    assert "退订" in {acts[0].text for acts in stops}
    assert not any(act.text for seed in range(500) for act in response(person(), arrival(), Random(seed)))


def test_days_of_their_own_are_the_same_life_whenever_one_begins_to_look() -> None:
    def life(since: datetime) -> list[Act]:
        days = (date(2026, 11, 22), since, NOW + timedelta(days=60))
        return list(own_days(person(orders=20), *days, Random(5)))

    early, late = life(NOW), life(NOW + timedelta(days=20))
    assert early
    assert set(late) < set(early)
    assert all(act.unasked and act.at >= NOW for act in early if act.name == "app_open")
