"""Random templates from a grammar: whatever they say, a program or faults; text or an error; within bounds."""

from __future__ import annotations

import time
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.content.budget import MAX_OUTPUT_BYTES
from orchestrator.content.filters import FILTERS
from orchestrator.content.templates import TemplateSet
from orchestrator.errors import RenderError, SkipMessage

SECRET = "s3cret"
FACTS: dict[str, Any] = {
    "user": {
        "name": SECRET,
        "none": None,
        "blank": " ",
        "n": 7,
        "x": 1.5,
        "list": [SECRET, "b", 3, None],
        "many": list(range(500)),
        "long": SECRET * 1300,
        "map": {"a": SECRET},
    },
    "campaign": {"name": "c", "title": "t"},
}
_PATHS = st.sampled_from(
    [f"user.{name}" for name in (*FACTS["user"], "gone", "map.a", "list[0]", "name.a")]
    + ["campaign.title", "a", "b", "loop.index"]
)
_GOOD = st.sampled_from(["user.name", "user.n", "user.x", "user.long", "campaign.title", "'q'", "3"])
_LEAVES = st.one_of(
    _GOOD, _GOOD, _PATHS, st.sampled_from(["1", "0", "2.5", "'q'", "''", "true", "none", "[1, 'z']", "9" * 14])
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(inner, max_size=2).map(", ".join)
    return st.one_of(
        st.tuples(inner, st.sampled_from(sorted(FILTERS)), arguments).map(lambda t: f"({t[0]})|{t[1]}({t[2]})"),
        st.tuples(
            inner, st.sampled_from(["~", "+", "-", "*", "/", "//", "==", "<", "in", "and", "or", "%", "**"]), inner
        ).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.tuples(inner, st.sampled_from(["defined", "none", "number", "odd"])).map(lambda t: f"({t[0]} is {t[1]})"),
        inner.map(lambda e: f"(not {e})"),
    )


_EXPRESSIONS = st.recursive(_LEAVES, _grown, max_leaves=6)
_TEXTS = st.one_of(
    st.text("ab 你{%#}|\n", max_size=8), _EXPRESSIONS.map(lambda e: "{{ " + e + " }}"), st.just("{{ skip('r') }}")
)


def _blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.tuples(_EXPRESSIONS, inner, inner).map(
            lambda t: "{% if " + t[0] + " %}" + t[1] + "{% else %}" + t[2] + "{% endif %}"
        ),
        st.tuples(st.sampled_from("ab"), _EXPRESSIONS, inner).map(
            lambda t: "{% for " + t[0] + " in " + t[1] + " %}" + t[2] + "{% endfor %}"
        ),
        st.tuples(st.sampled_from("ab"), _EXPRESSIONS).map(lambda t: "{% set " + t[0] + " = " + t[1] + " %}"),
    )


def _rendered(templates: TemplateSet) -> str | RenderError | SkipMessage:
    try:
        return templates.render("m", "sms", "en", FACTS).body  # type: ignore[union-attr]
    except (RenderError, SkipMessage) as outcome:
        return outcome


@given(st.recursive(_TEXTS, _blocks, max_leaves=12))
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_template_is_a_text_or_a_named_error(source: str) -> None:
    templates = TemplateSet({"m/sms.j2": source})
    wrong = [problem for problem in templates.problems() if "no default" not in problem.message]
    started = time.thread_time()
    match _rendered(templates):
        case RenderError() as error:
            assert str(error).startswith("the template cannot be used" if wrong else "m/sms.j2")
            assert SECRET not in str(error)
        case SkipMessage(message=reason):
            assert reason == "r"
        case text:
            assert not wrong
            assert 0 < len(str(text).encode()) <= MAX_OUTPUT_BYTES
    assert time.thread_time() - started < 0.3


@given(st.text(max_size=300))
def test_any_text_is_read(source: str) -> None:
    templates = TemplateSet({"m/push.j2": source, "m/defaults.yaml": source, source: source})
    assert templates.problems() is not None


_SOUND = st.recursive(
    st.sampled_from(
        [
            "a",
            "你\n",
            "{{ user.name }}",
            "{{ user.n|money('CNY') }}",
            "{{ user.name ~ user.n * 2 }}",
            "{{ campaign.title }}",
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.tuples(inner, inner).map(lambda t: "{% if user.n > 3 %}" + t[0] + "{% else %}" + t[1] + "{% endif %}"),
        st.lists(inner, min_size=1, max_size=2).map(lambda t: "{% set b = user.x %}" + "".join(t) + "{{ b|round(1) }}"),
    ),
    max_leaves=10,
)


@given(_SOUND, st.integers(1, 100))
@settings(deadline=None)
def test_a_sound_template_always_gives_a_text(source: str, times: int) -> None:
    files = {"m/sms.j2": "{% for c in user.many %}{% if c < " + str(times) + " %}.{% endif %}{% endfor %}" + source}
    templates = TemplateSet(files)
    assert templates.problems(["user.name", "user.n", "user.x", "user.many"]) == []
    assert str(_rendered(templates)).startswith("." * times)
