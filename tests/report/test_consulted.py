"""Every rule of a message with its verdict: the same functions that decide, and their words."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestrator.audience import people
from orchestrator.channel.push.quotas import DailyQuota
from orchestrator.clock import ManualClock
from orchestrator.policy.caps import Backoff, CapRule, Caps
from orchestrator.policy.carriers import Routing
from orchestrator.policy.gate import RULES as GATE
from orchestrator.report.consulted import Around, RulesStory, consulted
from orchestrator.report.consulted_words import RULES, tell_rules
from orchestrator.report.reasons import REASONS
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.doors import door, through

DAY = timedelta(days=1)
LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
CAPS = Caps(
    (CapRule(1, DAY), CapRule(3, DAY, "push"), CapRule(1, DAY, "sms")), backoff=Backoff(1, (DAY,), frozenset({"push"}))
)


def asked(store: Store, clock: ManualClock, campaign: str, caps: Caps = CAPS, **more: Any) -> list[RulesStory]:
    around = Around(QuietHours.load(None), caps, Routing.plain(world.ACCOUNTS), None, lambda _: more.get("quota"))
    with store.read() as connection:
        return consulted(connection, "ada", campaign, clock.now(), around)


def verdicts(story: RulesStory) -> dict[str, str]:
    return {rule.rule: rule.verdict for rule in story.rules}


def test_each_rule_has_its_verdict_and_figures(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    first = {"name": "first", "steps": world.DEFINITION["steps"][:1]}
    world.plan(store, world.bundle(first), clock)
    clock.instant = LUNCH
    through(door(store, clock), clock, tmp_path)
    clock.instant = world.OPENING
    world.plan(store, world.bundle({**first, "name": "second", "recheck": "segment"}), clock)
    clock.instant = LUNCH + timedelta(minutes=1)
    [story] = asked(store, clock, "second", quota=DailyQuota(1, "Asia/Shanghai"))
    said = verdicts(story)
    assert not story.over
    assert said.pop("capped:1 in 24h") == "holds"
    assert said.pop("backoff") == "holds"
    assert said.pop("quota") == "holds"
    assert set(said.values()) == {"passes"}
    assert {"window", "quiet_hours", "no_consent", "suppressed", "late", "came_back", "no_longer_in_segment"} <= set(
        said
    )
    assert "capped:1 sms in 24h" not in said
    cap = next(rule for rule in story.rules if rule.rule == "capped:1 in 24h")
    assert (cap.until, cap.figures) == (LUNCH + DAY, "1/1")
    lines = list(tell_rules([story], "en"))
    assert "  cap (1 in 24h): holds until 2026-12-08 11:15:00 [1/1]" in lines
    assert "  cap (3 push in 24h): passes [1/3]" in lines
    assert "  频次上限（1 in 24h）：暂缓，至 2026-12-08 11:15:00 [1/1]" in list(tell_rules([story], "zh"))
    [over] = asked(store, clock, "first")
    assert set(verdicts(over)) == {"window", "quiet_hours", "late", "capped:1 in 24h", "capped:3 push in 24h"}
    assert set(verdicts(over).values()) == {"passes"}  # as it was when it left: it does not count against itself


def test_a_rule_that_objects_is_told_whatever_comes_before_it(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    user = world.person(store, "ada")
    world.plan(store, world.bundle({"name": "first", "steps": world.DEFINITION["steps"][:1]}), clock)
    with store.write() as connection:
        people.set_consent(connection, user, "push", "promotions", granted=False, source="t", at=clock.now())
    world.did(store, "ada", "app_open", clock.now())
    [story] = asked(store, clock, "first")
    said = verdicts(story)
    assert (said["no_consent"], said["came_back"], said["window"]) == ("drops", "drops", "holds")
    assert said["suppressed"] == "passes"


def test_what_dropped_a_message_that_is_over_is_told(store: Store, tmp_path: Path) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    world.plan(store, world.bundle({"name": "first", "steps": world.DEFINITION["steps"][:1]}), clock)
    world.did(store, "ada", "app_open", clock.now())
    clock.instant = LUNCH
    through(door(store, clock), clock, tmp_path)
    [story] = asked(store, clock, "first")
    assert (story.over, story.rules[-1].rule, story.rules[-1].verdict) == (True, "ended:came_back", "drops")
    assert list(tell_rules([story], "en"))[-1] == "  it was dropped: came back before the message left"
    assert list(tell_rules([story], "zh"))[-1] == "  不予发送：消息发出前用户已自行回访"


def test_quiet_hours_are_told_apart_from_the_window(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    all_day = {"local": "00:00-24:00", "spread": "0%"}
    world.plan(store, world.bundle({"name": "first", "steps": world.DEFINITION["steps"][:1], "window": all_day}), clock)
    clock.instant = world.MONDAY + timedelta(hours=2)
    [story] = asked(store, clock, "first")
    assert verdicts(story)["window"] == "passes"
    assert verdicts(story)["quiet_hours"] == "holds"


def test_who_has_no_message_has_no_rules(store: Store) -> None:
    assert asked(store, ManualClock(world.OPENING), "first") == []


def test_every_rule_has_words() -> None:
    names = {name for name, _ in GATE} | {"quiet_hours", "capped", "backoff", "quota", "budget", "no_longer_in_segment"}
    assert names == set(RULES)
    assert names - {"receipt", "window", "not", "is", "wait_for"} <= set(REASONS)
