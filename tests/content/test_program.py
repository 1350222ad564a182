"""A text is compiled once, wherever it stands; where it stands is each program's own."""

from __future__ import annotations

import pytest

from orchestrator.content.budget import Budget
from orchestrator.content.program import Program, compile_text
from orchestrator.content.survey import Fault
from orchestrator.errors import RenderError

ASKS = "Hi {{ user.name }}"


def _program(text: str, file: str, lines_before: int, *, escape: bool = False) -> Program:
    found = compile_text(text, file, lines_before, escape=escape)
    assert isinstance(found, Program), found
    return found


def test_the_same_text_is_compiled_once_and_each_tells_its_own_place() -> None:
    here, there = _program(ASKS, "a.en.j2", 0), _program(ASKS, "b.en.j2", 7)
    assert here.template is there.template
    for program, place in ((here, r"^a\.en\.j2:1: "), (there, r"^b\.en\.j2:8: ")):
        with pytest.raises(RenderError, match=place):
            program.run({"user": {}}, "en", Budget())


def test_the_same_text_is_another_program_where_it_is_html() -> None:
    facts = {"user": {"name": "<b>"}}
    assert _program(ASKS, "a.j2", 0).run(facts, "en", Budget()) == "Hi <b>"
    assert _program(ASKS, "a.j2", 0, escape=True).run(facts, "en", Budget()) == "Hi &lt;b&gt;"


def test_what_is_wrong_with_the_same_text_is_told_where_it_stands() -> None:
    for before in (0, 4):
        assert [fault.line for fault in _faults("\n{{ user.name|shout }}", before)] == [before + 2]
        assert [fault.line for fault in _faults("\n{{ user.name", before)] == [before + 2]


def _faults(text: str, before: int) -> list[Fault]:
    found = compile_text(text, "t.j2", before)
    assert isinstance(found, list)
    return found
