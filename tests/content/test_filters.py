"""Filters: what they give, by example."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.content.budget import Budget
from orchestrator.content.program import Program, compile_text
from orchestrator.errors import RenderError

FACTS: dict[str, Any] = {
    "name": "anna o'neil",
    "spent": 1234.5,
    "points": 7,
    "none": None,
    "blank": "  ",
    "dishes": ["soup", "rice"],
    "day": "2026-12-01",
    "flag": "🇨🇳🇩🇪",
    "family": "ab👨‍👩‍👧",
}


def run(text: str, locale: str = "en", **facts: Any) -> str:
    program = compile_text(text, "t.j2", 0)
    assert isinstance(program, Program), program
    return program.run({"user": {**FACTS, **facts}}, locale, Budget())


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("user.name|upper", "ANNA O'NEIL"),
        ("user.name|title", "Anna O'neil"),
        ("user.name|capitalize", "Anna o'neil"),
        ("user.name|upper|lower", "anna o'neil"),
        ("user.none|default('x')", "x"),
        ("user.blank|default('x')", "x"),
        ("user.missing|default('x')", "x"),
        ("user.address.city|default('x')", "x"),
        ("0|default(5)", "0"),
        ("user.spent|round", "1234"),
        ("user.spent|round(1)", "1234.5"),
        ("'12'|int", "12"),
        ("'x'|int(3)", "3"),
        ("12.9|int", "12"),
        ("user.dishes|length", "2"),
        ("user.dishes|join(', ')", "soup, rice"),
        ("user.dishes|first", "soup"),
        ("user.dishes|last", "rice"),
        ("user.dishes[1]", "rice"),
        ("user['name']", "anna o'neil"),
        ("user.name|replace('anna', 'Ann')", "Ann o'neil"),
        ("' x '|trim", "x"),
        ("'a b/你'|urlencode", "a%20b%2F%E4%BD%A0"),
        ("user.name|truncate(6)", "anna…"),
        ("user.name|truncate(6, '')", "anna o"),
        ("user.name|truncate(50)", "anna o'neil"),
        ("user.flag|truncate(3, '')", "🇨🇳"),
        ("user.family|truncate(4, '')", "ab"),
        ("'e\u0301e\u0301'|truncate(3, '')", "e\u0301"),
        ("user.points / 7", "1"),
        ("user.points * 2 - 1 + 0.5", "13.5"),
        ("user.points // 2", "3"),
        ("'a' ~ user.points ~ 'b'", "a7b"),
        ("'yes' if user.points > 3 else 'no'", "yes"),
        ("'yes' if 'soup' in user.dishes else 'no'", "yes"),
        ("'yes' if user.points is even else 'no'", "no"),
        ("'yes' if user.missing is defined else 'no'", "no"),
        ("user.blank or 'nobody'", "  "),
    ],
)
def test_by_example(expression: str, expected: str) -> None:
    assert run("{{ " + expression + " }}") == expected


@pytest.mark.parametrize(
    ("locale", "arguments", "expected"),
    [
        ("zh", "'CNY'", "¥1,234.50"),
        ("en", "'CNY'", "CN¥1,234.50"),
        ("en", "'USD', 0", "$1,235"),
        ("de", "'EUR'", "1.234,50 €"),
        ("fr-fr", "'EUR'", "1 234,50 €"),
        ("pt-br", "'BRL'", "R$ 1.234,50"),
        ("ja", "'JPY'", "¥1,235"),
        ("sv", "'SEK', 0", "1 235 kr"),
        ("tlh", "'USD'", "$1,234.50"),
    ],
)
def test_money(locale: str, arguments: str, expected: str) -> None:
    assert run("{{ user.spent|money(" + arguments + ") }}", locale) == expected


@pytest.mark.parametrize(
    ("locale", "form", "expected"),
    [
        ("en", "", "1 Dec"),
        ("zh-cn", "", "12月1日"),
        ("zh", "('long')", "2026年12月1日"),
        ("en", "('long')", "1 Dec 2026"),
        ("en-us", "", "Dec 1"),
        ("de", "", "1. Dez."),
        ("de", "('long')", "1. Dez. 2026"),
        ("tlh", "", "1 Dec"),
        ("../x", "('iso')", "2026-12-01"),
    ],
)
def test_date(locale: str, form: str, expected: str) -> None:
    assert run("{{ user.day|date" + form + " }}", locale) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "user.name|money('CNY')", "user.spent|money('XXX')", "user.name|date", "user.name|round", "user.dishes|upper",
        "user.name|int", "user.points|length", "user.name|truncate(0)", "user.name|truncate('a')", "user.dishes < 3",
        "user.points / 0", "user.name + user.name", "user.name|money('USD', 9)", "user.spent|round(99)",
        "user.name|replace('', 'x')",
    ],
)  # fmt: skip
def test_what_cannot_be_filtered_is_a_render_error_without_the_value(expression: str) -> None:
    with pytest.raises(RenderError) as caught:
        run("\n{{ " + expression + " }}")
    assert str(caught.value).startswith("t.j2:2: ")
    assert "anna" not in str(caught.value)
    assert caught.value.__suppress_context__
