"""Refusals are understood however they are written; coming back has to be said plainly."""

import re
import unicodedata

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
    *("stop please", "pls stop", "stopp", "STOPPP!!", "S T O P", "s.t.o.p.", "s-t-o-p", "Stop it", "stop texting me"),
    *("unsuscribe", "unsubcribe", "UNSUBSCRIBED", "unsubscibe me", "stpo", "opt-out please", "STOP ALL", "cancle"),
    *(
        "please remove me",
        "take me off this list",
        "leave me alone",
        "no more texts",
        "do not text me",
        "Don't message me",
    ),
    *("never contact me again", "I said stop already, this is the third time this week", "don't text me. stop."),
    *("if you don't stop I will call the police", "why don't you stop", "stop or I sue"),
    *(
        "退訂",
        "TD。",
        "回复T",
        "回覆TD",
        "请回复退订",
        "怎么退订？",
        "不要再發了",
        "取消訂閱",
        "別再發",
        "停止發送",
        "請勿發送",
        "别给我发短信了",
    ),
    *("拒絕接收", "不想收到了", "别烦我"),
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
    *("开始", "開始", "重新订阅", "重新訂閱", "恢復", "訂閱", "resubscribe", "opt in", "START please", "取消退订"),
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
    *(
        "nonstop",
        "non-stop",
        "don't stop",
        "Dont stop!",
        "do not stop",
        "never stop being great",
        "can't stop eating it",
    ),
    *(
        "bus stop is where?",
        "at the bus stop",
        "next stop Berlin",
        "unstoppable",
        "stopwatch",
        "stop by the shop tonight",
    ),
    *(
        "不退订",
        "别取消订阅",
        "没有退订",
        "shop",
        "step",
        "top",
        "the subscription",
        "now",
        "not now",
        "no problem at all",
        "no",
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


CALM = st.text(max_size=20).filter(
    lambda text: not re.search(r"[a-z]{2}", unicodedata.normalize("NFKD", text), re.IGNORECASE)
)


@given(before=CALM, after=CALM)
def test_no_text_around_a_spaced_stop_hides_it(before: str, after: str) -> None:
    assert asked(f"{before} STOP {after}") is Asked.STOP


@given(st.text(max_size=3000))
def test_any_text_has_an_answer(text: str) -> None:
    assert asked(text) in Asked


CALM_WORDS = ["this", "is", "really", "too", "much", "every", "day", "hello", "lunch", "was", "fine", "but", "i", "it"]
WORDS = st.lists(st.sampled_from(CALM_WORDS), max_size=20)


@given(WORDS, WORDS, st.sampled_from(["STOP", "stop", "Stop.", "unsubscribe", "OPT OUT", "stopp"]))
def test_no_sentence_is_too_long_to_refuse_in(before: list[str], after: list[str], word: str) -> None:
    assert asked(" ".join([*before, word, *after])) is Asked.STOP


@given(st.sampled_from(RETURNS), st.sampled_from(REFUSALS))
def test_a_text_that_has_both_refuses(back: str, refusal: str) -> None:
    assert asked(f"{refusal} {back}") is not Asked.START


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=5, max_size=5), st.sampled_from(["", "s", "un"]))
def test_stop_inside_another_word_is_no_refusal(word: str, before: str) -> None:
    assert asked(f"{before}{word}stopping") is not Asked.STOP
