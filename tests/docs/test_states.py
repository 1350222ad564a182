"""The drawn states are the states: the same arrows, and a reason for each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

import pytest

from orchestrator.ledger.runs import _ALLOWED, _RUN_FROM
from orchestrator.ledger.states import TRANSITIONS, CampaignState, RunState, State
from tests.docs.pages import blocks, page, rows, section

STATES = page("states.md")
ACTORS = {"worker", "sweeper", "operator", "provider", "planner", "nobody yet"}


def drawn(heading: str) -> set[tuple[str, str]]:
    """The arrows of a section's drawing, without those from and to nowhere."""
    (drawing,) = blocks(section(STATES, heading), "mermaid")
    return {(old, new) for old, new in re.findall(r"(\S+) --> (\S+)", drawing) if "[*]" not in {old, new}}


def told(heading: str) -> set[tuple[str, str]]:
    """The arrows of a section's table; every one says who and why."""
    found = set()
    for cells in rows(section(STATES, heading)):
        if len(cells) == 4 and cells[0] != "from":
            old, new, who, why = cells
            assert who in ACTORS, who
            assert len(why) > 3, cells
            found.add((old.strip("`"), new.strip("`")))
    return found


def plain(pairs: Iterable[tuple[StrEnum, StrEnum]]) -> set[tuple[str, str]]:
    return {(str(old), str(new)) for old, new in pairs}


def test_every_arrow_of_a_message_is_drawn_and_told() -> None:
    assert drawn("## Message") == plain(TRANSITIONS)
    assert told("## Message") == plain(TRANSITIONS)


def test_ends_are_drawn_where_nothing_leads_on() -> None:
    (drawing,) = blocks(section(STATES, "## Message"), "mermaid")
    ends = set(re.findall(r"(\w+) --> \[\*\]", drawing))
    assert ends == {str(state) for state in State} - {old for old, _ in plain(TRANSITIONS)}


def test_every_arrow_of_a_campaign_is_drawn_and_told() -> None:
    commanded = plain((old, new) for new, olds in _ALLOWED.items() for old in olds)
    launched = {(str(CampaignState.STOPPED), str(CampaignState.RUNNING))}
    assert drawn("## Campaign") == commanded | launched
    assert told("## Campaign") == commanded | launched


def test_every_arrow_of_a_run_is_drawn_and_told() -> None:
    allowed = plain((old, new) for new, olds in _RUN_FROM.items() for old in olds)
    assert drawn("## Run") == allowed
    assert told("## Run") == allowed


@pytest.mark.parametrize(
    ("heading", "states"), [("## Message", State), ("## Run", RunState), ("## Campaign", CampaignState)]
)
def test_every_state_has_a_sentence(heading: str, states: type[StrEnum]) -> None:
    sentences = {cells[0].strip("`"): cells[1] for cells in rows(section(STATES, heading)) if len(cells) == 2}
    assert set(sentences) - {"state"} == {str(state) for state in states}
    assert all(sentences[str(state)].endswith(".") for state in states)
    assert {word for pair in drawn(heading) for word in pair} == {str(state) for state in states}
