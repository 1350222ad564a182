"""Bounces, complaints and unsubscribe mails: believed by our signature alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from orchestrator.channel.base import OutcomeClass
from orchestrator.channel.callback import Purpose, Report, ReportState
from orchestrator.channel.email.smtp_signing import Signer
from orchestrator.clock import ManualClock
from orchestrator.store import Store
from orchestrator.store.tables import address, message, suppression
from orchestrator.tracking.bounces import Returned, read_returned
from orchestrator.tracking.callbacks import Callback, CallbackBook, Verdict
from tests.tracking.mails import SIGNER, Box, arf, dsn, unsubscribing, verp
from tests.tracking.world import NOW, World

MESSAGE = 1 << 40 | 7 << 4 | 1
BOX = Box()
MAILBOX = "ada@mail.example"


def signed(message_id: int = MESSAGE) -> str:
    return f"<{SIGNER.token(Purpose.MESSAGE, str(message_id))}@food.example>"


def report(returned: Returned | None) -> Report:
    assert returned is not None
    return returned.report


def test_a_hard_bounce() -> None:
    assert read_returned(dsn(verp(MESSAGE)), BOX) == Returned(
        MESSAGE,
        Report(str(MESSAGE), "failed 5.1.1", ReportState.UNDELIVERED, "5.1.1", OutcomeClass.DROP_ADDRESS),
    )


@pytest.mark.parametrize(
    ("status", "diagnostic", "code", "kind"),
    [
        ("5.1.10", "", "5.1.10", OutcomeClass.DROP_ADDRESS),
        ("5.2.1", "", "5.2.1", OutcomeClass.DROP_ADDRESS),
        ("5.2.2", "", "5.2.2", OutcomeClass.DROP_MESSAGE),
        ("5.7.1", "", "5.7.1", None),
        ("5.7.26", "smtp; 550 5.1.1 liar", "5.7.26", None),
        ("5.0.0", "smtp; 550 5.1.1 <ada@mail.example>: unknown", "5.1.1", OutcomeClass.DROP_ADDRESS),
        ("5.0.0", "smtp; 450 4.2.2 full", "5.0.0", OutcomeClass.DROP_MESSAGE),  # counted: dead on two different days
        ("4.4.7", "", "4.4.7", None),
        ("5.1.1 (bad mailbox)", "", "5.1.1", OutcomeClass.DROP_ADDRESS),
    ],
)
def test_what_a_failure_says_of_the_address(status: str, diagnostic: str, code: str, kind: OutcomeClass | None) -> None:
    found = report(read_returned(dsn(verp(MESSAGE), status=status, diagnostic=diagnostic), BOX))
    assert (found.state, found.code, found.kind) == (ReportState.UNDELIVERED, code, kind)


@pytest.mark.parametrize("action", ["delayed", "relayed", "expanded", "", "nonsense"])
def test_only_failed_is_a_bounce(action: str) -> None:
    assert read_returned(dsn(verp(MESSAGE), action=action), BOX) is None


def test_a_delivery_report() -> None:
    found = report(read_returned(dsn(verp(MESSAGE), action="delivered", status="2.0.0"), BOX))
    assert (found.state, found.kind) == (ReportState.DELIVERED, None)


def test_a_forged_bounce_says_nothing() -> None:
    """Forged bounces are common: whoever guesses an address of ours could end anybody's."""
    genuine = verp(MESSAGE)
    other = Signer(b"x" * 32)
    for to in (verp(MESSAGE, other), genuine.replace(str(MESSAGE), str(MESSAGE + 16)), "bounce@b.food.example"):
        assert read_returned(dsn(to), BOX) is None
    assert read_returned(dsn("postmaster@food.example", quoted=signed()), BOX) is not None
    assert read_returned(dsn(genuine.replace("bounce+", "BOUNCE+").upper()), BOX) is not None


def test_a_complaint_names_its_message_by_our_message_id() -> None:
    found = report(read_returned(arf(signed()), BOX))
    assert (found.kind, found.refusal, found.code) == (OutcomeClass.SUPPRESS, "complaint", "abuse")
    assert read_returned(arf(signed(), kind="not-spam"), BOX) is None
    assert read_returned(arf("<123.00000000000000000000@food.example>"), BOX) is None


def test_an_unsubscribe_mail() -> None:
    found = report(read_returned(unsubscribing(MESSAGE), BOX))
    assert (found.kind, found.refusal) == (OutcomeClass.SUPPRESS, "unsubscribe")
    assert read_returned(unsubscribing(MESSAGE, headers="Auto-Submitted: auto-replied\r\n"), BOX) is None
    assert read_returned(unsubscribing(MESSAGE, signer=Signer(b"x" * 32)), BOX) is None
    plain = f"To: {verp(MESSAGE)}\r\nSubject: I am on holiday\r\n\r\nbye".encode()
    assert read_returned(plain, BOX) is None


@given(st.binary(max_size=400), st.integers(0, 900))
def test_no_mail_breaks_the_reader(noise: bytes, at: int) -> None:
    mail = dsn(verp(MESSAGE))
    for raw in (noise, mail[:at], mail[:at] + noise + mail[at:], noise + mail):
        read_returned(raw, BOX)


def test_a_mail_of_mails_of_mails_is_no_bomb() -> None:
    raw = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(3000))
    assert read_returned(raw, BOX) is None


def take(store: Store, book: CallbackBook, raw: bytes) -> Verdict:
    returned = read_returned(raw, BOX)
    assert returned is not None
    with store.write() as connection:
        [verdict] = book.take(connection, [Callback("mail", "email", "smtp", returned.report, returned.message_id)])
    return verdict


def mailed(world: World, run: int = 1, user: int = 7) -> int:
    with world.store.read() as connection:
        known = connection.execute(select(address.c.id).where(address.c.id == user)).first()
    if known is None:
        world.phone(user, MAILBOX)
    return world.message(world.run(run), user, account="mail")


@pytest.fixture
def book() -> CallbackBook:
    return CallbackBook(ManualClock(NOW))


def ended(store: Store) -> str | None:
    with store.read() as connection:
        reason: str | None = connection.execute(select(address.c.end_reason)).scalar_one()
    return reason


def test_a_bounce_ends_the_address_once(store: Store, world: World, book: CallbackBook) -> None:
    sent = mailed(world)
    assert take(store, book, dsn(verp(sent))) is Verdict.TAKEN
    assert take(store, book, dsn(verp(sent))) is Verdict.SEEN
    assert ended(store) == "dead"
    with store.read() as connection:
        assert connection.execute(select(message.c.state)).scalar_one() == "undelivered"


def test_a_refusal_by_policy_costs_no_address(store: Store, world: World, book: CallbackBook) -> None:
    take(store, book, dsn(verp(mailed(world)), status="5.7.1"))
    assert ended(store) is None


def test_a_full_mailbox_ends_after_three_in_thirty_days(store: Store, world: World, book: CallbackBook) -> None:
    for run in (1, 2):
        take(store, book, dsn(verp(mailed(world, run)), status="5.2.2"))
    assert ended(store) is None
    take(store, book, dsn(verp(mailed(world, 3)), status="5.2.2"))
    assert ended(store) == "dead"


def test_long_ago_does_not_count(store: Store, world: World, book: CallbackBook) -> None:
    for run in (1, 2):
        take(store, book, dsn(verp(mailed(world, run)), status="5.2.2"))
    with store.write() as connection:
        connection.execute(message.update().values(sent_at=NOW - timedelta(days=31)))
    take(store, book, dsn(verp(mailed(world, 3)), status="5.2.2"))
    assert ended(store) is None


@pytest.mark.parametrize(("raw", "reason"), [(arf(signed()), "complaint"), (unsubscribing(MESSAGE), "unsubscribe")])
def test_a_refusal_suppresses_address_and_person(
    store: Store, world: World, book: CallbackBook, raw: bytes, reason: str
) -> None:
    assert mailed(world) == MESSAGE
    assert take(store, book, raw) is Verdict.TAKEN
    with store.read() as connection:
        found = connection.execute(select(suppression)).all()
    assert {(row.address, row.user_id, row.reason) for row in found} == {
        (MAILBOX, None, reason),
        (None, 7, reason),
    }
