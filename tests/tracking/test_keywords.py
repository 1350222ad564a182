"""Refusals are understood however they are written; coming back has to be said plainly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.tracking.keywords import Asked, asked

REFUSALS = [
    *("STOP", "stop", "Stop.", "STOP!!!", " stop ", '"STOP"', "s\u0301top", "ＳＴＯＰ", "STOP\r\n", "stop🙏"),
    *("STOPALL", "stop all", "UNSUBSCRIBE", "Unsubscribe me", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"),
    *("opt out", "Opt-Out", "please stop texting me", "pls STOP", "cancel please", "STOP start", "ARRÊT", "arret"),
    *(
        "TD",
        "td",
        "ＴＤ",
        "T",
        "t.",
        "R",
        "r",
        "回复R",
        "回T",
        "退订",
        "退订。",
        "我要退订",
        "TD退订",
        "拒收",
        "请停止发送",
    ),
    *("不要再发了", "取消订阅", "取消", "N", "请不要"),
]
RETURNS = [
    "START",
    "start",
    "Start.",
    "YES",
    "yes please",
    "UNSTOP",
    "unstop!",
    "恢复",
    "恢复。",
    "订阅",
    "Subscribe",
    "请恢复",
]
NEITHER = [
    *(
        "",
        "   ",
        "???",
        "thanks",
        "when does my order end",
        "did you start?",
        "yes I do like it",
        "谢谢",
        "好吃",
        "R2D2",
    ),
    *("restart", "nonstop flight", "tdk", "请问几点", "the endless pizza", "0"),
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_understood(text: str) -> None:
    assert asked(text) is Asked.STOP


def test_stop_please_is_not_ignored() -> None:
    """Mautic #11333: ``STOP please`` was no opt-out there."""
    assert asked("STOP please") is Asked.STOP


@pytest.mark.parametrize("text", RETURNS)
def test_coming_back_is_understood(text: str) -> None:
    assert asked(text) is Asked.START


@pytest.mark.parametrize("text", NEITHER)
def test_other_words_ask_for_nothing(text: str) -> None:
    assert asked(text) is Asked.OTHER


@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_no_text_around_a_spaced_stop_hides_it(before: str, after: str) -> None:
    assert asked(f"{before} STOP {after}") is Asked.STOP


@given(st.text(max_size=3000))
def test_any_text_has_an_answer(text: str) -> None:
    assert asked(text) in Asked
