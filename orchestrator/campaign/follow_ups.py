"""The conditions of later steps and who leaves a run: from the form, and what only the whole campaign shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from orchestrator.campaign.document import Document, Place
from orchestrator.campaign.form import CampaignForm, WhenForm
from orchestrator.campaign.spec import Campaign, When
from orchestrator.errors import Problem
from orchestrator.policy.cues import CONVERTED, REOPENED


def when_of(form: WhenForm) -> When:
    """A step's condition."""
    nothing = timedelta(0)
    return When(form.after or nothing, form.not_, form.is_, form.wait_for, form.within or nothing)


def exits(form: CampaignForm) -> bool:
    """Whether who has converted leaves: where a conversion is named, unless the file says no."""
    if form.exit_on_conversion is None:
        return form.goal.conversion is not None
    return form.exit_on_conversion


def contradictions(campaign: Campaign, document: Document) -> Iterator[Problem]:
    """Conditions that ask for a conversion without one, or for what makes their member leave."""
    if campaign.exit_on_conversion and campaign.goal.conversion is None:
        yield _no_conversion(("exit_on_conversion",), document)
    for field, word, place in _asked(campaign):
        if word == CONVERTED and campaign.goal.conversion is None:
            yield _no_conversion(place, document)
        elif field != "not" and (leaves := _leaves(campaign, word)):
            message = f"nobody would get it: who has {_SAID.get(word, f'done {word}')} gets nothing more ({leaves})"
            yield document.problem(place, message, f"add {leaves}: false to the campaign")


_SAID = {CONVERTED: "converted", REOPENED: "come back"}


def _asked(campaign: Campaign) -> Iterator[tuple[str, str, Place]]:
    for step in campaign.steps:
        for field, word in step.when.cues.items() if step.when else ():
            yield field, word, ("steps", step.index - 1, "when", field)


def _leaves(campaign: Campaign, word: str) -> str:
    """The field by which whoever has done this leaves."""
    goal = campaign.goal
    if campaign.drop_if_back and word in {REOPENED, goal.event}:
        return "drop_if_back"
    converted = {CONVERTED, goal.conversion.event} if goal.conversion else set()
    return "exit_on_conversion" if campaign.exit_on_conversion and word in converted else ""


def _no_conversion(place: Place, document: Document) -> Problem:
    hint = "add goal.conversion: {event: order_paid, within: 72h}"
    return document.problem(place, "needs `goal.conversion`: what is a conversion?", hint)
