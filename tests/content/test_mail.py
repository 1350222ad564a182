"""Mail templates: MJML and HTML compiled once, tags in place, escaping where HTML is, problems with their lines."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from orchestrator.channel.base import EmailPayload
from orchestrator.content.markup import CLIPPED_BYTES
from orchestrator.content.templates import TemplateSet, warnings
from orchestrator.errors import RenderError, SkipMessage

UNSUBSCRIBE = "https://push.example.com/u/abc"
FOOT = '<a href="{{ unsubscribe_url }}">Unsubscribe</a>'
MJML = f"""subject: Hi {{{{ user.name }}}} & friends
preheader: {{{{ user.dish|default("ramen") }}}} < 5 € today

{{# a note #}}
{{% if user.orders == 0 %}}{{{{ skip("never ordered") }}}}{{% endif %}}
<mjml><mj-head><mj-style>.x {{ color: red; }}</mj-style></mj-head><mj-body>
<mj-section><mj-column>
<mj-text>Hello {{{{ user.name }}}}, {{% if user.orders > 3 %}}<b>VIP</b>{{% else %}}new{{% endif %}} &amp; all</mj-text>
{{% for dish in user.dishes %}}<mj-text>{{{{ loop.index }}}}: {{{{ dish }}}}</mj-text>{{% endfor %}}
<mj-button href="https://shop.example/d?q={{{{ user.dish|urlencode }}}}&amp;x=1">Order</mj-button>
<mj-text><a class="x" href="app://menu">open the app</a> {FOOT}</mj-text>
</mj-column></mj-section></mj-body></mjml>
"""


def mail(body: str, head: str = "subject: S", **files: str) -> TemplateSet:
    return TemplateSet({"m/email.en.j2": f"{head}\n\n{body}", **files})


def facts(**user: Any) -> dict[str, Any]:
    known = {"id": "u1", "name": "Ann", "orders": 5, "dishes": ["pho", "ra&men"], "dish": "ramen & co", **user}
    return {"user": known, "campaign": {"name": "c", "title": "t"}, "unsubscribe_url": UNSUBSCRIBE}


def render(templates: TemplateSet, **user: Any) -> EmailPayload:
    made = templates.render("m", "email", "en", facts(**user))
    assert isinstance(made, EmailPayload)
    return made


def links(html: str) -> list[str]:
    found: list[str] = []

    class Reader(HTMLParser):
        @override
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(value or "" for name, value in attrs if tag == "a" and name == "href")

    Reader().feed(html)
    return found


def test_mjml_with_loops_and_conditions_becomes_html_with_inlined_css_and_a_text_part() -> None:
    made = render(TemplateSet({"m/email.en.j2": MJML}))
    assert made.subject == "Hi Ann & friends"
    assert "<mj" not in made.html
    assert made.html.count("<b>VIP</b>") == 1
    assert "1: pho" in made.html
    assert "2: ra&amp;men" in made.html
    assert 'style="color: red;"' in made.html
    assert "@media" in made.html
    assert "ramen &amp; co &lt; 5 €" in made.html
    assert links(made.html) == ["https://shop.example/d?q=ramen%20%26%20co&x=1", "app://menu", UNSUBSCRIBE]
    assert "Hello Ann, VIP & all" in made.text
    assert "2: ra&men" in made.text
    assert f"Unsubscribe ({UNSUBSCRIBE})" in made.text
    assert "qz0jx" not in made.html + made.text


def test_a_block_leaves_whole_elements_out_and_skip_skips() -> None:
    templates = TemplateSet({"m/email.en.j2": MJML})
    assert "1:" not in render(templates, dishes=[]).html
    with pytest.raises(SkipMessage):
        render(templates, orders=0)


def test_html_is_escaped_and_nothing_else_is() -> None:
    made = render(
        mail(f"<html><body><p>{{{{ user.name }}}}</p>{FOOT}</body></html>", "subject: {{ user.name }}"), name="<b>&\"'"
    )
    assert "<p>&lt;b&gt;&amp;&#34;&#39;</p>" in made.html
    assert made.subject == "<b>&\"'"
    assert made.text.startswith("<b>&\"'")


@given(st.text(min_size=1, max_size=60).filter(lambda text: text.strip()))
def test_no_fact_can_make_an_element_or_leave_an_attribute(value: str) -> None:
    seen: list[tuple[str, tuple[str, ...]]] = []

    class Reader(HTMLParser):
        @override
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, tuple(name for name, _ in attrs)))

    templates = mail(f'<html><body><p title="{{{{ user.name }}}}">{{{{ user.name }}}}</p>{FOOT}</body></html>')
    try:
        html = render(templates, name=value).html
    except RenderError:
        return
    Reader().feed(html)
    assert [one for one in seen if one[0] not in {"html", "head", "body"}] == [("p", ("title",)), ("a", ("href",))]


def test_the_text_file_beside_it_is_the_text_part() -> None:
    templates = mail(f"<html>{FOOT}</html>", **{"m/email.en.txt.j2": "Plain {{ user.name }} & {{ unsubscribe_url }}"})
    assert templates.problems() == []
    assert render(templates).text == f"Plain Ann & {UNSUBSCRIBE}"


def test_a_text_file_alone_is_no_mail() -> None:
    (problem,) = TemplateSet({"m/email.zh.txt.j2": "x"}).problems()
    assert "without its mail" in problem.message
    assert "email.zh.j2" in problem.hint


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("preheader: a\n\n<p>", 1, "needs a subject"),
        ("subject: a\nsubject: b\n\n<p>", 2, "twice"),
        ("title: a\n\n<p>", 1, "unknown header"),
        (f"subject: a\n\n<html>\n{{{{ user.nam | uper }}}}{FOOT}</html>", 4, "unknown filter"),
        (f"subject: a\n\n<mjml><mj-body>\n<mj-text>x{FOOT}</mj-body></mjml>", 3, "MJML"),
        (f"subject: a\n\n<html>\n<script>x</script>{FOOT}</html>", 4, "no place in a mail"),
        (f'subject: a\n\n<html><p onclick="x">{FOOT}</p></html>', 3, "no place in a mail"),
        ("subject: a\n\n<html>\nHello</html>", 3, "no way to unsubscribe"),
        ("subject: a\n\njust words {{ unsubscribe_url }}", 3, "neither MJML nor HTML"),
        (f'subject: a\n\n<html><a href="http://x.example">x</a>{FOOT}</html>', 3, "no whole address"),
        (f'subject: a\n\n<html><a href="javascript:alert(1)">x</a>{FOOT}</html>', 3, "no whole address"),
        (f'subject: a\n\n<html><a href="/menu">x</a>{FOOT}</html>', 3, "no whole address"),
    ],
)
def test_problems_are_found_with_their_line(source: str, line: int, words: str) -> None:
    problems = TemplateSet({"m/email.en.j2": source}, root="templates").problems()
    assert problems, source
    assert problems[0].file == "templates/m/email.en.j2"
    assert problems[0].line == line, problems
    assert words in problems[0].message


def test_a_fault_while_rendering_names_the_line_of_the_source() -> None:
    templates = TemplateSet({"m/email.en.j2": MJML})
    with pytest.raises(RenderError, match=r"email.en.j2:9: dish is blank"):
        render(templates, dishes=["pho", None])


def test_an_unknown_fact_names_the_line_of_the_source() -> None:
    known = {"user.name", "user.dish", "user.orders"}
    (problem,) = TemplateSet({"m/email.en.j2": MJML}).problems(known)
    assert (problem.line, "user.dishes" in problem.message) == (9, True)


def test_a_link_made_of_facts_is_checked_when_it_is_made() -> None:
    templates = mail(f'<html><a href="{{{{ user.link }}}}">x</a>{FOOT}</html>')
    assert "https://ok.example/" in render(templates, link="https://ok.example/").html
    for bad in ("javascript:alert(1)", "http://x.example", "//x", "x", "data:text/html,x", "https://a b"):
        with pytest.raises(RenderError, match="whole address"):
            render(templates, link=bad)


def test_a_subject_stays_one_line() -> None:
    assert render(mail(f"<html>x{FOOT}</html>", "subject: {{ user.name }}"), name="a\r\nBcc: x").subject == "a Bcc: x"


def test_a_mail_that_gmail_would_cut_is_warned_of() -> None:
    assert warnings(render(mail(f"<html>{'word ' * 200}{FOOT}</html>"))) == []
    long = EmailPayload("s", "t", "x" * (CLIPPED_BYTES + 1))
    assert "102 KB" in warnings(long)[0]


def test_mjml_fetches_and_includes_nothing() -> None:
    body = f'<mjml><mj-body><mj-include path="/etc/passwd" /><mj-text>{FOOT}</mj-text></mj-body></mjml>'
    assert TemplateSet({"m/email.en.j2": f"subject: a\n\n{body}"}).problems()


def test_a_preheader_may_have_conditions_and_is_out_of_sight() -> None:
    head = "subject: S\npreheader: {% if user.orders > 3 %}<for you>{% else %}new{% endif %} & more"
    made = render(mail(f"<html><body>x{FOOT}</body></html>", head))
    assert "&lt;for you&gt; &amp; more" in made.html
    assert "for you" not in made.text


def test_the_language_of_the_file_is_the_documents() -> None:
    assert '<html lang="en"' in render(TemplateSet({"m/email.en.j2": MJML})).html


def test_validate_notes_a_template_that_is_too_long_for_gmail() -> None:
    sections = "<mj-section><mj-column><mj-text>x</mj-text></mj-column></mj-section>" * 200
    body = f"<mjml><mj-body>{sections}<mj-text>{FOOT}</mj-text></mj-body></mjml>"
    (note,) = mail(body).notes()
    assert "Gmail shows 102 KB" in note
    assert TemplateSet({"m/email.en.j2": MJML}).notes() == []
