"""Nothing of a person or a secret gets out: not in outcomes, not in findings, not in logs (R27)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.channel.base import Channel, Envelope, Finding, Outcome
from orchestrator.sandbox.accounts import accounts
from orchestrator.sandbox.faults import can_suffer
from tests.channels.conftest import ACK, PROVIDERS, Bench

FAR_END = "sandbox"
"""The thread that it runs in."""
TROUBLES: list[tuple[str, dict[str, object]]] = [
    ("delay", {"seconds": 0}),
    ("status", {"status": 400}),
    ("status", {"status": 401}),
    ("status", {"status": 503}),
    ("html", {}),
    ("odd", {}),
    ("truncated", {}),
    ("reset_after", {}),
    ("dead_address", {}),
]


def canaries(bench: Bench, provider: str, envelope: Envelope) -> Iterator[str]:
    """What must stand nowhere: address, words, link, acknowledgement, and the account's own secrets."""
    yield from (envelope.address, "Canarytitle", "Canarybody", "Canaryname", "canary-secret", ACK)
    yield from envelope.details.values()
    for name, value in accounts(bench.sandbox.place)[provider].options.items():
        if name.endswith("_file") and name not in {"ca_file", "verification_key_file"}:
            text = Path(str(value)).read_text().strip()
            yield text if "\n" not in text else text.splitlines()[1]


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """All that is written down in this process but by the far end, which is in a thread of it."""
    return "\n".join(each.getMessage() for each in caplog.records if each.threadName != FAR_END)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_no_canary_gets_out(bench: Bench, provider: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    possible = [each for each in TROUBLES if each[0] in can_suffer(provider)]
    for kind, options in possible:
        if provider == "smtp" and "status" in options:
            options = {"status": 550, "code": "5.7.1"}  # noqa: PLW2901  # the same in a mail server's words
        envelope = bench.envelope(provider)
        with bench.suffering(provider, kind, **options):
            [outcome] = bench.send(envelope, provider=provider)
        _clean(bench, provider, envelope, f"{outcome!r} {outcome.detail}")
        _clean(bench, provider, envelope, logged(caplog))
    assert len(possible) >= 6


@pytest.mark.parametrize("provider", [each for each in PROVIDERS if each != "smtp"])
def test_no_canary_gets_out_of_a_provider_that_says_it_itself(bench: Bench, provider: str) -> None:
    """Providers repeat address and secret in their words; ours do not."""
    envelope = bench.envelope(provider)
    said = next(canaries(bench, provider, envelope))
    with bench.suffering(provider, "status", status=400, code=said if provider not in _NUMBERS else None):
        [outcome] = bench.send(envelope, provider=provider)
    _clean(bench, provider, envelope, repr(outcome))


_NUMBERS = {"twilio", "jpush", "gateway"}
"""Whose codes are numbers."""


@pytest.mark.parametrize("trouble", ["", "status", "html", "silence"])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_check_names_nobody(bench: Bench, provider: str, trouble: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def check(channel: Channel) -> list[Finding]:
        return list(await channel.check()) if hasattr(channel, "check") else []

    for where in (provider, "lookup", "token") if trouble in can_suffer(provider) else ():
        bench.customer.fault(where, trouble)
    try:
        found = bench.run(provider, check)
    finally:
        bench.customer.ask("DELETE", "/sandbox/faults")
    assert found or not hasattr(bench.open(provider), "check")
    _clean(bench, provider, bench.envelope(provider), f"{found!r} {logged(caplog)}")


def test_a_leak_would_be_seen(bench: Bench) -> None:
    """The broken variant: an outcome that repeats the address is caught."""
    envelope = bench.envelope("twilio")
    with pytest.raises(AssertionError):
        _clean(bench, "twilio", envelope, repr(Outcome(detail=f"no such number: {envelope.address}", kind=None)))  # type: ignore[arg-type]


def _clean(bench: Bench, provider: str, envelope: Envelope, text: str) -> None:
    leaked = [each for each in canaries(bench, provider, envelope) if each and each in text]
    assert not leaked, f"{provider} lets out {leaked}: {text[:500]}"
