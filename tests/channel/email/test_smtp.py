"""Mail: one transaction an attempt, row by row of the table, against a server that counts and misbehaves."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator.channel.base import (
    Ambiguity,
    EmailPayload,
    Envelope,
    Health,
    Inquiry,
    Outcome,
    OutcomeClass,
    PushPayload,
    Scope,
)
from orchestrator.channel.callback import Postmark, Purpose
from orchestrator.channel.email.smtp import SmtpChannel
from orchestrator.channel.email.smtp_errors import TABLE, Reply, Stage, bounced, classify
from orchestrator.channel.email.smtp_signing import Signer
from orchestrator.channel.plugins import open_channel
from orchestrator.errors import ConfigError
from tests.channel.email.smtp_end import CLOSE, DOT, GREETING, OFFERS, RESET, SILENCE, SmtpEnd

MESSAGE = str(7 << 40 | 9 << 4 | 1)
ADA = "ada@mail.example"
PAYLOAD = EmailPayload("Lunch", "Lunch is ready.\n", "<p>Lunch is ready.</p>", "https://push.example/u/tok")
MINUTE = timedelta(minutes=1)
KEY = b"k" * 32


def envelope(address: str = ADA, payload: Any = PAYLOAD, message_id: str = MESSAGE, attempt: int = 1) -> Envelope:
    return Envelope(message_id, attempt, address, "mailbox", payload, timedelta(hours=1), "r7-9-1")


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "verp.key").write_bytes(KEY)
    (tmp_path / "password").write_text("hunter2hunter2\n")
    return {
        "host": "127.0.0.1",
        "tls": "none",
        "from": "Food <news@food.example>",
        "bounce": "bounce@b.food.example",
        "verp_key_file": str(tmp_path / "verp.key"),
        "timeout": 2.0,
        "final_timeout": 2.0,
    }


Do = Callable[[SmtpChannel, SmtpEnd], Awaitable[Any]]


def run(options: dict[str, Any], do: Do, end: SmtpEnd | None = None, **more: Any) -> Any:
    async def main() -> Any:
        async with end or SmtpEnd() as far:
            channel = open_channel("mail", "smtp", {**options, "port": far.port, **more}, callback_url="")
            assert isinstance(channel, SmtpChannel)
            try:
                return await asyncio.wait_for(do(channel, far), 15)
            finally:
                await channel.close()

    return asyncio.run(main())


def once(
    options: dict[str, Any],
    replies: Iterable[tuple[str, str]],
    end: SmtpEnd | None = None,
    *,
    address: str = ADA,
    **more: Any,
) -> tuple[Outcome, SmtpEnd]:
    """One attempt against a server that says this."""
    far = end or SmtpEnd()
    for word, said in replies:
        far.say(word, said)

    async def do(channel: SmtpChannel, _far: SmtpEnd) -> Outcome:
        return await channel.send(envelope(address))

    return run(options, do, far, **more), far


async def heard(far: SmtpEnd, word: str) -> None:
    async with asyncio.timeout(5):
        while not far.counts[word]:  # noqa: ASYNC110  # the server is a script, not an event
            await asyncio.sleep(0.005)


def test_a_mail_arrives_once_to_one_recipient(options: dict[str, Any]) -> None:
    outcome, far = once(options, [])
    assert outcome == Outcome(OutcomeClass.ACCEPTED, "250 2.0.0", provider_id="4XaBc1")
    [mail] = far.taken
    assert mail.recipients == (ADA,)
    assert mail.sender.startswith(f"bounce+{MESSAGE}.")
    assert mail.sender.endswith("@b.food.example")
    assert Signer(KEY).find(mail.sender) == [Postmark(Purpose.BOUNCE, int(MESSAGE))]
    assert (far.counts["MAIL"], far.counts["RCPT"], far.counts["DATA"]) == (1, 1, 1)
    assert SmtpChannel.ambiguity is Ambiguity.HOLD


# providers §7, row by row: (stage, reply) -> class
ROWS: list[tuple[str, str, OutcomeClass]] = [
    *(
        (stage, f"{code} later", OutcomeClass.RETRY)
        for code in (421, 450, 451, 452, 454, 455)
        for stage in ("MAIL", "RCPT", "DATA", DOT)
    ),
    (GREETING, "421 4.3.2 too many connections", OutcomeClass.RETRY),
    ("RCPT", "421 4.7.28 unusual rate", OutcomeClass.RETRY_AFTER),
    ("RCPT", "450 4.7.1 greylisted", OutcomeClass.RETRY_AFTER),
    (DOT, "451 4.7.650 rate limited", OutcomeClass.RETRY_AFTER),
    ("RCPT", "450 4.2.1 receiving mail too quickly", OutcomeClass.RETRY_AFTER),
    *(
        (stage, f"{code} {enhanced} no", OutcomeClass.DROP_ADDRESS)
        for enhanced in ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1")
        for stage, code in (("RCPT", 550), ("RCPT", 551), (DOT, 553))
    ),
    ("RCPT", "552 5.2.2 mailbox full", OutcomeClass.DROP_MESSAGE),
    ("RCPT", "452 4.2.2 mailbox full", OutcomeClass.RETRY),
    (DOT, "552 5.3.4 message too big", OutcomeClass.DROP_MESSAGE),
    (DOT, "554 5.2.3 over the limit", OutcomeClass.DROP_MESSAGE),
    (DOT, "554 5.6.0 content rejected", OutcomeClass.DROP_MESSAGE),
    ("MAIL", "552 5.3.4 too big", OutcomeClass.DROP_MESSAGE),
    ("RCPT", "550 5.7.1 policy", OutcomeClass.DROP_MESSAGE),
    (DOT, "550 5.7.26 unauthenticated", OutcomeClass.DROP_MESSAGE),
    (DOT, "550 5.7.515 bulk rules", OutcomeClass.DROP_MESSAGE),
    (DOT, "554 5.7.1 spam", OutcomeClass.DROP_MESSAGE),
    *(("MAIL", f"{code} 5.7.0 authenticate", OutcomeClass.STOP_CHANNEL) for code in (530, 534, 535, 538)),
    *((stage, f"{code} no", OutcomeClass.STOP_CHANNEL) for code in (502, 503, 504) for stage in ("MAIL", "DATA")),
    ("MAIL", "454 4.7.0 temporary authentication failure", OutcomeClass.RETRY),
    ("MAIL", "553 5.1.8 sender domain unknown", OutcomeClass.STOP_CHANNEL),
    (GREETING, "554 5.7.1 go away", OutcomeClass.STOP_CHANNEL),
    ("RCPT", "550 no", OutcomeClass.DROP_MESSAGE),
    ("RCPT", "550 User unknown in virtual mailbox table", OutcomeClass.DROP_ADDRESS),
    ("RCPT", "450 5.1.1 liar", OutcomeClass.RETRY),
]


@pytest.mark.parametrize(("stage", "said", "kind"), ROWS)
def test_each_row_of_the_table(options: dict[str, Any], stage: str, said: str, kind: OutcomeClass) -> None:
    outcome, far = once(options, [(stage, said)])
    assert outcome.kind is kind
    assert not outcome.may_have_left
    assert far.counts["MAIL"] == (0 if stage == GREETING else 1)
    assert far.taken == []
    assert ADA not in outcome.detail


def test_waits_are_those_of_the_table() -> None:
    def wait(code: int, text: str) -> timedelta | None:
        return classify(Reply(Stage.RCPT, code, text), ()).retry_after

    assert wait(451, "later") == 15 * MINUTE
    assert wait(451, "4.7.1 greylisted") == 10 * MINUTE
    assert wait(550, "5.1.1 no") is None


@pytest.mark.parametrize(
    ("stage", "said", "kind"),
    [
        ("RCPT", "499 odd", OutcomeClass.RETRY),
        ("RCPT", "599 5.9.9 odd", OutcomeClass.DROP_MESSAGE),
        ("MAIL", "550 odd", OutcomeClass.STOP_CHANNEL),
        ("MAIL", "354 what", OutcomeClass.RETRY),
        (DOT, "354 what", OutcomeClass.AMBIGUOUS),
        (DOT, "550 5.4.6 loop", OutcomeClass.DROP_MESSAGE),
    ],
)
def test_what_is_in_no_row_is_judged_by_its_digit_and_counted(
    options: dict[str, Any], stage: str, said: str, kind: OutcomeClass
) -> None:
    outcome, far = once(options, [(stage, said)])
    assert (outcome.kind, outcome.uncharted) == (kind, True)
    assert far.counts["MAIL"] == 1


def test_what_counts_against_the_address_says_so() -> None:
    for text in ("5.2.2 full", ""):
        assert classify(Reply(Stage.RCPT, 550, text), ()).scope is Scope.ADDRESS


def test_policy_never_costs_an_address() -> None:
    for detail in range(600):
        for stage in Stage:
            for code in (550, 551, 552, 553, 554, 571):
                outcome = classify(Reply(stage, code, f"5.7.{detail} user unknown"), ())
                assert outcome.kind in {OutcomeClass.DROP_MESSAGE, OutcomeClass.STOP_CHANNEL}


def test_a_later_bounce_is_read_by_the_same_table() -> None:
    assert bounced("5.1.1").kind is OutcomeClass.DROP_ADDRESS
    assert bounced("5.7.1").kind is OutcomeClass.DROP_MESSAGE
    assert (bounced("5.2.2").kind, bounced("5.2.2").scope) == (OutcomeClass.DROP_MESSAGE, Scope.ADDRESS)
    assert len(TABLE) == 12


@pytest.mark.parametrize("how", [RESET, CLOSE, SILENCE])
@pytest.mark.parametrize("stage", [GREETING, "MAIL", "RCPT", "DATA", DOT])
def test_only_after_the_final_dot_is_it_ambiguous(options: dict[str, Any], stage: str, how: str) -> None:
    outcome, far = once(options, [(stage, how)], timeout=0.3, final_timeout=0.3)
    after = stage == DOT
    assert outcome.kind is (OutcomeClass.AMBIGUOUS if after else OutcomeClass.RETRY)
    assert outcome.may_have_left is after
    assert far.counts["MAIL"] == (0 if stage == GREETING else 1)


@pytest.mark.parametrize(("stage", "kind"), [("RCPT", OutcomeClass.RETRY), (DOT, OutcomeClass.AMBIGUOUS)])
def test_a_garbled_answer(options: dict[str, Any], stage: str, kind: OutcomeClass) -> None:
    assert once(options, [(stage, "<html>no</html>")])[0].kind is kind


def test_nobody_listens(options: dict[str, Any]) -> None:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> Outcome:
        await far.__aexit__(None, None, None)
        return await channel.send(envelope())

    outcome = run(options, do)
    assert (outcome.kind, outcome.may_have_left, outcome.code) == (OutcomeClass.RETRY, False, "connect_connect")


def test_connections_are_used_again_with_rset_between(options: dict[str, Any]) -> None:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        for n in range(120):
            assert (await channel.send(envelope(message_id=str(n + 1)))).kind is OutcomeClass.ACCEPTED
        far.say("RCPT", "550 5.1.1 no")
        assert (await channel.send(envelope())).kind is OutcomeClass.DROP_ADDRESS
        assert (await channel.send(envelope())).kind is OutcomeClass.ACCEPTED

    far = SmtpEnd()
    run(options, do, far)
    assert far.connections == 2  # a hundred mails each at most
    assert far.counts["RSET"] == 120
    assert far.counts["MAIL"] == 122
    assert far.lone_dots == 1  # RFC 2920 §3.1: DATA was answered 354 though its recipient was refused
    assert len(far.taken) == 121


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_mail_that_the_server_waits_for_too_late_stays_here(options: dict[str, Any], pipelining: bool) -> None:
    """Its worker stood still between the question and the answer: somebody else may have been told of it meanwhile."""
    far = SmtpEnd(offers=("PIPELINING",) if pipelining else ())

    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        late = replace(envelope(), begin_by=time.monotonic())
        outcome = await channel.send(late)
        assert (outcome.kind, outcome.code, outcome.may_have_left) == (OutcomeClass.RETRY, "stale_data", False)
        assert (await channel.send(replace(late, begin_by=time.monotonic() + 5))).kind is OutcomeClass.ACCEPTED

    run(options, do, far)
    assert (far.counts["DATA"], len(far.taken)) == (2, 1)


@pytest.mark.parametrize("pipelining", [True, False])
def test_commands_go_out_together_only_where_that_is_offered(options: dict[str, Any], pipelining: bool) -> None:
    """RFC 2920: with PIPELINING a mail takes two round trips; without, a command waits for the answer to the last."""
    far = SmtpEnd(offers=("PIPELINING", "SIZE 20000000") if pipelining else ("SIZE 20000000",))

    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        far.say("MAIL", "451 4.3.0 later")
        assert (await channel.send(envelope())).code == "451 4.3.0"
        assert (await channel.send(envelope())).kind is OutcomeClass.ACCEPTED

    run(options, do, far)
    words = [line.split(" ")[0] for line in far.commands if not line.startswith(("EHLO", "QUIT"))]
    refused = ["MAIL", "RCPT", "DATA"] if pipelining else ["MAIL"]
    assert words == [*refused, "RSET", "MAIL", "RCPT", "DATA"]
    assert far.connections == 1


@pytest.mark.parametrize("stage", ["MAIL", "RCPT", "DATA"])
def test_a_connection_lost_between_pipelined_commands_has_taken_nothing(options: dict[str, Any], stage: str) -> None:
    outcome, far = once(options, [(stage, RESET)])
    assert (outcome.kind, outcome.may_have_left) == (OutcomeClass.RETRY, False)
    assert far.taken == []


def test_no_more_connections_than_allowed(options: dict[str, Any]) -> None:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        outcomes = await asyncio.gather(*(channel.send(envelope(message_id=str(n))) for n in range(1, 41)))
        assert {outcome.kind for outcome in outcomes} == {OutcomeClass.ACCEPTED}
        assert far.connections == 3
        assert len(far.taken) == 40
        assert {len(mail.recipients) for mail in far.taken} == {1}

    run(options, do, connections=3)


def test_a_connection_that_the_server_gave_up_costs_nothing(options: dict[str, Any]) -> None:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        await channel.send(envelope())
        far.say("RSET", "421 4.4.2 idle")
        assert (await channel.send(envelope())).kind is OutcomeClass.ACCEPTED
        assert far.connections == 2
        assert far.counts["MAIL"] == 2

    run(options, do)


def test_an_idle_connection_is_given_up(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        channel._pool._idle = 0.05
        await channel.send(envelope())
        await heard(far, "QUIT")
        assert channel._pool._resting == []

    run(options, do)


def test_a_cancelled_send_never_leaves_a_connection_in_the_middle(options: dict[str, Any]) -> None:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        far.say("RCPT", SILENCE)
        task = asyncio.create_task(channel.send(envelope()))
        await heard(far, "RCPT")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await channel.send(envelope())).kind is OutcomeClass.ACCEPTED
        assert far.connections == 2

    run(options, do)


def test_authentication_and_its_refusal(options: dict[str, Any], tmp_path: Path) -> None:
    login: dict[str, Any] = {"username": "food", "password_file": str(tmp_path / "password")}
    outcome, far = once(options, [], **login)
    assert outcome.kind is OutcomeClass.ACCEPTED
    assert far.counts["AUTH"] == 1
    for said, kind in (
        ("535 5.7.8 wrong", OutcomeClass.STOP_CHANNEL),
        ("454 4.7.0 later", OutcomeClass.RETRY),
    ):
        far = SmtpEnd()
        far.say("AUTH", said, said)  # by one method and then the other
        outcome, far = once(options, [], far, **login)
        assert (outcome.kind, far.counts["MAIL"]) == (kind, 0)
        assert "hunter2" not in outcome.detail
    bare, _ = once(options, [], SmtpEnd(offers=("SIZE",)), **login)
    assert (bare.kind, bare.code) == (OutcomeClass.STOP_CHANNEL, "no_auth")


def test_a_server_without_starttls_gets_nothing(options: dict[str, Any]) -> None:
    outcome, far = once(options, [], tls="starttls")
    assert (outcome.kind, outcome.code, far.counts["MAIL"]) == (OutcomeClass.STOP_CHANNEL, "no_starttls", 0)


def test_implicit_tls_checks_the_certificate(
    options: dict[str, Any], tls: ssl.SSLContext, certificate: bytes, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(certificate)
    secure = {"tls": "implicit", "host": "localhost"}
    outcome, far = once(options, [], SmtpEnd(tls=tls), **secure, ca_file=str(tmp_path / "ca.pem"))
    assert (outcome.kind, len(far.taken)) == (OutcomeClass.ACCEPTED, 1)
    refused, far = once(options, [], SmtpEnd(tls=tls), **secure)
    assert (refused.kind, refused.may_have_left, far.commands) == (OutcomeClass.RETRY, False, [])


def test_what_the_server_does_not_offer_is_not_used(options: dict[str, Any]) -> None:
    outcome, far = once(options, [], address="jürgen@mail.example")
    assert (outcome.kind, outcome.code, far.counts["MAIL"]) == (OutcomeClass.DROP_MESSAGE, "no_smtputf8", 0)
    outcome, far = once(options, [], SmtpEnd(offers=(*OFFERS, "SMTPUTF8")), address="jürgen@mail.example")
    assert outcome.kind is OutcomeClass.ACCEPTED
    assert far.taken[0].recipients == ("jürgen@mail.example",)
    assert "SMTPUTF8" in far.commands[1]
    outcome, far = once(options, [], SmtpEnd(offers=()), address="ada@例子.com")
    assert far.commands[1:3] == [f"MAIL FROM:<{far.taken[0].sender}>", "RCPT TO:<ada@xn--fsqu00a.com>"]
    outcome, far = once(options, [], SmtpEnd(offers=("SIZE 100",)))
    assert (outcome.kind, outcome.code, far.counts["MAIL"]) == (OutcomeClass.DROP_MESSAGE, "over_size", 0)


@pytest.mark.parametrize(
    "address",
    [
        "ada@mail.example\r\nRCPT TO:<eve@evil.example>",
        "ada@mail.example>\r\nDATA",
        "ada\x00@mail.example",
        "ada bob@mail.example",
        "<ada@mail.example>",
        "ada@mail.example,eve@evil.example",
        "ada@",
        "@mail.example",
        "ada",
        "",
        "a" * 65 + "@mail.example",
        "ada@-mail.example",
        "ada\u2028@mail.example",
    ],
)
def test_no_address_reaches_into_the_protocol(options: dict[str, Any], address: str) -> None:
    outcome, far = once(options, [], address=address)
    assert (outcome.kind, outcome.code, far.connections) == (OutcomeClass.DROP_ADDRESS, "no_mailbox", 0)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (EmailPayload("Hi\r\nBcc: eve@evil.example", "t", "h"), "control character"),
        (EmailPayload("Hi\x00", "t", "h"), "control character"),
        (EmailPayload("Hi\u2028there", "t", "h"), "control character"),
        (EmailPayload(" ", "t", "h"), "empty subject"),
        (EmailPayload("s", "", "h"), "empty text"),
        (EmailPayload("s", "t", ""), "empty html"),
        (EmailPayload("s", "t", "\ud800"), "surrogate"),
        (EmailPayload("s", "t", "h", "https://x/>\r\nBcc: e@e"), "unsubscribe"),
        (EmailPayload("s", "t", "h", "javascript:alert(1)"), "unsubscribe"),
        (EmailPayload("s", "t", "x" * 10_000_001), "at most"),
        (PushPayload("t", "b"), "mails only"),
    ],
)
def test_what_must_not_leave_does_not(options: dict[str, Any], payload: Any, words: str) -> None:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        assert any(words in problem for problem in channel.problems(payload))
        outcome = await channel.send(envelope(payload=payload))
        assert (outcome.kind, outcome.may_have_left, far.connections) == (OutcomeClass.DROP_MESSAGE, False, 0)

    run(options, do)


def test_a_large_mail_is_cut_off_by_some_but_not_refused(options: dict[str, Any]) -> None:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        big = EmailPayload("s", "t", "x" * 200_000)
        assert channel.problems(big) == []
        assert (await channel.send(envelope(payload=big))).kind is OutcomeClass.ACCEPTED
        assert max(map(len, far.taken[0].content.split(b"\r\n"))) <= 998

    run(options, do)


def test_a_domain_that_asks_us_to_slow_down_is_left_alone_and_nobody_else(options: dict[str, Any]) -> None:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        far.say("RCPT", "421 4.7.28 unusual rate")
        assert (await channel.send(envelope())).kind is OutcomeClass.RETRY_AFTER
        held = await channel.send(envelope("bob@mail.example"))
        assert (held.kind, held.code, held.may_have_left) == (OutcomeClass.RETRY_AFTER, "domain_slowed", False)
        assert held.retry_after is not None
        assert timedelta() < held.retry_after <= MINUTE
        assert (await channel.send(envelope("cid@other.example"))).kind is OutcomeClass.ACCEPTED
        assert far.counts["MAIL"] == 2

    run(options, do)


def test_a_domain_that_refuses_by_policy_is_stopped_for_itself(options: dict[str, Any]) -> None:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        far.say(DOT, *["550 5.7.26 unauthenticated"] * 10)
        for n in range(10):
            assert (await channel.send(envelope(f"u{n}@mail.example"))).kind is OutcomeClass.DROP_MESSAGE
        assert (await channel.send(envelope())).code == "domain_slowed"
        assert (await channel.send(envelope("cid@other.example"))).kind is OutcomeClass.ACCEPTED

    run(options, do)


def test_reconciling_cannot_tell(options: dict[str, Any]) -> None:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> None:
        from datetime import UTC, datetime

        assert await channel.reconcile(Inquiry(MESSAGE, ADA, PAYLOAD, datetime(2026, 12, 1, tzinfo=UTC))) is None

    run(options, do)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"from": "nobody"}, "from"),
        ({"from": "Food\r\nBcc: x@y.z <a@b.example>"}, "from"),
        ({"host": "mail.example"}, ""),
        ({"bounce": "b"}, "bounce"),
        ({"verp_key_file": None}, ""),
        ({"verp_key_file": "/nowhere"}, "verp_key_file"),
        ({"username": "food"}, ""),
        ({"reply_to": "x@y@z"}, "reply_to"),
        ({"tsl": "none"}, "tsl"),
        ({"timeout": 301}, "timeout"),
        ({"final_timeout": 601}, "final_timeout"),
        ({"tls": "starttls", "ca_file": "/nowhere"}, "ca_file"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], change: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_channel("mail", "smtp", {**options, **change}, callback_url="")
    expected = f"accounts.mail.options.{field}" if field else "accounts.mail.options"
    assert caught.value.problems[0].field == expected


def findings(options: dict[str, Any], end: SmtpEnd | None = None, **more: Any) -> list[tuple[Health, str]]:
    async def do(channel: SmtpChannel, far: SmtpEnd) -> list[tuple[Health, str]]:
        found = await channel.check()
        assert far.counts["MAIL"] == 0
        assert "hunter2" not in repr(found)
        return [(each.health, each.what) for each in found]

    found: list[tuple[Health, str]] = run(options, do, end, **more)
    return found


def test_a_check_greets_logs_in_and_begins_no_mail(options: dict[str, Any], tmp_path: Path) -> None:
    login: dict[str, Any] = {"username": "u", "password_file": str(tmp_path / "password")}
    assert findings(options, **login) == [(Health.FINE, "the server answers (none), the login is accepted")]
    refusing = SmtpEnd()
    refusing.say("AUTH", "535 5.7.8 u hunter2hunter2 is wrong", "535 5.7.8 no")
    [(health, what)] = findings(options, refusing, **login)
    assert (health, what) == (Health.BROKEN, "the server refuses with 535 5.7.8")
    slow = findings(options, SmtpEnd(offers=("SIZE 20000000",)))
    assert [health for health, _ in slow] == [Health.FINE, Health.WARNING]
    silent = SmtpEnd()
    silent.say(GREETING, CLOSE)
    assert findings(options, silent)[0][0] is Health.BROKEN


def test_a_key_for_dkim_needs_its_selector(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "dkim.pem").write_text("nonsense")
    for more, words in (
        ({"dkim_key_file": str(tmp_path / "dkim.pem")}, "go together"),
        ({"dkim_key_file": str(tmp_path / "dkim.pem"), "dkim_selector": "s1"}, "no private key"),
        ({"dkim_domain": "food.example"}, "go together"),
    ):
        with pytest.raises(ConfigError, match=words):
            open_channel("mail", "smtp", {**options, **more}, callback_url="")
