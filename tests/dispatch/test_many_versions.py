"""A worker that goes round many campaigns compiles the words of each once, and only those that a lane sends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.campaign.version import KEPT, Bundle
from orchestrator.channel.base import PushPayload
from orchestrator.dispatch import compose
from orchestrator.dispatch.compose import templates_of
from tests import world


def bundles(many: int) -> list[Bundle]:
    """Campaigns with words of their own."""
    one = world.bundle()
    push = next(path for path in one.templates if "push" in path)
    return [replace(one, templates={**one.templates, push: f"{one.templates[push]} {n}"}) for n in range(many)]


@pytest.fixture(autouse=True)
def afresh() -> None:
    compose._compiled.cache_clear()


def test_going_round_compiles_nothing_twice() -> None:
    many = bundles(KEPT)
    first = [templates_of(one, "push") for one in many]
    assert len({id(one) for one in first}) == KEPT
    assert all(templates_of(one, "push") is made for one, made in zip(many, first, strict=True))


def test_versions_that_say_the_same_share_what_is_compiled() -> None:
    one = world.bundle()
    other = replace(one, definition={**one.definition, "priority": 1})
    assert templates_of(one, "push") is templates_of(other, "push")


def test_a_lane_compiles_what_its_channel_sends_with_its_defaults() -> None:
    one = world.bundle()
    [message] = {step.template for step in one.campaign.steps}
    push, sms = (templates_of(one, channel) for channel in ("push", "sms"))
    assert push.locales(message, "push")
    assert not push.locales(message, "sms")
    assert sms.locales(message, "sms")
    facts = {"user": {}, "campaign": {"name": "c", "title": "t"}}
    assert isinstance(push.render(message, "push", "en", facts), PushPayload)
