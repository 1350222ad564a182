"""Every field of topics.yaml is documented, and the example is one."""

from __future__ import annotations

from pathlib import Path

from orchestrator.campaign.topics import FIELDS, double_opt_in, topics_in
from tests.docs.pages import blocks, documented, page

TOPICS = page("reference/topics.md")


def test_every_field_is_documented() -> None:
    assert set(documented(TOPICS)) == set(FIELDS)


def test_the_example_is_read(tmp_path: Path) -> None:
    (tmp_path / "topics.yaml").write_text(blocks(TOPICS, "yaml")[0], encoding="utf-8")
    topics = topics_in(tmp_path)
    assert topics["promotions"].titled("zh") == "优惠和红包"
    assert double_opt_in(topics)("email", "promotions")
