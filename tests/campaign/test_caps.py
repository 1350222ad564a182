"""The file of caps: what it may say, how mistakes are named, and what holds while it is wrong."""

from __future__ import annotations

import logging
import os
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.campaign.caps import CapsFile, caps_in, check_caps, notes_on_caps
from orchestrator.campaign.load import campaign_names
from orchestrator.errors import ConfigError
from orchestrator.policy.caps import UNCAPPED, Backoff, CapRule, Caps
from tests import world

DAY = timedelta(days=1)
WHOLE = """
caps:
  - {most: 2, within: 24h}
  - {channel: push, most: 5, within: 7d}
  - {channel: sms, tag: promotion, most: 0, within: 7d}
exempt: [transactional]
horizon: 12h
backoff: {after: 3, channels: [push], gaps: [3d, 7d, 14d], then: silence}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "caps.yaml"
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + len(text)))  # another file within a clock's tick
    return folder


def test_all_that_it_may_say(tmp_path: Path) -> None:
    rules = (CapRule(2, DAY), CapRule(5, 7 * DAY, "push"), CapRule(0, 7 * DAY, "sms", "promotion"))
    backoff = Backoff(3, (3 * DAY, 7 * DAY, 14 * DAY), frozenset({"push"}))
    assert caps_in(write(tmp_path, WHOLE)) == Caps(rules, frozenset({"transactional"}), DAY / 2, backoff)
    assert check_caps(tmp_path) == ()
    assert campaign_names(tmp_path) == []


def test_without_a_file_there_are_no_caps(tmp_path: Path) -> None:
    assert caps_in(tmp_path) == UNCAPPED
    assert notes_on_caps(tmp_path, [world.bundle().campaign]) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("caps:\n- {most: 2}\n", "caps.yaml:2: caps.1.within: is missing"),
        ("caps:\n- {most: -1, within: 1d}\n", "caps.yaml:2: caps.1.most: at least 0"),
        ("caps:\n- {most: 1, within: 91d}\n", "caps.yaml:2: caps.1.within: 91d is longer than 90d"),
        ("caps:\n- {most: 1, within: day}\n", "caps.yaml:2: caps.1.within: 'day' is not a duration"),
        ("caps:\n- {most: 1, within: 1d, chanel: sms}\n", "caps.yaml:2: caps.1.chanel: unknown field"),
        ("caps:\n- {most: 1, within: 1d, channel: sm}\n", "caps.yaml:2: caps.1.channel: unknown channel 'sm'"),
        ("caps:\n- {most: 1, within: 1d}\n- {most: 1, within: 24h}\n", "the same rule stands there twice: 1 in 24h"),
        ("caps:\n- {most: 1, within: 1d, tag: a}\nexempt: [a]\n", "caps.yaml:3: exempt: caps 'a', which is exempt"),
        ("backoff: {after: 0, gaps: [1d]}\n", "caps.yaml:1: backoff.after: at least 1"),
        ("backoff: {after: 1, gaps: [1d], then: more}\n", "backoff.then: unknown word 'more'"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    found = check_caps(write(tmp_path, text))
    assert any(problem in str(each) for each in found), [str(each) for each in found]
    with pytest.raises(ConfigError):
        CapsFile(tmp_path)


def test_a_change_holds_at_once_and_a_mistake_not_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A daemon goes on under the caps that it knows: to send without any would be the worse mistake."""
    now = CapsFile(tmp_path)
    assert now() == UNCAPPED
    write(tmp_path, "caps: [{most: 1, within: 24h}]\n")
    assert now() == Caps((CapRule(1, DAY),))
    write(tmp_path, "caps: [{most: one, within: 24h}]\n")
    with caplog.at_level(logging.ERROR):
        assert [now(), now()] == [Caps((CapRule(1, DAY),))] * 2
    assert [record.message for record in caplog.records] == ["caps_unreadable"]
    write(tmp_path, "caps: [{most: 3, within: 24h}]\n")
    assert now() == Caps((CapRule(3, DAY),))


def test_validate_says_what_somebody_may_not_have_meant(tmp_path: Path) -> None:
    write(tmp_path, WHOLE)
    plain, tagged = world.bundle().campaign, world.bundle(tags=["promotion"]).campaign
    assert notes_on_caps(tmp_path, [plain]) == [
        "caps.yaml: 0 sms promotion in 7d: 0 means never: no such message is sent",
        "caps.yaml: no campaign has the tag 'promotion'",
        "caps.yaml: no campaign has the tag 'transactional'",
    ]
    assert "lunch: step 2 (sms) is never sent: caps.yaml says 0 sms promotion in 7d" in notes_on_caps(
        tmp_path, [tagged]
    )


def test_a_campaign_without_tags_is_known_by_its_topic() -> None:
    assert world.bundle().campaign.tagged == ("promotions",)
    assert world.bundle(tags=["b", "a", "b"]).campaign.tagged == ("b", "a")
