"""The link of a confirmation mail: GET confirms nothing, POST once and for all, and no other link will do."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from orchestrator.content.links import Kind
from orchestrator.store import Store
from orchestrator.store.tables import consent, lane, opt_in, users
from tests.tracking.world import World
from tests.web import server
from tests.web.server import KEY, LINKS, Client


@pytest.fixture(autouse=True)
def _asked(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = replace(server.TOPICS["promotions"], double_opt_in=("email",))
    monkeypatch.setitem(server.TOPICS, "promotions", topic)


def path(number: int = 1, kind: Kind = Kind.CONFIRM) -> str:
    return f"/confirm/{LINKS.token(kind, number)}"


def agree(client: Client, **more: object) -> None:
    said = {"user": "u-7", "channel": "email", "topic": "promotions", "granted": True, **more}
    body = json.dumps({"consents": [said]}).encode()
    answer = client.request("POST", "/v1/consents", body, {"Authorization": f"Bearer {KEY}"})
    assert answer.status == 202, answer.body


def granted(store: Store) -> list[tuple[bool, str]]:
    with store.read() as connection:
        current = select(consent.c.granted, consent.c.source).where(consent.c.valid_until.is_(None))
        return [tuple(row) for row in connection.execute(current)]


def test_get_confirms_nothing_and_post_does_once(client: Client, store: Store) -> None:
    agree(client)
    for method in ("GET", "HEAD", "GET"):
        assert client.request(method, path()).status == 200
    page = client.request("GET", path())
    assert '<form method="post"' in page.body.decode()
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert granted(store) == []
    for _ in range(3):
        assert "confirmed" in client.request("POST", path()).body.decode()
        client.clock.advance(timedelta(hours=1))
    assert granted(store) == [(True, "double opt-in")]
    with store.read() as connection:
        assert len(connection.execute(select(consent)).all()) == 1


def test_confirmed_elsewhere_is_a_consent(client: Client, store: Store) -> None:
    agree(client, confirmed=True)
    assert granted(store) == [(True, "api")]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.CONFIRM])
def test_links_of_other_purposes_and_forged_ones_lead_nowhere(client: Client, store: Store, kind: Kind) -> None:
    agree(client)
    own = LINKS.token(Kind.CONFIRM, 1)
    bad = [path(kind=kind), f"/confirm/{own[:-2]}AA", "/confirm/x", path(2), f"/u/{own}", f"/p/{own}", f"/c/{own}"]
    for one in bad:
        assert client.request("GET", one).status == 404
        assert client.request("POST", one).status in {404, 405}
    assert granted(store) == []


def test_an_old_link_says_so(client: Client, store: Store) -> None:
    agree(client)
    client.clock.advance(timedelta(days=31))
    for method in ("GET", "POST"):
        answer = client.request(method, path())
        assert answer.status == 410
        assert "no longer holds" in answer.body.decode()
    assert granted(store) == []


def test_it_speaks_their_language_and_a_preview_is_nobodys(client: Client, store: Store) -> None:
    agree(client)
    with store.write() as connection:
        connection.execute(update(users).values(locale="zh-CN"))
    assert "优惠和红包" in client.request("GET", path()).body.decode()
    assert "preview" in client.request("POST", path(0) + "?lang=en").body.decode()
    assert granted(store) == []


def test_agreeing_on_the_preference_page_waits_too(client: Client, store: Store, world: World) -> None:
    world.run()
    world.phone(7, "+4917012345678")
    number = world.message(1, 7, account="mail")
    with store.write() as connection:
        connection.execute(update(lane).values(channel="email"))
    page = f"/p/{LINKS.token(Kind.PREFERENCES, number)}"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.request("POST", page, b"shown=email:promotions&on=email:promotions", form)
    assert "Waits for you" in answer.body.decode()
    assert granted(store) == []
    client.clock.advance(timedelta(hours=1))
    client.request("POST", page, b"everything=1", form)
    with store.read() as connection:
        assert connection.execute(select(opt_in.c.ended_at)).scalar() is not None
    assert client.request("POST", path()).status == 410
