"""Signed links: only ours are read, and only for what they were made for (R23)."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.base import EmailPayload, PushPayload, SmsPayload
from orchestrator.content.links import TRAP, Kind, Links, Token, number_of

LINKS = Links("https://push.example.com", b"k" * 32)
IDS = st.integers(0, (1 << 63) - 1)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@given(st.sampled_from(Kind), IDS, IDS)
def test_a_token_says_what_was_put_in_and_only_for_its_purpose(kind: Kind, message: int, index: int) -> None:
    token = LINKS.token(kind, message, index)
    assert len(token) == 44
    assert LINKS.read(kind, token) == Token(message, index)
    assert all(LINKS.read(other, token) is None for other in Kind if other is not kind)
    assert Links(LINKS.public_url, b"K" * 32).read(kind, token) is None


@given(st.sampled_from(Kind), IDS, IDS)
def test_a_token_is_sealed_by_an_hmac_over_its_kind_and_body(kind: Kind, message: int, index: int) -> None:
    """Mails of earlier releases lie in mailboxes for years: their links have to go on working."""
    body = b"\1" + message.to_bytes(8, "big") + index.to_bytes(8, "big")
    seal = hmac.digest(b"k" * 32, kind.encode() + b"\0" + body, "sha256")[:16]
    assert LINKS.token(kind, message, index) == urlsafe_b64encode(body + seal).decode()


@given(IDS, st.integers(0, 43), st.sampled_from(LETTERS))
def test_one_changed_letter_is_a_forgery(message: int, place: int, letter: str) -> None:
    token = LINKS.token(Kind.UNSUBSCRIBE, message)
    forged = token[:place] + letter + token[place + 1 :]
    assert forged == token or LINKS.read(Kind.UNSUBSCRIBE, forged) is None


@given(st.text(max_size=60) | st.text(LETTERS + "=+/.%", min_size=40, max_size=48))
def test_what_we_did_not_make_says_nothing(text: str) -> None:
    assert all(LINKS.read(kind, text) is None for kind in Kind)


@pytest.mark.parametrize(
    "change", [lambda t: t + "=", lambda t: t[:-1], lambda t: t + "A", lambda t: f" {t}", str.lower]
)
def test_there_is_one_way_to_write_a_token(change: object) -> None:
    token = LINKS.token(Kind.CLICK, 77, 5)
    assert LINKS.read(Kind.CLICK, change(token)) is None  # type: ignore[operator]


def test_a_key_has_to_be_long_and_is_never_shown() -> None:
    with pytest.raises(ValueError, match="too short"):
        Links("https://x.example", b"short")
    assert "kkkk" not in repr(LINKS)


def test_a_mails_links_lead_through_us_and_its_own_do_not() -> None:
    own = LINKS.facts(9)["unsubscribe_url"]
    html = (
        '<html><head><link href="https://fonts.example/f.css" rel="stylesheet"></head><body>'
        f'<a href="https://a.example/?x=1&amp;y=2">a</a><a href="app://menu">b</a><a href="{own}">u</a></body></html>'
    )
    text = f"See https://a.example/?x=1&y=2. 点这里https://b.example/z。 {own}"
    made = LINKS.track(EmailPayload("s", text, html), 9)
    assert isinstance(made.payload, EmailPayload)
    assert set(made.targets.values()) == {"https://a.example/?x=1&y=2", "https://b.example/z"}
    click = LINKS.address(Kind.CLICK, 9, number_of("https://a.example/?x=1&y=2"))
    assert f'<a href="{click}">a</a>' in made.payload.html
    assert '<a href="app://menu">' in made.payload.html
    assert 'href="https://fonts.example/f.css"' in made.payload.html
    assert f'<a href="{own}">' in made.payload.html
    assert LINKS.address(Kind.OPEN, 9) in made.payload.html
    assert LINKS.address(Kind.CLICK, 9, TRAP) in made.payload.html
    assert made.payload.text.startswith(f"See {click}. 点这里https://push.example.com/c/")
    assert made.payload.text.endswith(f"。 {own}")
    assert made.payload.unsubscribe == own


@pytest.mark.parametrize(
    "payload", [SmsPayload("see https://a.example"), PushPayload("t", "b", link="https://a.example")]
)
def test_other_channels_are_left_as_they_are(payload: SmsPayload | PushPayload) -> None:
    made = LINKS.track(payload, 9)
    assert made.payload is payload
    assert not made.targets


@given(st.text(max_size=200))
def test_any_html_can_be_tracked_and_no_target_has_another_scheme(html: str) -> None:
    made = LINKS.track(EmailPayload("s", html, html), 1)
    assert all(url.startswith("https://") for url in made.targets.values())


def test_in_chinese_text_a_link_ends_where_the_words_go_on() -> None:
    html = '<body><a href="https://shop.cn/菜单">看</a></body>'
    text = "看 (https://shop.cn/菜单)，或打开https://shop.cn/b?x=1查看"
    tracked = LINKS.track(EmailPayload("s", text, html), 5)
    assert set(tracked.targets.values()) == {"https://shop.cn/菜单", "https://shop.cn/b?x=1"}
    assert isinstance(tracked.payload, EmailPayload)
    assert tracked.payload.text.endswith("查看")


@given(
    st.text("x ") | st.lists(st.sampled_from(["</body>", "</BODY>", "</body \n>", "</bodyx>", "x", "</"])).map("".join)
)
def test_the_pixel_stands_before_the_last_end_of_the_body_however_that_is_written(html: str) -> None:
    ends = [found.start() for found in re.finditer(r"</body\s*>", html, re.IGNORECASE)]
    place = ends[-1] if ends else len(html)
    made = LINKS.track(EmailPayload("s", "t", html), 9).payload
    assert isinstance(made, EmailPayload)
    assert made.html.startswith(html[:place] + "<a ")
    assert made.html.endswith('style="display:block">' + html[place:])
