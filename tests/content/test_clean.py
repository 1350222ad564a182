"""What is stripped from rendered text, and what stays."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.content.clean import clean, single_line


@pytest.mark.parametrize(
    "char", ["\x00", "\x07", "\x1b", "\x7f", "\x9f", "\u202e", "\u2066", "\u200f", "\u061c", "\ufeff", "\ud800"]
)
def test_control_bidi_and_lone_surrogates_go(char: str) -> None:
    assert clean(f"a{char}b") == "ab"


@pytest.mark.parametrize("text", ["👨‍👩‍👧‍👦", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "a  b", "a\n\nb", "نص", "é"])
def test_the_rest_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n", "\u2028", "\x85", "\x0b"])
def test_line_ends_become_one(end: str) -> None:
    assert clean(f"a{end}b") == "a\nb"
    assert single_line(f"a{end}b") == "a b"


def test_a_tab_becomes_a_space() -> None:
    assert clean("a\tb") == "a b"


@given(st.text())
def test_nothing_unwanted_is_left(text: str) -> None:
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    assert not [char for char in cleaned if unicodedata.category(char) in {"Cc", "Cs"} and char != "\n"]
    assert not [
        char
        for char in cleaned
        if unicodedata.bidirectional(char) in {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI"}
    ]
    assert "\n" not in single_line(text)
    cleaned.encode()
