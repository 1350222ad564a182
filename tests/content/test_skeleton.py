"""A mail by its skeleton is, letter for letter, the mail whose whole text was cleaned, checked and tracked."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.base import EmailPayload
from orchestrator.content import skeleton
from orchestrator.content.links import Links, Tracked, Tracking
from orchestrator.content.templates import TemplateSet
from orchestrator.errors import RenderError
from tests.content.test_mail import FOOT, MJML, mail

LINKS = Links("https://push.example.com", b"k" * 32)
MESSAGE = 7 << 40 | 9 << 4 | 1
SHOP = '<a class="x" href="https://shop.example/?a=1&amp;b=2">shop</a>'
PLAIN: dict[str, TemplateSet] = {
    "mjml": TemplateSet({"m/email.en.j2": MJML}),
    "words": mail(f"<html><body><p>Hi {{{{ user.name }}}}, look: {SHOP}</p>{FOOT}</body></html>"),
    "no body": mail(f"<p>Hi {{{{ user.name }}}}!</p>{SHOP} {FOOT}."),
    "in an address": mail(f'<p><a href="https://shop.example/d?q={{{{ user.name|urlencode }}}}">x</a> {FOOT}</p>'),
    "an address": mail(f'<p><a href="{{{{ user.name }}}}">x</a> {{{{ user.dish }}}} {FOOT}</p>'),
    "another attribute": mail(f'<p title="{{{{ user.name }}}}">x <a href="app://menu">y</a> {FOOT}</p>'),
    "behind an address": mail(f'<p><a href="https://a.example/" title="{{{{ user.name }}}}">x</a> {FOOT}</p>'),
    "beside an address": mail(f"<p>https://b.example/{{{{ user.name }}}} or https://c.example/x. {FOOT}</p>"),
    "chinese": mail(
        f'<p>打开https://d.example/x看，{{{{ user.name }}}}<a href="https://d.example/菜">看</a> {FOOT}</p>'
    ),
    "loop": mail(f"<p>{{% for dish in user.dishes %}}<b>{{{{ dish }}}}</b>\n{{% endfor %}}{SHOP} {FOOT}</p>"),
    "condition": mail(f"<p>{{% if user.orders > 3 %}}{SHOP}{{% else %}}{{{{ user.name }}}}{{% endif %}} {FOOT}</p>"),
    "tabs": mail(f"<html>\n\t<body>\n\t<p>Hi\t{{{{ user.name }}}}</p>\t{FOOT}\n\t</body>\n</html>\n"),
    "at both ends": mail(
        f"<p>x {FOOT}</p>", **{"m/email.en.txt.j2": "{{ user.name }} {{ unsubscribe_url }} {{ user.dish }}"}
    ),
    "text of its own": mail(
        f"<p>{{{{ user.name }}}} {FOOT}</p>",
        **{"m/email.en.txt.j2": "Dear {{ user.name }},\nhttps://e.example/{{ user.dish }}\n{{ unsubscribe_url }} bye"},
    ),
}
"""Where a skeleton is found."""
ODD: dict[str, TemplateSet] = {
    "before an address": mail(f'<p><a title="{{{{ user.name }}}}" href="https://a.example/">x</a> {FOOT}</p>'),
    "its own tag": mail(f'<p><{{{{ user.name }}}} href="https://a.example/">x {FOOT}</p>'),
    "tabs in text": mail(f"<p>x {FOOT}</p>", **{"m/email.en.txt.j2": "a\t{{ user.name }} {{ unsubscribe_url }} b"}),
    "direction": mail(f"<p>\u202ex {{{{ user.name }}}} {FOOT}</p>"),
}
"""Where there is none."""
WORDS = st.one_of(
    st.text(min_size=1, max_size=30),
    st.lists(
        st.sampled_from(
            [
                *(
                    "Ann",
                    " ",
                    "\n",
                    "\t",
                    "\r",
                    " \n ",
                    "\n\n\n",
                    "<",
                    ">",
                    '"',
                    "'",
                    "&",
                    "&amp;",
                    "=",
                    " href=",
                    "<a",
                ),
                *("https://", "http", "https://x.example/y", "s://", ".", ",", "。", "看", "\u202e", "\0", "é", "\xa0"),
                *("</body>", "</p>", ' href="https://evil.example/"', "app://x", "javascript:", "🙂", "\u2028", "%"),
            ]
        ),
        min_size=1,
        max_size=5,
    ).map("".join),
)


def facts(name: str, dish: str = "ramen", orders: int = 5, dishes: tuple[str, ...] = ("pho",)) -> dict[str, Any]:
    user = {"id": "u1", "name": name, "dish": dish, "orders": orders, "dishes": list(dishes)}
    return {"user": user, "campaign": {"name": "c", "title": "t"}, **LINKS.facts(MESSAGE)}


def long_way(templates: TemplateSet, known: dict[str, Any]) -> Tracked | str:
    try:
        return LINKS.track(templates.render("m", "email", "en", known), MESSAGE)
    except RenderError as error:
        return str(error)


def made(templates: TemplateSet, known: dict[str, Any]) -> Tracked | str:
    try:
        return templates.tracked("m", "email", "en", known, LINKS, MESSAGE)
    except RenderError as error:
        return str(error)


@pytest.mark.parametrize("name", [*PLAIN, *ODD])
@given(WORDS, WORDS, st.integers(1, 5), st.lists(WORDS, max_size=3))
def test_the_skeletons_mail_is_that_of_the_whole_text(
    name: str, words: str, dish: str, orders: int, dishes: list[str]
) -> None:
    templates = {**PLAIN, **ODD}[name]
    assert templates.problems() == []
    usual = facts("https://ok.example/x", orders=orders, dishes=("pho",) * len(dishes))
    odd = facts(words, dish, orders, tuple(dishes))
    for known in (usual, usual, usual, odd, odd, odd):
        assert made(templates, known) == long_way(templates, known)


def pieces(templates: TemplateSet, known: dict[str, Any]) -> Any:
    found = made(templates, known)
    assert isinstance(found, Tracked)
    assert isinstance(found.payload, EmailPayload)
    if found.payload.pieces is not None:
        assert tuple("".join(each) for each in found.payload.pieces) == (found.payload.text, found.payload.html)
    return found.payload.pieces


@pytest.mark.parametrize("name", PLAIN)
def test_a_shape_that_comes_up_again_has_a_skeleton(name: str) -> None:
    usual = facts("https://ok.example/x")
    for _ in range(2):
        made(PLAIN[name], usual)
    assert pieces(PLAIN[name], usual) is not None


@pytest.mark.parametrize("name", ODD)
def test_where_words_could_move_a_link_there_is_none(name: str) -> None:
    usual = facts("Ann")
    assert [pieces(ODD[name], usual) for _ in range(3)] == [None] * 3


def test_a_second_piece_is_a_persons_and_the_others_are_everybodys() -> None:
    for name in ("Ann", "Bob", "Cy"):
        made(PLAIN["words"], facts(name))
    (ann_text, ann), (bob_text, bob) = (pieces(PLAIN["words"], facts(name)) for name in ("Ann", "Bob"))
    assert (ann_text[::2], ann[::2]) == (bob_text[::2], bob[::2])
    assert ("Ann" in ann[1::2], "Bob" in bob[1::2]) == (True, True)
    assert not any("Ann" in piece for piece in (*ann[::2], *ann_text[::2]))


def test_shapes_without_end_are_not_all_kept() -> None:
    templates = mail(f"<p>{{% for dish in user.dishes %}}<b>{{{{ dish }}}}</b> {{% endfor %}}{FOOT}</p>")
    for length in range(300):
        known = facts("Ann", dishes=("pho",) * length)
        assert made(templates, known) == long_way(templates, known)
    outline = templates._chosen("m", "email", "en").outline
    assert outline is not None
    assert len(outline.html._known) <= 256


def test_skeletons_of_long_mails_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many shapes a mail has, what is kept of them is a few megabytes; and they are found again."""
    monkeypatch.setattr(skeleton, "_MOST_CHARACTERS", 100_000)
    long = "lunch " * 2_000
    templates = mail(f"<p>{long}{{% for dish in user.dishes %}}<b>{{{{ dish }}}}</b> {{% endfor %}}{FOOT}</p>")
    for length in range(30):
        known = facts("Ann", dishes=("pho",) * length)
        assert pieces(templates, known) is None
        assert pieces(templates, known) is not None
    outline = templates._chosen("m", "email", "en").outline
    assert outline is not None
    for shapes in (outline.html, outline.text):
        kept = [each for each in shapes._known.values() if isinstance(each, skeleton.Skeleton)]
        assert sum(len("".join(each.constants)) for each in kept) < 115_000


def test_one_long_word_costs_no_more_than_many_short_ones() -> None:
    """A template's author may write it; whoever sends is not to stand still for it."""
    long = "x" * 20_000
    began = time.thread_time()
    found = skeleton.text_skeleton(f"{long} \0 see(https://e.example/\0) {long}https://e.example/x, bye")
    assert time.thread_time() - began < 0.5
    assert found is not None
    made = found.fill(("Ann", "a?b"), Tracking(LINKS, MESSAGE))
    assert made is not None
    assert [piece[:27] for piece in made[1::2]] == ["Ann", "https://push.example.com/c/", "https://push.example.com/c/"]
