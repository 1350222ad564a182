"""What a mail's conversation comes to, reply by reply, without a connection; and a few ends that need one."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from orchestrator.channel.base import EmailPayload, Envelope, OutcomeClass
from orchestrator.channel.email.smtp_conversation import Conversation
from orchestrator.channel.email.smtp_errors import Reply, Stage
from orchestrator.channel.email.smtp_transaction import Broke, Gone, Transaction
from tests.channel.email.smtp_end import DOT, SILENCE, SmtpEnd
from tests.channel.email.test_smtp import run

STEPS = ((Stage.MAIL, b"MAIL\r\n"), (Stage.RCPT, b"RCPT\r\n"), (Stage.DATA, b"DATA\r\n"))
CONTENT = b"Subject: x\r\n\r\nx\r\n.\r\n"
CODES = st.sampled_from([200, 220, 250, 251, 299, 354, 421, 450, 500, 550, 554])
PAYLOAD = EmailPayload("Lunch", "Lunch is ready.\n", "<p>Lunch is ready.</p>", "https://push.example/u/tok")


def transaction(*, kept: bool, together: bool, begin_by: float = math.inf) -> Transaction:
    return Transaction(STEPS, CONTENT, kept=kept, together=together, begin_by=begin_by)


def talk(mail: Transaction, codes: list[int]) -> Iterator[tuple[bytes, int]]:
    """What is written, and how many replies had been heard by then."""
    yield mail.begin(), 0
    for heard, code in enumerate(codes, 1):
        wanted = mail.heard(code, b"%d said\r\n" % code)
        if wanted:
            yield wanted, heard
        if mail.ended is not None:
            return


@given(st.booleans(), st.booleans(), st.lists(CODES, max_size=7), st.booleans())
def test_the_mail_is_given_once_and_only_when_everything_before_was_taken(
    kept: bool, together: bool, codes: list[int], late: bool
) -> None:
    mail = transaction(kept=kept, together=together, begin_by=0.0 if late else math.inf)
    written = list(talk(mail, codes))
    given_after = [heard for data, heard in written if CONTENT in data]
    if mail.ended is None:
        mail.broke("lost")
    before = 3 + kept
    taken = [200 <= code < 300 for code in codes[: before - 1]] == [True] * (before - 1)
    good = taken and codes[before - 1 : before] == [354] and not late
    assert given_after == ([before] if good else [])
    assert mail.given is good
    match mail.ended:
        case Reply(stage, code):
            assert (stage is Stage.DOT) is good
            assert code in codes
        case Broke(stage):
            assert (stage is Stage.DOT) is good
        case Gone():
            assert kept
            assert not good
        case None:
            pytest.fail("a transaction that is broken off has ended")


@given(st.booleans(), st.lists(CODES, max_size=7))
def test_together_every_reply_is_read_before_another_mail_may_follow(kept: bool, codes: list[int]) -> None:
    """Left unread, they would be taken for the answers to the next mail."""
    mail = transaction(kept=kept, together=True)
    owed, heard = mail.begin().count(b"\r\n"), 0
    for code in codes:
        wanted = mail.heard(code, b"%d said\r\n" % code)
        heard += 1
        owed += 1 if wanted else 0
        if mail.ended is not None:
            break
    if isinstance(mail.ended, Reply):
        waits = [200 <= each < 300 for each in codes[kept : kept + 2]] == [False, True] and codes[kept + 2] == 354
        assert (mail.clean, heard) == (not waits, owed)  # it waits for a mail that nobody is named to have sent
    else:
        mail.broke("timeout")
        assert not mail.clean


def test_a_server_that_refused_the_sender_and_waits_for_the_mail_is_given_not_even_an_empty_one() -> None:
    """It took the recipient: a single dot would be a mail to them."""
    mail = transaction(kept=False, together=True)
    assert [data for data, _ in talk(mail, [450, 250, 354])] == [b"MAIL\r\nRCPT\r\nDATA\r\n"]
    assert mail.ended == Reply(Stage.MAIL, 450, "said")
    assert not mail.clean
    mail = transaction(kept=False, together=True)
    assert [data for data, _ in talk(mail, [250, 550, 354, 554])][1:] == [b".\r\n"]
    assert mail.clean


def test_what_could_not_be_written_has_not_left() -> None:
    mail = transaction(kept=False, together=True)
    assert [data for data, _ in talk(mail, [250, 250, 354])] == [b"MAIL\r\nRCPT\r\nDATA\r\n", CONTENT]
    assert mail.broke("lost") == Broke(Stage.DOT, "lost")
    assert mail.unwritten("lost") == Broke(Stage.DATA, "lost")


def envelope(number: int = 1) -> Envelope:
    return Envelope(str(number), 1, "ada@mail.example", "mailbox", PAYLOAD, timedelta(hours=1), f"r{number}")


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    sender = {"from": "Food <news@food.example>", "timeout": 0.3, "final_timeout": 5.0}
    return {"host": "127.0.0.1", "tls": "none", **sender}


def test_what_the_server_said_before_it_was_given_the_mail_is_no_answer_to_it(options: dict[str, Any]) -> None:
    async def do(channel: Any, far: SmtpEnd) -> None:
        far.say("DATA", "354 go ahead\r\n250 2.0.0 Ok: queued as 4XaBc1")
        outcome = await channel.send(envelope())
        assert (outcome.kind, outcome.code, outcome.may_have_left) == (OutcomeClass.RETRY, "garbled_data", False)
        assert (await channel.send(envelope())).kind is OutcomeClass.ACCEPTED
        assert (far.connections, len(far.taken)) == (2, 1)

    run(options, do)


def test_a_server_that_says_what_nobody_asked_is_given_no_further_mail(options: dict[str, Any]) -> None:
    async def do(channel: Any, far: SmtpEnd) -> None:
        far.say(DOT, "250 2.0.0 Ok\r\n250 2.0.0 and another thing")
        assert (await channel.send(envelope(1))).kind is OutcomeClass.ACCEPTED
        assert (await channel.send(envelope(2))).kind is OutcomeClass.ACCEPTED
        assert (far.connections, far.counts["MAIL"], far.counts["RSET"]) == (2, 2, 0)

    run(options, do)


class Wire(asyncio.Transport):
    """The transport of a connection: what was written, until it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    @override
    def is_closing(self) -> bool:
        return False

    @override
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, Conversation)


async def rested(wire: Wire) -> Conversation:
    """A conversation after its first mail."""
    talking = Conversation(wire, 5.0, 5.0)
    carried = asyncio.create_task(talking.carry(transaction(kept=False, together=True)))
    await asyncio.sleep(0)
    for line in (b"250 mail\r\n", b"250 rcpt\r\n", b"354 go on\r\n", b"250 taken\r\n"):
        talking.data_received(line)
    assert await carried == Reply(Stage.DOT, 250, "taken")
    assert talking.open
    return talking


def test_half_a_reply_that_nobody_asked_for_is_not_taken_for_one_to_the_next_mail() -> None:
    async def main() -> None:
        wire = Wire()
        talking = await rested(wire)
        talking.data_received(b"250 and ano")
        assert not talking.open
        before = len(wire.written)
        assert await talking.carry(transaction(kept=True, together=True)) is Gone.IDLE
        assert len(wire.written) == before

    asyncio.run(main())


def test_of_a_server_that_talks_without_end_no_more_is_kept() -> None:
    async def main() -> None:
        talking = await rested(Wire())
        for _ in range(100):
            talking.data_received(b"x" * 60_000)
        assert not talking.open
        assert len(talking._unread) < 200_000

    asyncio.run(main())


def test_a_refusal_before_a_silence_counts_and_the_connection_does_not(options: dict[str, Any]) -> None:
    """The replies that are missing would have been taken for those of the next mail."""

    async def do(channel: Any, far: SmtpEnd) -> None:
        far.say("RCPT", "451 4.3.0 later")
        far.say("DATA", SILENCE)
        assert (await channel.send(envelope(1))).code == "451 4.3.0"
        assert (await channel.send(envelope(2))).kind is OutcomeClass.ACCEPTED
        assert far.connections == 2

    run(options, do)


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_short_wait_after_a_long_one_ends_in_its_own_time(options: dict[str, Any], pipelining: bool) -> None:
    """One timer watches a connection: that of the final dot (minutes) is not that of the next mail's commands."""

    async def do(channel: Any, far: SmtpEnd) -> None:
        assert (await channel.send(envelope(1))).kind is OutcomeClass.ACCEPTED
        far.say("RCPT", SILENCE)
        began = time.monotonic()
        outcome = await channel.send(replace(envelope(2), begin_by=began + 60))
        assert (outcome.kind, outcome.code) == (OutcomeClass.RETRY, "timeout_rcpt")
        assert 0.25 < time.monotonic() - began < 4.0

    run(options, do, SmtpEnd(offers=("PIPELINING",) if pipelining else ()))


def test_the_final_dot_is_waited_for_longer_than_a_command(options: dict[str, Any]) -> None:
    async def do(channel: Any, far: SmtpEnd) -> None:
        far.say(DOT, SILENCE)
        began = time.monotonic()
        outcome = await channel.send(envelope())
        assert (outcome.kind, outcome.code, outcome.may_have_left) == (OutcomeClass.AMBIGUOUS, "timeout_dot", True)
        assert 0.9 < time.monotonic() - began < 4.0

    run({**options, "final_timeout": 1.0}, do)
