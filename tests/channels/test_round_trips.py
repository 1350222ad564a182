"""Every provider, there and back: what is accepted, what is shown, and what a lost answer costs."""

from __future__ import annotations

from typing import get_args

import pytest

from orchestrator.channel.base import Ambiguity, OutcomeClass
from orchestrator.channel.plugins import providers
from orchestrator.sandbox.accounts import accounts
from orchestrator.sandbox.faults import Provider, can_suffer
from tests.channels.conftest import PROVIDERS, Bench, resent

K = OutcomeClass
OURS = {"inbox", "log"}
"""Plugins without a provider behind them."""
NO_PROVIDERS = {"token", "lookup", "callback", "http"}


def test_there_is_an_account_for_every_plugin_and_every_stand_in(bench: Bench) -> None:
    assert set(accounts(bench.sandbox.place)) == set(PROVIDERS) == set(providers()) - OURS
    assert set(PROVIDERS) == set(get_args(Provider)) - NO_PROVIDERS


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_message_arrives_once_and_is_shown(bench: Bench, provider: str) -> None:
    envelope = bench.envelope(provider)
    [outcome] = bench.send(envelope, provider=provider, patience=5)
    assert outcome.kind is K.ACCEPTED, outcome
    [record] = bench.accepted(envelope)
    assert (record["provider"], record["message_id"]) == (provider, envelope.message_id)
    phone = bench.shown(envelope)
    account = accounts(bench.sandbox.place)[provider]
    assert (phone["kind"], phone["provider"], phone["total"]) == (account.channel, provider, 1)
    [message] = phone["messages"]
    assert "Canary" in message["body"]
    assert bool(message.get("ack")) == bool(envelope.ack)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_lost_answer_is_ambiguous_and_not_sent_again(bench: Bench, provider: str) -> None:
    envelope = bench.envelope(provider)
    with bench.suffering(provider, "reset_after") as hits:
        [outcome] = bench.send(envelope, provider=provider)
        assert hits() == 1
    assert (outcome.kind, outcome.may_have_left) == (K.AMBIGUOUS, True)
    assert len(bench.accepted(envelope)) == 1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_is_sent_again_replaces_what_was_shown(bench: Bench, provider: str) -> None:
    channel = bench.open(provider)
    if channel.ambiguity is Ambiguity.HOLD:
        assert channel.channel in {"sms", "email"}
        return
    envelope = bench.envelope(provider)
    with bench.suffering(provider, "reset_after", times=1):
        first, second = bench.send(envelope, resent(envelope), provider=provider, patience=5)
    assert (first.kind, second.kind) == (K.AMBIGUOUS, K.ACCEPTED)
    records = bench.accepted(envelope)
    assert 1 <= len(records) <= 2  # 1: the provider itself counts a message once
    assert len({each.get("tag") or each["collapse_key"] or each["once"] for each in records}) == 1
    assert {each["message_id"] for each in records} == {envelope.message_id}


@pytest.mark.parametrize(
    ("kind", "options", "allowed"),
    [
        ("status", {"status": 500}, {K.RETRY, K.RETRY_AFTER}),
        ("status", {"status": 503}, {K.RETRY, K.RETRY_AFTER}),
        ("status", {"status": 429}, {K.RETRY, K.RETRY_AFTER}),
        ("reset_before", {}, {K.AMBIGUOUS, K.RETRY}),
        ("silence", {"accept": True}, {K.AMBIGUOUS}),
        ("html", {}, {K.RETRY}),
        ("truncated", {}, {K.AMBIGUOUS}),
        ("odd", {}, {K.AMBIGUOUS, K.ACCEPTED}),
        ("delay", {"seconds": 0.05}, {K.ACCEPTED}),
        ("delay", {"seconds": 0.05, "accept": True}, {K.ACCEPTED}),
        ("slow", {"seconds": 0.05}, {K.ACCEPTED}),
        ("dead_address", {}, {K.DROP_ADDRESS, K.ACCEPTED}),
    ],
)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_attempt_is_one_request_whatever_happens(
    bench: Bench, provider: str, kind: str, options: dict[str, object], allowed: set[OutcomeClass]
) -> None:
    if kind not in can_suffer(provider):
        assert provider in {"smtp", "apns", "webhook"}
        return
    envelope = bench.envelope(provider)
    with bench.suffering(provider, kind, **_spoken(provider, options)) as hits:
        [outcome] = bench.send(envelope, provider=provider)
        assert hits() == 1
    assert outcome.kind in allowed - _impossible(provider, kind), outcome
    assert len(bench.accepted(envelope)) <= 1
    if outcome.kind is K.ACCEPTED:
        assert len(bench.accepted(envelope)) == 1


def _impossible(provider: str, kind: str) -> set[OutcomeClass]:
    """Of answers that can be read in two ways, the reading that this provider's are not open to."""
    only_status = {"webpush", "webhook"}  # nothing but the status is said: 200 is yes
    told_later = {"ses", "sendgrid"}
    match kind:
        case "odd":
            return {K.AMBIGUOUS} if provider in only_status else {K.ACCEPTED}
        case "dead_address":
            return {K.DROP_ADDRESS} if provider in told_later else {K.ACCEPTED}
        case "reset_before":
            return {K.AMBIGUOUS} if provider == "smtp" else {K.RETRY}  # a mail's words had not been sent
        case _:
            return set()


def _spoken(provider: str, options: dict[str, object]) -> dict[str, object]:
    """Mail servers have numbers of their own for the same."""
    if provider != "smtp" or "status" not in options:
        return options
    return {"status": {500: 451, 503: 421, 429: 450}[int(str(options["status"]))]}
