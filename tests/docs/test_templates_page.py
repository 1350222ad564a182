"""Every filter, test, header and fact is documented; every example is one."""

from __future__ import annotations

import re
from typing import Any

import pytest

from orchestrator.channel.base import EmailPayload, PushPayload, SmsPayload
from orchestrator.content.defaults import read_defaults
from orchestrator.content.files import CHANNELS
from orchestrator.content.filters import FILTERS, TESTS
from orchestrator.content.layout import HEADERS, MAIL_HEADERS, SMS_HEADERS
from orchestrator.content.survey import ADDRESSES, LOOP_WORDS
from orchestrator.content.templates import CAMPAIGN_FACTS, TemplateSet
from orchestrator.errors import SkipMessage
from tests.docs.pages import blocks, documented, page, rows, section

TEMPLATES = page("reference/templates.md")
USER: dict[str, Any] = {
    "id": "u-1", "name": "ada_l", "locale": "en", "country": "DE", "points": 3, "orders": 2, "score": 4.25, "credit": 5,
    "favourite": "ramen", "dishes": ["pho", "ramen"], "expires": "2026-12-01",
}  # fmt: skip
FACTS: dict[str, Any] = {"user": USER, "campaign": {"name": "winback", "title": "Winback"}}
EXAMPLES = {
    cells[0].strip("`"): cells[1].strip("`").replace(r"\|", "|")
    for cells in rows(section(TEMPLATES, "## Filters"))
    if cells[0].startswith("`")
}


def render(text: str, channel: str = "sms", facts: dict[str, Any] | None = None) -> Any:
    return TemplateSet({f"m/{channel}.en.j2": text}).render("m", channel, "en", facts or FACTS)


def test_every_filter_is_documented_and_no_other() -> None:
    assert set(EXAMPLES) == set(FILTERS)
    assert all(len(says) > 5 for says in documented(section(TEMPLATES, "## Filters")).values())


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_of_a_filter_renders(name: str) -> None:
    assert f"|{name}" in EXAMPLES[name]
    assert "{{" not in render(EXAMPLES[name]).body


def test_every_test_and_loop_word_is_documented() -> None:
    allowed = section(TEMPLATES, "## What a template may contain")
    tests = re.search(r"^Tests: (.*)\.$", allowed, re.MULTILINE)
    assert tests
    assert set(re.findall(r"`(\w+)`", tests[1])) == set(TESTS)
    assert set(re.findall(r"`loop\.(\w+)`", allowed)) == set(LOOP_WORDS)


def test_every_header_and_channel_is_documented() -> None:
    files = section(TEMPLATES, "## Files and locales")
    assert set(documented(files)) == {*HEADERS, *MAIL_HEADERS, *SMS_HEADERS}
    assert all(f"`{channel}`" in files for channel in CHANNELS)


def test_every_fact_is_documented() -> None:
    own = {"user.id", "user.name", "user.locale", "user.country", "user.…", "trigger.…"}
    assert set(documented(section(TEMPLATES, "## Facts"))) == {*own, *CAMPAIGN_FACTS, *ADDRESSES}


def test_the_push_on_the_page_renders() -> None:
    example, *_ = blocks(section(TEMPLATES, "## Files and locales"), "")
    sent = render(example, "push")
    assert isinstance(sent, PushPayload)
    assert sent.link == "app://menu"
    assert "ramen" in sent.title


def test_the_approved_sms_on_the_page_renders() -> None:
    (example,) = blocks(section(TEMPLATES, "## Files and locales"), "sms")
    sent = render(example)
    assert isinstance(sent, SmsPayload)
    assert (sent.approved, dict(sent.parameters)) == ("SMS_71390007", {"name": "ada_l", "dish": "ramen"})
    assert sent.body.startswith("【Food】ada_l")


def test_the_mail_on_the_page_renders() -> None:
    (example,) = blocks(section(TEMPLATES, "## Files and locales"), "mjml")
    links = {"unsubscribe_url": "https://p.example/u/x", "preferences_url": "https://p.example/p/x"}
    sent = render(example, "email", {**FACTS, **links})
    assert isinstance(sent, EmailPayload)
    assert "1. pho" in sent.html
    assert "ramen is on the menu" in sent.html
    assert "Unsubscribe (https://p.example/u/x)" in sent.text


def test_the_defaults_on_the_page_are_read() -> None:
    (example,) = blocks(TEMPLATES, "yaml")
    values, problems = read_defaults("defaults.yaml", example)
    assert problems == []
    assert values["user.points"] == {"": 0}


def test_skip_on_the_page_skips() -> None:
    (example,) = blocks(section(TEMPLATES, "## `skip`"), "")
    with pytest.raises(SkipMessage, match="never ordered"):
        render(example + "x", facts={"user": {"id": "u"}, "campaign": {}})
    assert isinstance(render(example + "x"), SmsPayload)
