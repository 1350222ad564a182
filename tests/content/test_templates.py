"""TemplateSet: choosing by locale, defaults, problems with file and line, and what reaches the payload."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.channel.base import PushPayload, SmsPayload
from orchestrator.content.templates import TemplateSet
from orchestrator.errors import RenderError, SkipMessage

CAMPAIGN = {"name": "winback", "title": "Win back"}


def facts(**user: Any) -> dict[str, Any]:
    return {"user": {"id": "u1", "name": "Anna", "locale": "en", "country": "DE", **user}, "campaign": CAMPAIGN}


def sms(text: str, defaults: str = "") -> TemplateSet:
    files = {"m/sms.en.j2": text}
    return TemplateSet({**files, "m/defaults.yaml": defaults} if defaults else files)


def body(templates: TemplateSet, locale: str = "en", **user: Any) -> str:
    return templates.render("m", "sms", locale, facts(**user)).body  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("locale", "expected"),
    [
        ("zh-CN", "cn"), ("zh_CN", "cn"), ("zh-Hans-CN", "zh"), ("zh-TW", "zh"), ("zh", "zh"), ("en-GB", "en"),
        ("fr", "en"), ("", "en"), ("no locale at all", "en"), ("x" * 10_000_000, "en"),
    ],
)  # fmt: skip
def test_locale_falls_back(locale: str, expected: str) -> None:
    templates = TemplateSet({f"m/sms.{tag}.j2": tag[-2:].lower() for tag in ("zh", "zh-CN", "en", "de")})
    assert body(templates, locale) == expected


def test_locale_falls_back_to_the_default_then_to_any_then_to_the_first() -> None:
    assert body(TemplateSet({"m/sms.ja.j2": "ja", "m/sms.de.j2": "de"}, default_locale="ja"), "fr") == "ja"
    assert body(TemplateSet({"m/sms.ja.j2": "ja", "m/sms.j2": "any"}), "fr") == "any"
    assert body(TemplateSet({"m/sms.ja.j2": "ja", "m/sms.de.j2": "de"}), "fr") == "de"


def test_push_has_headers_and_body() -> None:
    source = "{# note #}\ntitle: Hi {{ user.name }}\nlink: app://menu?u={{ user.id|urlencode }}\n\nLine 1\n\nLine: 2\n"
    payload = TemplateSet({"m/push.j2": source}).render("m", "push", "en", facts())
    assert payload == PushPayload("Hi Anna", "Line 1\n\nLine: 2", link="app://menu?u=u1")


def test_a_fact_cannot_break_a_header_or_carry_controls() -> None:
    templates = TemplateSet({"m/push.j2": "title: Hi {{ user.name }}\n\n{{ user.name }}"})
    payload = templates.render("m", "push", "en", facts(name="A\r\nlink: app://evil\u202e\x00"))
    assert payload == PushPayload("Hi A link: app://evil", "A\nlink: app://evil")


@pytest.mark.parametrize("link", ["javascript:alert(1)", "menu", "app://a b", "data:text/html,x", "//x"])
def test_a_link_has_to_be_whole(link: str) -> None:
    templates = TemplateSet({"m/push.j2": "title: t\nlink: {{ user.link }}\n\nb"})
    with pytest.raises(RenderError, match=r"m/push\.j2: link has to be"):
        templates.render("m", "push", "en", facts(link=link))


def test_facts_are_text_and_never_run() -> None:
    assert body(sms("{{ user.name }}"), name="{{ 7*7 }}{% raw %}") == "{{ 7*7 }}{% raw %}"


def test_nothing_is_escaped_or_collapsed() -> None:
    assert body(sms("{{ user.name }}  &  <b>\n\nx"), name="A & <B>") == "A & <B>  &  <b>\n\nx"


@pytest.mark.parametrize("value", [None, "", "  ", "missing"])
def test_a_blank_fact_falls_back_to_its_default(value: str | None) -> None:
    user: dict[str, Any] = {} if value == "missing" else {"dish": value}
    templates = sms("{{ user.dish }}", "user.dish: {en: your usual, zh: 老味道}\n")
    assert body(templates, **user) == "your usual"


@pytest.mark.parametrize("value", [None, "", "  ", "missing"])
def test_a_blank_fact_without_default_is_an_error(value: str | None) -> None:
    user: dict[str, Any] = {} if value == "missing" else {"dish": value}
    with pytest.raises(RenderError, match=r"m/sms.en.j2:2: user.dish .*no default"):
        body(sms("a\n{{ user.dish|upper }}"), **user)


def test_a_blank_fact_may_be_tested() -> None:
    templates = sms("{% if user.dish %}{{ user.dish }}{% else %}menu{% endif %}")
    assert body(templates, dish=None) == "menu"
    assert body(templates, dish="soup") == "soup"


def test_zero_is_a_value() -> None:
    assert body(sms("{{ user.points }}", "user.points: 5"), points=0) == "0"


def test_the_default_follows_the_template_not_the_reader() -> None:
    templates = sms("{{ user.dish }}", "user.dish: {en: your usual, fr: votre plat}")
    assert body(templates, "fr") == "your usual"


def test_the_nearest_defaults_win_and_the_facts_given_stay() -> None:
    files = {"defaults.yaml": "user.dish: root\nuser.a.b: deep", "c/defaults.yaml": "user.dish: near"}
    templates = TemplateSet({**files, "c/m/sms.j2": "{{ user.dish }} {{ user.a.b }}"})
    given = facts()
    assert templates.render("c/m", "sms", "en", given) == SmsPayload("near deep")
    assert given == facts()


def test_skip_drops_the_message_with_its_reason() -> None:
    templates = sms('{% if user.orders == 0 %}{{ skip("never ordered") }}{% endif %}\nHi')
    assert body(templates, orders=2) == "Hi"
    with pytest.raises(SkipMessage) as caught:
        body(templates, orders=0)
    assert caught.value.message == "never ordered"


@pytest.mark.parametrize("source", ["{% if false %}x{% endif %}", "{{ user.name|replace('Anna', ' ') }}"])
def test_an_empty_message_is_an_error(source: str) -> None:
    with pytest.raises(RenderError, match="empty"):
        body(sms(source))
    with pytest.raises(RenderError, match="empty"):
        TemplateSet({"m/push.j2": "title: {{ '' }}\n\n" + source}).render("m", "push", "en", facts())


@pytest.mark.parametrize(
    "value", [object(), {1}, b"x", lambda: 1, ["a", "b"], {"a": 1}, True, float("nan"), "x" * 10_000_000]
)
def test_only_plain_facts_of_bounded_size_are_printed(value: object) -> None:
    with pytest.raises(RenderError, match=r"m/sms.en.j2:1: "):
        body(sms("{{ user.dish }}"), dish=value)


def test_errors_hold_no_values() -> None:
    templates = sms("x\n{% if user.name > 3 %}a{% endif %}")
    with pytest.raises(RenderError) as caught:
        body(templates, name="secret-name")
    assert "m/sms.en.j2:2" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_undefined_name_in_a_condition_is_named() -> None:
    with pytest.raises(RenderError, match=r"m/sms.en.j2:1: 'vip' has no value"):
        body(sms("{% if user.vip > 3 %}a{% endif %}"))


def test_a_line_in_a_push_body_is_the_file_s_line() -> None:
    templates = TemplateSet({"m/push.j2": "title: a\nlink: app://x\n\nb\n{{ user.gone }}"})
    with pytest.raises(RenderError, match=r"m/push.j2:5: user.gone"):
        templates.render("m", "push", "en", facts())


def test_all_problems_with_file_line_field_and_hint() -> None:
    files = {
        "m/push.en.j2": "title: {{ user.name|uper }}\nlnk: x\n\n{% for %}",
        "m/pusj.en.j2": "x",
        "m/sms.en.j2": "a\n{{ usr.name }}\n{{ user.name.__class__ }}",
        "m/notes.txt": "x",
        "m/defaults.yaml": "user.name: {en: there}\nname: x\nuser.b: ''\n",
    }
    found = [str(problem) for problem in TemplateSet(files, root="templates").problems()]
    assert found == [
        "templates/m/defaults.yaml:2: name: is no fact (facts are written user.name, campaign.title or trigger.item)",
        "templates/m/defaults.yaml:3: user.b: has no value (give a text or number that is not blank)",
        "templates/m/notes.txt: is no template (templates end in .j2, defaults stand in defaults.yaml)",
        "templates/m/push.en.j2:1: title: unknown filter 'uper' (did you mean 'upper'?)",
        "templates/m/push.en.j2:2: lnk: unknown header (did you mean 'link'?)",
        "templates/m/push.en.j2:4: Expected an expression, got 'end of statement block'",
        "templates/m/pusj.en.j2: unknown channel 'pusj' (did you mean 'push'?)",
        "templates/m/sms.en.j2:2: unknown name 'usr' (did you mean 'user'?)",
        "templates/m/sms.en.j2:3: names that begin with '_' are not available",
    ]


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("Hello\n\nbody", 1, "is no header line"),
        ("link: app://x\n\nbody", 1, "needs a title"),
        ("title: a\ntitle: b\n\nbody", 2, "twice"),
        ("title: a\nbody at once", 2, "is no header line"),
        ("", 0, "is empty"),
        ("title: a\n\n" + "x" * 65536, 0, "larger than 64 KB"),
    ],
)
def test_problems_of_a_push_file_s_layout(source: str, line: int, words: str) -> None:
    [problem] = TemplateSet({"m/push.j2": source}).problems()
    assert problem.line == line
    assert words in problem.message


def test_a_message_with_problems_is_not_rendered() -> None:
    with pytest.raises(RenderError, match="cannot be used"):
        body(sms("{{ 1 ** 2 }}"))


def test_names_that_nothing_provides() -> None:
    source = "{{ user.nmae }} {{ user.dish }} {{ user.vip|default('x') }} {{ user.address.city }}\n{{ campaign.titel }}"
    templates = sms(source, "user.dish: soup")
    assert [problem.message for problem in templates.problems()] == ["no fact 'campaign.titel', and no default"]
    found = templates.problems({"user.name", "user.address"})
    assert [(problem.line, problem.hint) for problem in found] == [
        (1, "did you mean 'user.name'?"),
        (2, "did you mean 'campaign.title'?"),
    ]


def test_a_default_for_another_language_does_not_provide() -> None:
    [problem] = sms("{{ user.dish }}", "user.dish: {zh: 老味道}").problems(set())
    assert "user.dish" in problem.message


def test_names_locales_and_missing() -> None:
    templates = TemplateSet(
        {"m/sms.en.j2": "{{ user.name }}{% if user.a.b %}{% endif %}", "m/sms.zh.j2": "{{ campaign.title }}"}
    )
    assert templates.names("m", "sms") == {"user.name", "user.a.b", "campaign.title"}
    assert templates.locales("m", "sms") == ["en", "zh"]
    assert templates.missing("m", "sms") is None
    assert templates.missing("m", "push") == ("'m' has no push template", "it has sms; write push.en.j2")
    assert templates.missing("mm", "sms") == ("no message 'mm'", "did you mean 'm'?")
    with pytest.raises(RenderError, match="no message"):
        templates.render("mm", "sms", "en", facts())
