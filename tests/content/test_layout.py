"""Header lines per channel: what they become, and every way to write them wrongly, with line and fix."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.channel.base import PushPayload, SmsPayload
from orchestrator.content.templates import TemplateSet, warnings
from orchestrator.errors import RenderError

USER: dict[str, Any] = {"id": "u1", "name": "Ada", "locale": "zh", "country": "CN", "dish": "ramen"}


def made(channel: str, source: str, **user: Any) -> Any:
    facts = {"user": {**USER, **user}, "campaign": {"name": "c", "title": "C"}}
    return TemplateSet({f"m/{channel}.j2": source}).render("m", channel, "zh", facts)


def problems(channel: str, source: str) -> list[tuple[int, str]]:
    found = TemplateSet({f"m/{channel}.j2": source}).problems()
    return [(problem.line, f"{problem.field}: {problem.message} ({problem.hint})") for problem in found]


@pytest.mark.parametrize("channel", ["push", "inbox", "webhook"])
def test_a_notice_has_title_link_image_data_and_body(channel: str) -> None:
    source = (
        "title: Hi {{ user.name }}\nlink: app://menu\nimage: https://x.example/a.png\n"
        "{# for the app #}\nData.dish: {{ user.dish }}\ndata.Kind_2: lunch\n\nReady.\n"
    )
    wanted = PushPayload(
        "Hi Ada", "Ready.", "app://menu", "https://x.example/a.png", {"dish": "ramen", "Kind_2": "lunch"}
    )
    assert made(channel, source) == wanted


def test_data_that_is_empty_is_left_out() -> None:
    source = "title: t\ndata.dish: {% if user.dish == 'pho' %}pho{% endif %}\n\nb"
    assert made("push", source).data == {}


@pytest.mark.parametrize("channel", ["push", "inbox", "webhook", "email"])
def test_what_has_headers_needs_its_first(channel: str) -> None:
    needed = "subject" if channel == "email" else "title"
    other = "preheader: x" if channel == "email" else "link: app://x"
    [(line, said)] = problems(channel, f"{other}\n\nbody {{{{ unsubscribe_url }}}}")
    article = "an" if channel in {"email", "inbox"} else "a"
    assert line == 1
    assert said == f"{needed}: {article} {channel} needs a {needed} (begin the file with a line '{needed}: …')"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("titel: x", "titel: unknown header (did you mean 'title'?)"),
        ("data: x", "data: unknown header"),
        ("data.: x", "data.: is no name (like data.dish"),
        ("data.a.b: x", "data.a.b: is no name"),
        ("data.ä: x", "data.ä: is no name"),
        ("parameter.a: x", "parameter.a: unknown header"),
        ("data.ack: x", "data.ack: the name 'ack' is taken"),
        ("data.msg_id: x", "data.msg_id: the name 'msg_id' is taken"),
        ("data.google_x: x", "the name 'google_x' is taken"),
        ("data.x: 2", "data.x: stands twice in the file (keep one of them)"),
        ("nothing", ": is no header line, and no blank line came before it (write 'title: …' lines"),
    ],
)
def test_mistakes_in_headers_name_line_and_fix(line: str, said: str) -> None:
    [(number, found)] = problems("push", f"title: t\ndata.x: 1\n{line}\n\nbody")
    assert number == 3
    assert said in found


def test_an_sms_is_its_text_or_names_an_approved_template() -> None:
    assert made("sms", "Reminder: lunch, {{ user.name }}\n\nNow.") == SmsPayload("Reminder: lunch, Ada\n\nNow.")
    source = (
        "{# Aliyun #}\napproved: SMS_71390007\nparameter.customer: {{ user.name }}\nparameter.Dish: {{ user.dish }}\n\n"
        "【吃吧】{{ user.name }}，{{ user.dish }}好了。拒收请回复R\n"
    )
    wanted = SmsPayload("【吃吧】Ada，ramen好了。拒收请回复R", "SMS_71390007", {"customer": "Ada", "Dish": "ramen"})
    assert made("sms", source) == wanted
    assert made("sms", "approved: SMS_1\n\nx") == SmsPayload("x", "SMS_1")
    assert TemplateSet({"m/sms.zh.j2": source, "m/sms.en.j2": "x"}).approved("m") == ["SMS_71390007"]


@pytest.mark.parametrize(
    ("source", "line", "said"),
    [
        ("approved: SMS_1\naproved: x\n\nb", 2, "aproved: unknown header (did you mean 'approved'?)"),
        ("aproved: SMS_1\n\nb", 1, "aproved: unknown header (did you mean 'approved'?)"),
        ("aproved: SMS_1\nparameter.a: x\n\nb", 1, "aproved: unknown header"),
        ("parameter.a: x\n\nb", 1, "approved: an SMS with parameters needs an approved template"),
        ("approved: SMS_1\nparameter.1a: x\n\nb", 2, "parameter.1a: is no name"),
        ("approved: SMS_1\nparameter: x\n\nb", 2, "parameter: unknown header"),
        ("approved: SMS_1\nparameter.a: x\nparameter.a: y\n\nb", 3, "parameter.a: stands twice"),
        ("approved: {{ user.name }}\n\nb", 1, "approved: is no template's code (like SMS_71390007, without tags)"),
        ("approved:\n\nb", 1, "approved: is no template's code"),
        ("approved: SMS 1\n\nb", 1, "approved: is no template's code"),
        ("approved: SMS_1\nthe text\n\nb", 2, ": is no header line"),
        ("approved: SMS_1\nparameter.a: {{ user.name\n\nb", 2, "parameter.a: "),
    ],
)
def test_mistakes_in_an_approved_template_name_line_and_fix(source: str, line: int, said: str) -> None:
    [(number, found)] = problems("sms", source)
    assert number == line
    assert said in found


def test_the_text_is_needed_all_the_same() -> None:
    with pytest.raises(RenderError, match="the message is empty"):
        made("sms", "approved: SMS_1\nparameter.a: x\n")


@pytest.mark.parametrize(("value", "says"), [("x" * 501, "is longer than 500 characters"), (" \u200e", "is empty")])
def test_a_parameter_is_neither_empty_nor_endless(value: str, says: str) -> None:
    with pytest.raises(RenderError, match=f"parameter.a {says}"):
        made("sms", "approved: SMS_1\nparameter.a: {{ user.name }}{{ user.dish }}\n\nb", name=value, dish="\u202e")


def test_a_parameter_is_one_line_and_a_long_one_is_told() -> None:
    sent = made("sms", "approved: SMS_1\nparameter.a: {{ user.name }}\n\nb", name="a\r\nb" * 12)
    assert sent.parameters == {"a": " ".join(["a", *["ba"] * 11, "b"])}
    [warning] = warnings(SmsPayload("b", "SMS_1", {"a": "x" * 36, "b": "x" * 35}))
    assert warning == "parameter.a is longer than the 35 characters that are usual"


@pytest.mark.parametrize("channel", ["push", "inbox", "webhook"])
def test_what_facts_bring_breaks_no_header(channel: str) -> None:
    """R24: line ends, NUL, direction marks and a header in a name stay words."""
    nasty = "A\r\nlink: app://evil\ndata.ack: x\x00\u202e"
    sent = made(channel, "title: {{ user.name }}\ndata.name: {{ user.name }}\n\n{{ user.name }}", name=nasty)
    assert sent.title == "A link: app://evil data.ack: x"
    assert sent.link == ""
    assert set(sent.data) == {"name"}
    assert "\x00" not in sent.body + sent.data["name"]
    assert "\u202e" not in sent.body + sent.data["name"]
