"""The sample templates in templates/: what the demo sends is fit to be sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.channel.base import PushPayload, SmsPayload
from orchestrator.content.files import read_folder
from orchestrator.content.push import problems as push_problems
from orchestrator.content.sms import count
from orchestrator.content.templates import TemplateSet
from orchestrator.errors import SkipMessage

ROOT = Path(__file__).parents[2] / "templates"
MESSAGES = ("lunch-winback/dish", "lunch-winback/coupon")
KNOWN = {"user.id", "user.name", "user.locale", "user.country", "user.favourite", "user.orders"}


@pytest.fixture(scope="module")
def samples() -> TemplateSet:
    return TemplateSet({path: text for message in MESSAGES for path, text in read_folder(ROOT, message).items()})


def facts(**user: Any) -> dict[str, Any]:
    return {
        "user": {"id": "u1", "locale": "en", "country": "DE", "orders": 3, **user},
        "campaign": {"name": "lunch-winback", "title": "Lunch"},
    }


def test_nothing_is_wrong_with_them(samples: TemplateSet) -> None:
    assert samples.problems(KNOWN) == []
    assert {(m, c): samples.locales(m, c) for m in MESSAGES for c in ("push", "sms")} == {
        (m, c): ["en", "zh"] for m in MESSAGES for c in ("push", "sms")
    }


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize(
    "user", [{}, {"name": "Katherine", "favourite": "beef noodles"}, {"name": "N" * 60, "favourite": "F" * 90}]
)
def test_the_english_sms_is_one_part(samples: TemplateSet, message: str, user: dict[str, str]) -> None:
    payload = samples.render(message, "sms", "en-US", facts(**user))
    assert isinstance(payload, SmsPayload)
    counted = count(payload.body)
    assert (counted.encoding, counted.parts) == ("GSM-7", 1)
    assert payload.body.endswith("Reply STOP to opt out")


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize(
    "user", [{}, {"name": "王小明", "favourite": "红烧牛肉面"}, {"name": "名" * 60, "favourite": "面" * 90}]
)
def test_the_chinese_sms_is_one_part(samples: TemplateSet, message: str, user: dict[str, str]) -> None:
    payload = samples.render(message, "sms", "zh-CN", facts(**user))
    assert isinstance(payload, SmsPayload)
    assert count(payload.body).parts == 1
    assert payload.body.startswith("【")
    assert payload.body.endswith("拒收请回复R")


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize(("locale", "stand_in"), [("en", "your usual"), ("zh", "老味道")])
def test_the_push_opens_the_menu(samples: TemplateSet, message: str, locale: str, stand_in: str) -> None:
    payload = samples.render(message, "push", locale, facts(name=None, favourite=""))
    assert isinstance(payload, PushPayload)
    assert payload.link.startswith("app://menu")
    assert stand_in in payload.body
    assert push_problems(payload) == []


@pytest.mark.parametrize("channel", ["push", "sms"])
@pytest.mark.parametrize("orders", [0, None])
def test_the_coupon_is_for_returning_customers(samples: TemplateSet, channel: str, orders: int | None) -> None:
    with pytest.raises(SkipMessage, match="never ordered"):
        samples.render("lunch-winback/coupon", channel, "en", facts(orders=orders))
