"""One member's story: complete, in words, in both languages, without what is private."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest

from orchestrator.channel.base import OutcomeClass
from orchestrator.errors import NotFoundError
from orchestrator.report.codes import codes, phrase_of
from orchestrator.report.explain import explain
from orchestrator.report.reasons import OUTCOMES, REASONS, code_words, outcome_words, reason_words
from orchestrator.report.telling import tell
from orchestrator.report.values import Launched, plain
from orchestrator.store import Store
from orchestrator.store import tables as t
from tests.report.book import AS_OF, DAY, NOW, Book
from tests.report.provider_codes import ALSO, TABLES, broke

DUE = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)  # 10:30 in Berlin

ACCOUNTS = {"fcm-main": "fcm", "twilio-main": "twilio"}

Telling = Callable[..., str]


@pytest.fixture
def told(store: Store, launched: Launched) -> Telling:
    def tell_of(
        user: str, locale: str = "en", now: datetime = NOW, accounts: Mapping[str, str] = MappingProxyType(ACCOUNTS)
    ) -> str:
        with store.read() as connection:
            return "\n".join(tell(explain(connection, user, launched, now), locale, accounts))

    return tell_of


def _push(book: Book, state: str = "accepted", **values: object) -> int:
    book.run(1, audience=1)
    member = book.member(1, book.user(1), anchor=DUE, reopened_at=DUE + timedelta(hours=1))
    return book.message(member, 1, state, DUE, **{"sent_at": DUE, "attempts": 1, **values})


def test_a_whole_story(book: Book, told: Telling) -> None:
    push = _push(book)
    book.attempt(push, 1, DUE, "retry_after", "QUOTA_EXCEEDED")
    book.attempt(push, 2, DUE + timedelta(minutes=2))
    held = {
        "run_id": None,
        "campaign": None,
        "message_id": push,
        "old": "sending",
        "new": "planned",
        "actor": "worker 7",
    }
    book.add(t.transition, at=DUE + timedelta(seconds=1), reason="QUOTA_EXCEEDED", **held)
    book.opened(push, 1, DUE + timedelta(minutes=9))
    book.write()
    story = told("u-00001")
    for sentence in (
        "found in the audience (segment dormant-lunch-regulars) as of 2026-11-30 09:00 UTC. Time zone: Europe/Berlin",
        "Arm dish: a stable hash of the user's id put them there",
        "Decision: planned; the run opened for them on Tue 1 Dec 10:30:00.",
        "Step 1: push through fcm-main, due Tue 1 Dec 10:30:00 (their time)",
        "Attempt 1 on Tue 1 Dec 10:30:00: the provider asked to wait [QUOTA_EXCEEDED (",
        "To be tried again since Tue 1 Dec 10:30:01",
        "Attempt 2 on Tue 1 Dec 10:32:00: the provider took it.",
        "Opened from the message on Tue 1 Dec 10:39:00.",
        "The provider accepted it; that is not yet proof that it was shown.",
        "Came back on Tue 1 Dec 11:30:00 (app_open).",
    ):
        assert sentence in story
    assert (
        story.index("Attempt 1") < story.index("To be tried again") < story.index("Attempt 2") < story.index("Opened")
    )


def test_the_same_story_in_chinese(book: Book, told: Telling) -> None:
    push = _push(book, "undelivered", reason="30003")
    book.attempt(push, 1, DUE)
    book.add(
        t.receipt,
        provider="twilio",
        provider_id="SM1",
        status="undelivered",
        message_id=push,
        code="30003",
        received_at=DUE,
    )
    book.write()
    story = told("u-00001", "zh-CN")
    for sentence in (
        "12月1日周二 10:30:00",
        "服务商已受理",
        "回执：undelivered [30003（手机关机或不在服务区）]",
        "回访",
    ):
        assert sentence in story
    assert not re.search(r"\b(the|was|not)\b", story)


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (
            {"decision": "skipped", "reason": "no_consent"},
            "Decision: skipped, no consent for this topic on this channel.",
        ),
        ({"decision": "skipped", "reason": "template:no orders"}, "asked not to send: no orders."),
        ({"held_out": True, "anchor": DUE}, "Held out: in the 20.0"),
        ({"reason": "no_address", "anchor": DUE}, "The first step was left out: no usable address on this channel."),
        ({"anchor": DUE}, "Did not come back within 24 h of the run's opening."),
    ],
)
def test_why_not(book: Book, told: Telling, decision: dict[str, object], words: str) -> None:
    book.run(1, audience=1)
    book.member(1, book.user(1), **decision)
    book.write()
    assert words in told("u-00001")


def test_who_can_still_come_back_is_not_called_lost(book: Book, told: Telling) -> None:
    book.run(1, audience=1, state="active")
    book.member(1, book.user(1), anchor=DUE)
    book.write()
    assert "Has not come back so far; it counts until Wed 2 Dec 10:30:00." in told(
        "u-00001", now=DUE + timedelta(hours=3)
    )


def test_what_an_operator_did_meanwhile(book: Book, told: Telling) -> None:
    _push(book)
    base = {"campaign": "lunch-winback", "run_id": None, "message_id": None, "reason": None, "actor": "operator mei"}
    book.add(t.transition, at=AS_OF + timedelta(hours=1), old="running", new="paused", **base)
    book.write()
    assert "operator mei set the campaign to paused" in told("u-00001")
    assert "operator mei 将活动设为 已暂停" in told("u-00001", "zh")


def test_not_in_the_audience_is_said_plainly(book: Book, told: Telling) -> None:
    book.user(1)
    book.write()
    assert "the campaign has had no run yet" in told("u-00001")
    book.run(1)
    book.write()
    assert told("u-00001") == (
        "u-00001 was not in the audience of lunch-winback: segment dormant-lunch-regulars did not select them for its "
        "run of 2026-12-01 (as of 2026-11-30 09:00 UTC)."
    )
    assert "不在 lunch-winback 的目标人群中" in told("u-00001", "zh")
    book.run(2, DAY + timedelta(days=1))
    book.write()
    assert told("u-00001").endswith(
        "selected them for none of its 2 runs (the last is that of 2026-12-02, as of 2026-12-01 09:00 UTC)."
    )


def test_an_unknown_user_is_not_found_with_the_nearest(book: Book, told: Telling) -> None:
    book.user(1)
    book.write()
    with pytest.raises(NotFoundError) as caught:
        told("u-0001")
    assert "did you mean 'u-00001'?" in caught.value.hint
    with pytest.raises(NotFoundError) as caught:
        told("x" * 10_000_000)
    assert len(str(caught.value)) < 300


def test_a_zone_known_only_by_country_is_told_in_utc(book: Book, told: Telling) -> None:
    book.run(1, audience=1)
    book.member(1, book.user(1), anchor=DUE, zone_key="country:US")
    book.write()
    assert "Tue 1 Dec 09:30:00 UTC" in told("u-00001")


def test_no_address_is_in_a_story(book: Book, store: Store, launched: Launched) -> None:
    _push(book)
    instants = {"valid_from": AS_OF, "last_seen_at": AS_OF}
    book.add(t.address, user_id=1, channel="push", kind="token", value="secret-token", **instants)
    book.write()
    with store.read() as connection:
        story = explain(connection, "u-00001", launched, NOW)
    assert "secret-token" not in str(plain(story))
    assert plain(story)["members"][0]["anchor"] == "2026-12-01T09:30:00Z"


def test_every_person_of_the_realistic_ledger_has_a_story(filled: Store, told: Telling) -> None:
    for number in range(1, 1201, 40):
        for locale in ("en", "zh"):
            assert told(f"u-{number:05}", locale).count("\n") >= 4


@pytest.mark.parametrize("table", [REASONS, OUTCOMES])
def test_every_reason_has_both_languages(table: dict[str, object]) -> None:
    for key in table:
        english, chinese = (reason_words(key, locale) or outcome_words(key, locale) for locale in ("en", "zh"))
        assert english
        assert chinese != english or table is OUTCOMES


def test_reasons_the_contract_names_are_all_in_the_table() -> None:
    named = (
        "no_address no_consent suppressed zone_unknown quiet_hours late excluded capped came_back reopened template "
        "address_dead storm poison stopped paused expired too_late_for_step max_audience"
    )
    assert set(named.split()) <= set(REASONS)


def test_every_code_of_the_providers_tables_has_words() -> None:
    assert set(codes()) == set(TABLES)
    for section, table in TABLES.items():
        bare = {code for code in table if phrase_of(code, section) is None}
        assert not bare, section
    for failure in broke():
        assert phrase_of(f"{failure}_dot", "smtp"), failure
    assert set(OutcomeClass) == set(OUTCOMES)


def test_no_code_has_words_that_nobody_answers_with() -> None:
    for section, phrases in codes().items():
        assert not set(phrases) - TABLES[section] - ALSO.get(section, set()), section


def test_every_code_is_told_in_both_languages_and_briefly() -> None:
    told = [phrase for phrases in codes().values() for phrase in phrases.values()]
    for phrase in told:
        assert re.fullmatch(r"[^\u4e00-\u9fff]{4,90}[^.]", phrase.en), phrase
        assert re.search(r"[\u4e00-\u9fff]", phrase.zh), phrase
        assert not re.search(r"[。,;!?]$|[,;!?] ", phrase.zh), phrase


@pytest.mark.parametrize(
    ("provider", "code", "words"),
    [
        ("xiaomi", "10001", "an error inside the provider"),
        ("getui", "10001", "the access token has expired"),
        ("getui", "401", "our credentials were refused"),
        ("getui receipt", "401", "there is no such client id"),
        ("twilio receipt", "30003", "the phone is off or out of reach"),  # the same table as answers have
        ("jpush", "cid_1011", "no such registration id, or not seen for 255 days"),
        ("huawei", "503", "the provider limits our rate"),
        ("fcm", "503", "the provider is overloaded"),
        ("aliyun", "Throttling.User", "too many requests at once"),
        ("vivo", "invalid_user:7", "the provider does not send to this registration id"),
        ("smtp", "550 5.1.1", "no such mailbox"),
        ("smtp", "550 5.7.26", "refused by the receiver's policy: reputation, or missing authentication"),
        ("smtp", "451 4.3.0", "a passing error of the server"),
        ("smtp", "timeout_dot", "no answer in time"),
        ("ses", "Permanent.NoEmail 5.1.1", "no such mailbox"),
        ("ses", "Permanent.General 5.1.1", "the mailbox refused it for good"),
        ("sendgrid", "dropped bounced address", "not tried: the address bounced before"),
        ("sendgrid receipt", "5.2.2", "the mailbox is full"),
        ("", "21610", "the person replied STOP"),
    ],
)
def test_a_code_is_its_own_providers(provider: str, code: str, words: str) -> None:
    assert code_words(code, "en", provider) == f"{code} ({words})"


@pytest.mark.parametrize(
    ("provider", "code"), [("", "10001"), ("", "31"), ("gateway", "21610"), ("aliyun", "MK:0012"), ("oppo", "1011")]
)
def test_a_code_of_nobody_or_of_somebody_else_is_left_bare(provider: str, code: str) -> None:
    assert code_words(code, "en", provider) == code


def test_a_story_tells_codes_in_the_words_of_the_account_they_came_through(book: Book, told: Telling) -> None:
    push = _push(book, "undelivered", reason="401", attempts=2)
    book.attempt(push, 1, DUE, "stop_channel", "10001", account="china")
    held = {"run_id": None, "campaign": None, "message_id": push, "old": "sending", "new": "planned", "actor": "worker"}
    book.add(t.transition, at=DUE + timedelta(seconds=1), reason="10001", **held)
    book.attempt(push, 2, DUE + timedelta(minutes=1), account="china")
    given = {"provider": "getui", "provider_id": "T1", "status": "undelivered", "message_id": push, "code": "401"}
    book.add(t.receipt, **given, state="undelivered", received_at=DUE + timedelta(minutes=2))
    book.write()
    getui, xiaomi = (told("u-00001", accounts={"china": name}) for name in ("getui", "xiaomi"))
    for sentence in (
        "the account was stopped [10001 (the access token has expired)].",
        "To be tried again since Tue 1 Dec 10:30:01: the access token has expired (worker).",
        "getui reported undelivered on Tue 1 Dec 10:32:00 [401 (there is no such client id)].",
        "The provider says that it did not arrive: there is no such client id.",
    ):
        assert sentence in getui
    assert "[10001 (an error inside the provider)]" in xiaomi
    assert "[10001]." in told("u-00001")  # nobody knows whose account that was
    assert "[10001（访问令牌已过期）]" in told("u-00001", "zh", accounts={"china": "getui"})


def test_an_unknown_reason_is_printed_as_it_is() -> None:
    assert reason_words("whatever", "zh") == "whatever"
    assert reason_words("what:ever", "en") == "what:ever"
    assert code_words("E99", "en") == "E99"
    assert outcome_words("odd", "zh") == "odd"
    assert code_words("http_503", "en") == "http_503 (the provider is overloaded)"
    assert code_words("token:timeout", "en") == "getting an access token: timeout (no answer in time)"
    assert reason_words(None, "en") == ""
    assert reason_words("template:no orders", "zh") == "模板无法使用，或模板要求不发送：no orders"


def test_receipts_opens_and_clicks_say_who_it_was(book: Book, told: Telling) -> None:
    push = _push(book, "delivered")
    book.attempt(push, 1, DUE)
    given = {"provider": "app", "provider_id": str(push), "message_id": push, "code": ""}
    book.add(t.receipt, **given, status="delivered", state="delivered", received_at=DUE + timedelta(seconds=2))
    for n, (name, confidence, why) in enumerate(
        [("message_opened", "machine", "too soon"), ("link_clicked", "suspect", ""), ("message_opened", "human", "ack")]
    ):
        at = DUE + timedelta(minutes=n + 1)
        said = {"confidence": confidence, "why": why}
        row = {"user_id": 1, "name": name, "at": at, "received_at": at, "source_id": f"x{n}", "message_id": push}
        book.add(t.event, **row, properties=said)
    book.write()
    story = told("u-00001")
    sentences = (
        "app reported delivered on Tue 1 Dec 10:30:02.",
        "An open on Tue 1 Dec 10:31:00, by a machine: it does not count [too soon].",
        "A click on Tue 1 Dec 10:32:00, perhaps not by a person: it does not count.",
        "Opened from the message on Tue 1 Dec 10:33:00.",
        "It was delivered.",
    )
    places = [story.index(sentence) for sentence in sentences]
    assert places == sorted(places)
    assert "来自机器，不计入" in told("u-00001", "zh")


@pytest.mark.parametrize(
    ("timed", "english", "chinese"),
    [
        (7, "10:00, best hour of their own (7 opens).", "10:00，其本人的最佳时间（7 次打开）。"),
        (0, "10:00, the population's best hour: too little is known of their own.", "整体用户的最佳时间"),
        (-1, "10:00, explored: any hour of the window.", "10:00，探索：发送时段内任选一小时。"),
    ],
)
def test_why_it_was_this_hour(book: Book, told: Telling, timed: int, english: str, chinese: str) -> None:
    _push(book, timed=timed)
    book.write()
    assert english in told("u-00001")
    assert chinese in told("u-00001", "zh")
