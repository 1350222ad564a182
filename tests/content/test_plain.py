"""A mail's text part from its HTML."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.content.plain import text_of, tidy


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One</p><p>Two</p>", "One\n\nTwo"),
        ("a<br>b", "a\nb"),
        ("<ul><li>x</li><li>y</li></ul>", "- x\n- y"),
        ('<a href="https://x.example/">here</a>', "here (https://x.example/)"),
        ('<a href="https://x.example/"><img alt="Logo"></a>', "Logo (https://x.example/)"),
        ('<a href="https://x.example/"></a>', "https://x.example/"),
        ('<a href="https://x.example/">https://x.example/</a>', "https://x.example/"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ("<head><title>t</title><style>.a{}</style></head><body>b</body>", "b"),
        ("<!--[if mso]><p>outlook</p><![endif]-->b", "b"),
        ("a &amp; b &lt;c&gt; &nbsp;d", "a & b <c> d"),
        ("<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>", "1 2\n\n3"),
        ("  much \n\n\t space  ", "much space"),
        ("", ""),
    ],
)
def test_what_a_person_reads(html: str, text: str) -> None:
    assert text_of(html) == text


@given(st.text(max_size=400))
def test_it_takes_anything(html: str) -> None:
    assert "\n\n\n" not in text_of(html)


@given(st.text(" \n\tx"))
def test_no_space_stands_at_a_line_end_and_no_gap_is_wider_than_a_line(text: str) -> None:
    assert tidy(text) == re.sub(r"\n{3,}", "\n\n", re.sub(r" *\n *", "\n", text)).strip()
