"""Clicks and opens at the door: ours alone lead anywhere, and what was answered is on disk."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from orchestrator.content.links import TRAP, Kind, Links, number_of
from orchestrator.store import Store
from orchestrator.store.tables import event, link
from orchestrator.web.links import PIXEL
from tests.tracking.world import World
from tests.web.server import LINKS, Answer, Client

URL = "https://shop.example/menu?coupon=5&u=1"
BROWSER = {
    "User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19 Safari/604.1"
}


def path(kind: Kind, message: int, index: int = 0) -> str:
    return f"/{kind}/{LINKS.token(kind, message, index)}" + (".gif" if kind is Kind.OPEN else "")


def remember(store: Store, url: str = URL) -> int:
    with store.write() as connection:
        connection.execute(insert(link).values(id=number_of(url), url=url))
    return number_of(url)


def events(store: Store) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(event).order_by(event.c.id)))


@pytest.fixture
def sent(world: World) -> int:
    world.run()
    return world.message(1, world.user(7))


def test_a_click_goes_where_the_link_led_and_is_kept(client: Client, store: Store, sent: int) -> None:
    answer = client.request("GET", path(Kind.CLICK, sent, remember(store)), headers=BROWSER)
    assert answer.status == 302
    assert answer.headers["location"] == URL
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    (kept,) = events(store)
    assert (kept.name, kept.message_id, kept.user_id) == ("link_clicked", sent, 7)
    assert kept.properties["link"] == "https://shop.example/menu"
    assert kept.properties["ua"] == "safari"
    assert kept.properties["network"] == "127.0.0.0/24"
    assert kept.properties["confidence"] in {"human", "suspect"}
    assert "127.0.0.1" not in str(kept)


def test_a_click_on_an_address_that_is_not_ascii_leads_there_too(client: Client, store: Store, sent: int) -> None:
    number = remember(store, "https://shop.example/菜单/a%20b?q=1&dish=饺子#今天")
    answer = client.request("GET", path(Kind.CLICK, sent, number), headers=BROWSER)
    assert answer.status == 302
    escaped = "https://shop.example/%E8%8F%9C%E5%8D%95/a%20b?q=1&dish=%E9%A5%BA%E5%AD%90#%E4%BB%8A%E5%A4%A9"
    assert answer.headers["location"] == escaped
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert len(events(store)) == 1


def test_head_leads_on_and_never_counts(client: Client, store: Store, sent: int) -> None:
    assert client.request("HEAD", path(Kind.CLICK, sent, remember(store)), headers=BROWSER).status == 302
    assert client.request("HEAD", path(Kind.OPEN, sent), headers=BROWSER).status == 200
    assert events(store) == []


def test_an_open_is_a_picture_and_an_event(client: Client, store: Store, sent: int) -> None:
    answer = client.request("GET", path(Kind.OPEN, sent), headers=BROWSER)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, PIXEL, "image/gif")
    (kept,) = events(store)
    assert (kept.name, kept.message_id) == ("message_opened", sent)


def test_the_same_visitor_twice_in_a_second_is_one_hit(client: Client, store: Store, sent: int) -> None:
    for _ in range(5):
        client.request("GET", path(Kind.OPEN, sent), headers=BROWSER)
    assert len(events(store)) == 1


def test_the_hidden_link_leads_nowhere_and_tells_a_machine(client: Client, store: Store, sent: int) -> None:
    assert client.request("GET", path(Kind.CLICK, sent, TRAP), headers=BROWSER).status == 404
    number = remember(store)
    client.request("GET", path(Kind.CLICK, sent, number), headers=BROWSER)
    assert [one.properties["confidence"] for one in events(store)] == ["machine", "machine"]


def test_of_a_preview_links_work_and_nothing_is_kept(client: Client, store: Store) -> None:
    assert client.request("GET", path(Kind.CLICK, 0, remember(store)), headers=BROWSER).headers["location"] == URL
    assert client.request("GET", path(Kind.OPEN, 0), headers=BROWSER).status == 200
    assert events(store) == []


def test_of_a_message_that_is_gone_the_link_still_works(client: Client, store: Store) -> None:
    assert client.request("GET", path(Kind.CLICK, 99 << 40 | 16, remember(store)), headers=BROWSER).status == 302
    assert events(store) == []


@pytest.mark.parametrize(
    "target",
    [
        "/c/{other}", "/c/{foreign}", "/c/{unknown}", "/c/{opened}", "/c/{short}", "/c/https://evil.example",
        "/c/..%2f", "/c/{other}?url=https://evil.example", "/c/%00", "/o/{clicked}.gif", "/c/" + "A" * 44,
        "/c/" + "A" * 5000,
    ],
)  # fmt: skip
def test_nothing_else_leads_anywhere(client: Client, store: Store, sent: int, target: str) -> None:
    number = remember(store)
    genuine = LINKS.token(Kind.CLICK, sent, number)
    tokens = {
        "other": genuine[:-1] + ("A" if genuine[-1] != "A" else "B"),
        "foreign": Links(LINKS.public_url, b"x" * 32).token(Kind.CLICK, sent, number),
        "unknown": LINKS.token(Kind.CLICK, sent, number + 1),
        "opened": LINKS.token(Kind.OPEN, sent),
        "clicked": genuine,
        "short": genuine[:-1],
    }
    refused(client.request("GET", target.format(**tokens), headers=BROWSER))
    assert events(store) == []


def refused(answer: Answer) -> None:
    assert answer.status in {400, 404}
    assert "location" not in answer.headers


@pytest.mark.parametrize("url", ["javascript:alert(1)", "http://plain.example/", "//evil.example", "data:text/html,x"])
def test_a_target_of_another_scheme_is_never_followed(client: Client, store: Store, sent: int, url: str) -> None:
    refused(client.request("GET", path(Kind.CLICK, sent, remember(store, url)), headers=BROWSER))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 43), letter=st.sampled_from("ABCXYZabcxyz0189-_"), kind=st.sampled_from(["c", "u", "p"]))
def test_no_mutation_of_a_token_is_taken(client: Client, sent: int, place: int, letter: str, kind: str) -> None:
    genuine = LINKS.token(Kind(kind), sent)
    forged = genuine[:place] + letter + genuine[place + 1 :]
    if forged != genuine:
        refused(client.request("GET", f"/{kind}/{forged}"))
