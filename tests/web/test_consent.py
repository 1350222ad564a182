"""Unsubscribing and choosing: GET changes nothing, POST acts without ceremony, and both survive repetition."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from sqlalchemy import insert, select, update

from orchestrator.audience import people
from orchestrator.campaign import version as versions_kept
from orchestrator.content.links import Kind
from orchestrator.ledger.retention import forget_messages
from orchestrator.ledger.states import RunState
from orchestrator.store import Store
from orchestrator.store.tables import consent, lane, run, suppression, users, version
from tests.tracking.world import HOUR, NOW, World
from tests.web.server import LINKS, Client

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
USER = 7


@pytest.fixture
def sent(world: World, store: Store) -> int:
    """A mail about promotions to somebody who agreed to it, and to SMS about it too."""
    world.run()
    world.phone(USER, "+4917012345678")
    number = world.message(1, USER, account="mail")
    with store.write() as connection:
        connection.execute(update(lane).values(channel="email"))
        for channel in ("email", "sms"):
            people.set_consent(connection, USER, channel, "promotions", granted=True, source="app", at=NOW - HOUR)
    return number


def link(kind: Kind, message: int) -> str:
    return f"/{kind}/{LINKS.token(kind, message)}"


def agreed(store: Store) -> dict[tuple[str, str], tuple[bool, str]]:
    with store.read() as connection:
        rows = connection.execute(select(consent).where(consent.c.valid_until.is_(None)))
        return {(row.channel, row.topic): (row.granted, row.source) for row in rows}


def versions(store: Store) -> int:
    with store.read() as connection:
        return len(connection.execute(select(consent)).all())


def refused(store: Store) -> set[str]:
    with store.read() as connection:
        rows = connection.execute(select(suppression.c.channel).where(suppression.c.valid_until.is_(None)))
        return set(rows.scalars())


def test_get_shows_a_page_and_changes_nothing(client: Client, store: Store, sent: int) -> None:
    before = agreed(store)
    for method in ("GET", "HEAD"):
        assert client.request(method, link(Kind.UNSUBSCRIBE, sent)).status == 200
    answer = client.request("GET", link(Kind.UNSUBSCRIBE, sent))
    page = answer.body.decode()
    assert '<form method="post"' in page
    assert "Offers &amp; coupons" in page
    assert "set-cookie" not in answer.headers
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert agreed(store) == before


def test_unsubscribing_from_a_version_that_is_not_read_any_more_works(client: Client, store: Store, sent: int) -> None:
    with store.write() as connection:  # as a release that reads another format finds it
        body = connection.execute(select(version.c.body)).scalar_one()
        connection.execute(update(version).values(body=body.replace('"format":1', '"format":999')))
    versions_kept.forget_versions()
    answer = client.request("POST", link(Kind.UNSUBSCRIBE, sent), b"List-Unsubscribe=One-Click", headers=FORM)
    assert answer.status == 200
    assert agreed(store)["email", "promotions"] == (False, "unsubscribe")


@pytest.mark.on("sqlite")
@pytest.mark.parametrize("kind", [Kind.UNSUBSCRIBE, Kind.PREFERENCES])
def test_a_link_of_a_run_that_was_forgotten_works(client: Client, store: Store, sent: int, kind: Kind) -> None:
    with store.write() as connection:
        connection.execute(update(run).values(state=RunState.DONE, finished_at=NOW, closes_at=NOW))
    assert forget_messages(store, NOW + timedelta(days=101), timedelta(days=100)) == 1
    body = b"" if kind is Kind.UNSUBSCRIBE else b"shown=email:promotions"
    assert client.request("POST", link(kind, sent), body, FORM).status == 200
    assert not agreed(store)["email", "promotions"][0]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"List-Unsubscribe=One-Click", "application/x-www-form-urlencoded"),
        (
            b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
        ),
        (b"", "application/x-www-form-urlencoded"),
        (b"\xff\xfe nonsense", "text/plain"),
    ],
)
def test_one_click_withdraws_at_once_however_it_is_sent(
    client: Client, store: Store, sent: int, body: bytes, content_type: str
) -> None:
    answer = client.request("POST", link(Kind.UNSUBSCRIBE, sent), body, {"Content-Type": content_type})
    assert answer.status == 200
    assert "location" not in answer.headers
    assert agreed(store)["email", "promotions"] == (False, "unsubscribe")
    assert agreed(store)["sms", "promotions"] == (True, "app")


def test_repeating_it_changes_nothing_more(client: Client, store: Store, sent: int) -> None:
    for _ in range(4):
        assert client.request("POST", link(Kind.UNSUBSCRIBE, sent)).status == 200
    assert versions(store) == 3


def test_too_long_a_body_is_refused(client: Client, store: Store, sent: int) -> None:
    assert client.request("POST", link(Kind.UNSUBSCRIBE, sent), b"x" * 70_000, FORM).status == 413
    assert agreed(store)["email", "promotions"][0]


def test_a_preview_is_a_page_and_nobody_is_unsubscribed(client: Client, store: Store, sent: int) -> None:
    assert "This is a preview" in client.request("GET", link(Kind.UNSUBSCRIBE, 0)).body.decode()
    assert client.request("POST", link(Kind.UNSUBSCRIBE, 0)).status == 200
    assert client.request("POST", link(Kind.PREFERENCES, 0), b"everything=1", FORM).status == 200
    assert all(granted for granted, _ in agreed(store).values())
    assert refused(store) == set()


@pytest.mark.parametrize("kind", [Kind.UNSUBSCRIBE, Kind.PREFERENCES])
def test_a_forged_link_is_a_page_that_says_so(client: Client, store: Store, sent: int, kind: Kind) -> None:
    other = Kind.PREFERENCES if kind is Kind.UNSUBSCRIBE else Kind.UNSUBSCRIBE
    forged = f"/{kind}/{LINKS.token(other, sent)}"
    for method in ("GET", "POST"):
        answer = client.request(method, forged)
        assert answer.status == 404
        assert b"does not work" in answer.body
    assert all(granted for granted, _ in agreed(store).values())


@pytest.mark.parametrize(
    ("locale", "query", "header", "words"),
    [
        ("zh-CN", "", "en-US,en;q=0.9", "退订"),
        (None, "", "zh-CN,zh;q=0.9", "退订"),
        (None, "", "fr-FR,fr", "Unsubscribe"),
        ("zh", "?lang=en", "zh", "Unsubscribe"),
        ("en", "?lang=zh", "", "退订"),
        ("en", "?lang=<script>", "", "Unsubscribe"),
    ],
)
def test_the_page_speaks_their_language(
    client: Client, store: Store, sent: int, locale: str | None, query: str, header: str, words: str
) -> None:
    with store.write() as connection:
        connection.execute(update(users).values(locale=locale))
    answer = client.request("GET", link(Kind.UNSUBSCRIBE, sent) + query, headers={"Accept-Language": header})
    page = answer.body.decode()
    assert words in page
    assert "<script>" not in page
    assert answer.headers["content-language"] == ("zh" if words == "退订" else "en")


def form(*on: str, shown: tuple[str, ...] = ("email:promotions", "sms:promotions", "sms:recap")) -> bytes:
    return urlencode([("shown", name) for name in shown] + [("on", name) for name in on]).encode()


def test_the_preference_page_shows_what_holds_and_saves_what_is_chosen(client: Client, store: Store, sent: int) -> None:
    page = client.request("GET", link(Kind.PREFERENCES, sent)).body.decode()
    assert page.count(" checked") == 2
    assert "Recap" in page
    answer = client.request("POST", link(Kind.PREFERENCES, sent), form("sms:recap", "email:promotions"), FORM)
    assert answer.status == 200
    assert "Saved" in answer.body.decode()
    assert agreed(store) == {
        ("email", "promotions"): (True, "app"),
        ("sms", "promotions"): (False, "preferences"),
        ("sms", "recap"): (True, "preferences"),
    }


def test_what_the_page_did_not_show_is_left_alone(client: Client, store: Store, sent: int) -> None:
    body = form("push:else", "email:admin", shown=("sms:promotions", "push:else", "email:admin"))
    client.request("POST", link(Kind.PREFERENCES, sent), body, FORM)
    assert agreed(store) == {("email", "promotions"): (True, "app"), ("sms", "promotions"): (False, "preferences")}


def test_everything_is_everything_and_one_thing_can_come_back_alone(client: Client, store: Store, sent: int) -> None:
    client.request("POST", link(Kind.PREFERENCES, sent), b"everything=1", FORM)
    assert not any(granted for granted, _ in agreed(store).values())
    assert refused(store) == {"email", "sms"}
    client.clock.advance(HOUR)
    client.request("POST", link(Kind.PREFERENCES, sent), form("email:promotions"), FORM)
    assert agreed(store)["email", "promotions"][0]
    assert not agreed(store)["sms", "promotions"][0]
    assert refused(store) == {"sms"}


def test_after_stop_one_topic_comes_back_and_the_others_do_not(client: Client, store: Store, sent: int) -> None:
    with store.write() as connection:
        people.set_consent(connection, USER, "sms", "recap", granted=True, source="app", at=NOW - HOUR)
        people.suppress(connection, channel="sms", reason="stop", source="twilio", at=NOW, user_id=USER)
        people.suppress(connection, channel="sms", reason="stop", source="twilio", at=NOW, address="+4917012345678")
    assert client.request("GET", link(Kind.PREFERENCES, sent)).body.decode().count(" checked") == 1
    client.request("POST", link(Kind.PREFERENCES, sent), form("email:promotions", "sms:recap"), FORM)
    assert agreed(store)["sms", "recap"][0]
    assert not agreed(store)["sms", "promotions"][0]
    assert refused(store) == set()


def test_a_complaint_is_not_taken_back_by_a_tick(client: Client, store: Store, sent: int) -> None:
    with store.write() as connection:
        row = {"channel": "email", "user_id": USER, "reason": "complaint", "source": "smtp", "valid_from": NOW}
        connection.execute(insert(suppression).values(row))
        people.set_consent(connection, USER, "email", "promotions", granted=False, source="app", at=NOW - HOUR / 2)
    client.request("POST", link(Kind.PREFERENCES, sent), form("email:promotions"), FORM)
    assert refused(store) == {"email"}


def test_of_a_merged_user_it_is_the_others_consent(client: Client, store: Store, sent: int, world: World) -> None:
    from orchestrator.audience.merging import merge_users

    world.user(8)
    merge_users(store, "u-8", "u-7", client.clock, "test")
    client.clock.advance(HOUR)
    client.request("POST", link(Kind.UNSUBSCRIBE, sent))
    with store.read() as connection:
        now = connection.execute(
            select(consent.c.granted).where(
                consent.c.user_id == 8, consent.c.channel == "email", consent.c.valid_until.is_(None)
            )
        ).scalar()
    assert now is False
