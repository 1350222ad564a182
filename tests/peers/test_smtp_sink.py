"""Our mail client against a server of somebody else's: postfix's smtp-sink, well and badly behaved."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.channel.base import EmailPayload, Envelope, Outcome, OutcomeClass
from orchestrator.channel.email.smtp import open_channel
from tests.peers.postfix import Postfix, find_postfix, sink

PAYLOAD = EmailPayload("午餐好了", ".a dot first\n\nHi", "<p>Hi</p>" * 500, "https://push.example/u/t")


@pytest.fixture(scope="module")
def postfix() -> Postfix:
    found = find_postfix()
    if found is None:
        pytest.skip("no smtp-sink, and apt-get cannot download postfix")
    return found


def envelope(number: int) -> Envelope:
    to = f"user{number}@mail.example"
    return Envelope(str(number), 1, to, "mailbox", PAYLOAD, timedelta(minutes=5), f"r{number}")


def sent(port: int, count: int, tmp_path: Path) -> list[Outcome]:
    async def main() -> list[Outcome]:
        options: dict[str, Any] = {"host": "127.0.0.1", "port": port, "tls": "none", "from": "news@food.example"}
        channel = open_channel("mail", {**options, "timeout": 3.0, "final_timeout": 2.0, "connections": 8}, "")
        try:
            return await asyncio.gather(*(channel.send(envelope(n)) for n in range(1, count + 1)))
        finally:
            await channel.close()

    return asyncio.run(main())


def test_five_hundred_mails_over_eight_connections(postfix: Postfix, tmp_path: Path) -> None:
    counts = tmp_path / "mail."
    with sink(postfix, "-d", str(counts)) as port:
        kinds = Counter(outcome.kind for outcome in sent(port, 500, tmp_path))
    assert kinds == {OutcomeClass.ACCEPTED: 500}
    taken = sorted(tmp_path.glob("mail.*"))
    assert len(taken) == 500
    text = taken[0].read_text("utf-8", "replace")
    assert "\n.a dot first" in text.replace("\n..a", "\n.a") or "=2Ea dot" in text
    assert "List-Unsubscribe: <https://push.example/u/t>" in text


def test_without_pipelining(postfix: Postfix, tmp_path: Path) -> None:
    with sink(postfix, "-p") as port:
        assert {outcome.kind for outcome in sent(port, 50, tmp_path)} == {OutcomeClass.ACCEPTED}


@pytest.mark.parametrize(
    ("flags", "kind", "left"),
    [
        (("-r", "RCPT"), OutcomeClass.RETRY, False),  # 4xx to RCPT
        (("-r", "."), OutcomeClass.RETRY, False),  # 4xx to the message: refused for certain
        (("-q", "RCPT"), OutcomeClass.RETRY, False),  # hangs up after RCPT
        (("-q", "."), OutcomeClass.AMBIGUOUS, True),  # hangs up after the final dot: nobody knows
        (("-f", "."), OutcomeClass.DROP_MESSAGE, False),  # 5xx to the message
    ],
)
def test_badly_behaved(
    postfix: Postfix, tmp_path: Path, flags: tuple[str, ...], kind: OutcomeClass, left: bool
) -> None:
    with sink(postfix, *flags) as port:
        for outcome in sent(port, 3, tmp_path):
            assert (outcome.kind, outcome.may_have_left) == (kind, left)
