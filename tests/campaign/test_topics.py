"""topics.yaml: what topics are called where people read them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.campaign.load import campaign_names
from orchestrator.campaign.topics import Topic, check_topics, double_opt_in, topics_in
from orchestrator.errors import ConfigError

GOOD = "promotions:\n  title: {en: Offers, zh: 优惠}\n  text: {zh: 每周最多两条}\n"
ASKS_SMS = "promotions: {title: {en: x}, double_opt_in: [sms]}"


def test_there_need_be_no_file(tmp_path: Path) -> None:
    assert topics_in(tmp_path) == {}
    assert check_topics(tmp_path) == ()


def test_titles_by_language(tmp_path: Path) -> None:
    (tmp_path / "topics.yaml").write_text(GOOD, encoding="utf-8")
    topic = topics_in(tmp_path)["promotions"]
    assert [topic.titled(one) for one in ("en", "zh", "fr")] == ["Offers", "优惠", "Offers"]
    assert (topic.told("zh"), topic.told("en")) == ("每周最多两条", "")
    assert Topic("weekly_recap").titled("zh") == "Weekly recap"


def test_it_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "topics.yaml"
    path.write_text(GOOD, encoding="utf-8")
    topics_in(tmp_path)
    path.write_text(GOOD.replace("Offers", "Deals!"), encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert topics_in(tmp_path)["promotions"].titled("en") == "Deals!"


@pytest.mark.parametrize(
    "text", ["promotions: {titel: {en: x}}", "promotions: x", "- a", "promotions:\n  title: [a]", ASKS_SMS]
)
def test_mistakes_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "topics.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"topics\.yaml"):
        topics_in(tmp_path)
    assert check_topics(tmp_path)


def test_a_topic_may_ask_for_double_opt_in_by_mail(tmp_path: Path) -> None:
    (tmp_path / "topics.yaml").write_text(GOOD + "  double_opt_in: [email]\n", encoding="utf-8")
    asks = double_opt_in(topics_in(tmp_path))
    assert [asks(*one) for one in (("email", "promotions"), ("sms", "promotions"), ("email", "x"))] == [
        True,
        False,
        False,
    ]


def test_it_is_no_campaign(tmp_path: Path) -> None:
    (tmp_path / "topics.yaml").write_text(GOOD, encoding="utf-8")
    assert campaign_names(tmp_path) == []
