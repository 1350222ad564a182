"""Mail to the sandbox's server through the real channel: what it takes, what it suffers, and what is then kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest
from sqlalchemy import select

from orchestrator.audience import people
from orchestrator.channel.base import EmailPayload, Envelope, Outcome, OutcomeClass
from orchestrator.channel.callback import Purpose
from orchestrator.channel.email.smtp import SmtpChannel
from orchestrator.channel.plugins import open_channel
from orchestrator.ledger.ids import message_id
from orchestrator.ledger.states import State
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Routing
from orchestrator.store.tables import address
from orchestrator.timing.quiet import QuietHours
from orchestrator.tracking.bounces import read_returned
from orchestrator.tracking.callbacks import Callback, CallbackBook
from tests import world
from tests.far_end import FarEnd
from tests.integration.conftest import Rig
from tests.integration.test_dispatch import LUNCH, settled, states
from tests.tracking.mails import arf, dsn

T = TypeVar("T")
ADA = "ada@mail.example"
URL = "https://push.example/u/tok"
PAYLOAD = EmailPayload(
    "午餐好了", "Lunch is ready.\n.\nReally.\n", "<p>Lunch is ready, <b>Ada</b>.</p>" * 200 + "süß", URL
)


def letter(user: int = 9, to: str = ADA, payload: EmailPayload = PAYLOAD, attempt: int = 1) -> Envelope:
    return Envelope(str(message_id(7, user, 1)), attempt, to, "mailbox", payload, timedelta(hours=1), f"r7-{user}-1")


def through(far: FarEnd, do: Callable[[SmtpChannel], Awaitable[T]], **options: object) -> T:
    async def main() -> T:
        channel = open_channel("mail", "smtp", {**far.mail_options(), **options}, callback_url="")
        assert isinstance(channel, SmtpChannel)
        try:
            return await do(channel)
        finally:
            await channel.close()

    return asyncio.run(main())


def once(far: FarEnd, envelope: Envelope | None = None, **options: object) -> Outcome:
    return through(far, lambda channel: channel.send(envelope or letter()), **options)


def test_a_strict_server_takes_our_mail_as_it_was_meant(far: FarEnd) -> None:
    assert once(far).kind is OutcomeClass.ACCEPTED
    [kept] = far.accepted()
    assert (kept["to"], kept["title"], kept["body"]) == (ADA, PAYLOAD.subject, PAYLOAD.text)
    assert kept["html"] == PAYLOAD.html
    assert kept["message_id"] == letter().message_id
    assert kept["unsubscribe"] == URL
    assert kept["from"] == "Food <news@food.example>"

    async def marks(channel: SmtpChannel) -> set[tuple[Purpose, str]]:
        texts = [kept["sender"], *(value for _, value in kept["headers"])]
        return {(mark.purpose, str(mark.message_id)) for text in texts for mark in channel.postmarks(text)}

    assert through(far, marks) >= {(purpose, kept["message_id"]) for purpose in Purpose}


def test_two_hundred_at_once_one_transaction_each(far: FarEnd) -> None:
    async def all_of_them(channel: SmtpChannel) -> list[Outcome]:
        return await asyncio.gather(*(channel.send(letter(n, f"u{n}@mail.example")) for n in range(200)))

    outcomes = through(far, all_of_them, connections=8)
    assert {outcome.kind for outcome in outcomes} == {OutcomeClass.ACCEPTED}
    accepted = far.accepted()
    assert len({row["message_id"] for row in accepted}) == len(accepted) == 200
    assert len({outcome.provider_id for outcome in outcomes}) == 200


@pytest.mark.parametrize(
    ("fault", "kind", "may_have_left", "kept"),
    [
        ({"kind": "reset_before"}, OutcomeClass.RETRY, False, 0),
        ({"kind": "reset_after"}, OutcomeClass.AMBIGUOUS, True, 1),
        ({"kind": "silence"}, OutcomeClass.AMBIGUOUS, True, 0),
        ({"kind": "silence", "accept": True}, OutcomeClass.AMBIGUOUS, True, 1),
        ({"kind": "slow", "seconds": 0.2}, OutcomeClass.ACCEPTED, True, 1),
        ({"kind": "dead_address"}, OutcomeClass.DROP_ADDRESS, False, 0),
        ({"kind": "status", "status": 451}, OutcomeClass.RETRY, False, 0),
        ({"kind": "status", "status": 421, "code": "4.7.28"}, OutcomeClass.RETRY_AFTER, False, 0),
        ({"kind": "status", "status": 550, "code": "5.7.26", "stage": "data"}, OutcomeClass.DROP_MESSAGE, False, 0),
        ({"kind": "status", "status": 530, "code": "5.7.0"}, OutcomeClass.STOP_CHANNEL, False, 0),
    ],
)
def test_what_the_server_suffers(
    far: FarEnd, fault: dict[str, object], kind: OutcomeClass, may_have_left: bool, kept: int
) -> None:
    far.fault(provider="smtp", times=1, **fault)
    outcome = once(far, final_timeout=1.0)
    assert (outcome.kind, outcome.may_have_left) == (kind, may_have_left)
    assert len(far.accepted()) == kept


def test_a_resend_that_somebody_orders_can_be_recognised(far: FarEnd) -> None:
    far.fault(provider="smtp", kind="reset_after", times=1)
    once(far)
    once(far, letter(attempt=2))
    first, second = far.accepted()
    of = [dict(row["headers"])["Message-ID"] for row in (first, second)]
    assert of[0] == of[1]
    assert first["sender"] == second["sender"]


MAIL = {
    "lunch/email.en.j2": "subject: Lunch, {{ user.name }}\n\n<p>Lunch is <b>ready</b>, {{ user.name }}.</p>\n"
    '<p><a href="{{ unsubscribe_url }}">Unsubscribe</a></p>\n',
    "lunch/email.zh.j2": "subject: {{ user.name }}，午餐好了\n\n<p>{{ user.name }}，午餐好了。</p>\n"
    '<p><a href="{{ unsubscribe_url }}">退订</a></p>\n',
    "lunch/defaults.yaml": "user.name: {en: there, zh: 朋友}\n",
}


def mailing(rig: Rig, people_count: int) -> None:
    """A campaign of one mail, planned for so many people, at the hour it is due."""
    for n in range(people_count):
        world.person(rig.store, f"u{n}", push=None, consents=("email",), locale="zh" if n % 2 else "en")
        with rig.store.write() as connection:
            at = world.OPENING - timedelta(days=60)
            people.upsert_addresses(connection, [people.AddressRow(f"u{n}", "email", f"u{n}@mail.example", at)], at)
    what = world.bundle(steps=[{"channel": "email", "template": "lunch"}])
    world.launch(rig.store, replace(what, templates=MAIL), rig.clock.now())
    with rig.store.write() as connection:
        [(item, found)] = due_runs(connection, rig.clock.now())
    Planner(rig.clock, QuietHours.load(None), Routing.plain({"mail": "email"})).plan(rig.store, item, found)
    rig.clock.instant = LUNCH


def test_every_due_mail_is_accepted_once(rig: Rig) -> None:
    mailing(rig, 60)
    rig.work(lambda: settled(rig), seconds=30)
    assert states(rig) == {State.ACCEPTED: 60}
    accepted = rig.far.accepted()
    assert len({row["message_id"] for row in accepted}) == len(accepted) == 60
    assert {row["title"] for row in accepted} >= {"Lunch, U0", "U1，午餐好了"}
    assert all("<b>ready</b>" in row["html"] for row in accepted if row["title"].startswith("Lunch"))
    assert {row["provider"] for row in accepted} == {"smtp"}
    addresses = {row["unsubscribe"] for row in accepted}
    assert len(addresses) == 60
    assert all(address.startswith("http") for address in addresses)


def test_a_mail_whose_answer_was_lost_is_unknown_and_never_resent(rig: Rig) -> None:
    mailing(rig, 1)
    rig.far.fault(provider="smtp", kind="reset_after", times=1)
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.UNKNOWN: 1}
    rig.clock.advance(timedelta(minutes=20))
    with pytest.raises(TimeoutError):
        rig.work(lambda: len(rig.far.accepted()) > 1, seconds=1)


def test_a_dead_mailbox_ends(rig: Rig) -> None:
    mailing(rig, 3)
    rig.far.fault(provider="smtp", kind="dead_address", match="u1@", times=None)
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.ACCEPTED: 2, State.FAILED: 1}
    with rig.store.read() as connection:
        ended = connection.execute(select(address.c.value).where(address.c.end_reason == "dead")).scalars()
        assert list(ended) == ["u1@mail.example"]


def test_a_bounce_of_a_real_mail_finds_its_message(rig: Rig) -> None:
    mailing(rig, 2)
    rig.work(lambda: settled(rig))
    first = rig.far.accepted()[0]
    postbox = rig.parts.postboxes()["mail"]
    returned = read_returned(dsn(first["sender"].upper()), postbox)
    assert returned is not None
    with rig.store.write() as connection:
        said = Callback("mail", "email", "smtp", returned.report, returned.message_id)
        CallbackBook(rig.clock).take(connection, [said])
        ended = connection.execute(select(address.c.value).where(address.c.end_reason == "dead")).scalars()
        assert list(ended) == [first["to"]]
    assert states(rig) == {State.ACCEPTED: 1, State.UNDELIVERED: 1}
    quoted = dict(first["headers"])["Message-ID"]
    assert read_returned(arf(quoted), postbox) is not None
    mailto = dict(first["headers"])["List-Unsubscribe"].partition("mailto:")[2].rstrip(">")
    left = read_returned(f"To: {mailto}\r\nSubject: unsubscribe\r\n\r\n".encode(), postbox)
    assert left is not None
    assert left.report.refusal == "unsubscribe"
