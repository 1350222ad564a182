"""Opens and clicks, and whether a person made them (providers §11).

Events carry ``properties.confidence``: ``human``, ``suspect`` or ``machine``. One without it comes from the app's own
SDK, which only people hold; a word that is none of the three is not believed. Of several opens of one message the most
human one counts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, case, func, or_, select
from sqlalchemy.sql import exists

from orchestrator.store.functions import json_string
from orchestrator.store.tables import event, message

OPENED, CLICKED = "message_opened", "link_clicked"
HUMAN, SUSPECT, MACHINE = 0, 1, 2
KINDS = ("human", "suspect", "machine")
"""The words, at the places of their numbers."""

_word = json_string(event.c.properties, "confidence")


def of_person() -> ColumnElement[bool]:
    """Whether an event was a person's."""
    return or_(_word.is_(None), _word == "human")


def confidence() -> ColumnElement[int]:
    """An event's confidence as a number: the smaller, the more human."""
    return case((of_person(), HUMAN), (_word == "machine", MACHINE), else_=SUSPECT)


def seen_by_person(names: Collection[str]) -> ColumnElement[bool]:
    """Whether a person made any event of these names from the message."""
    return exists().where(event.c.message_id == message.c.id, event.c.name.in_(sorted(names)), of_person())


def most_human(name: str) -> Any:
    """The best confidence among the events of a name from the message; NULL when there are none."""
    mine = (event.c.message_id == message.c.id, event.c.name == name)
    return select(func.min(confidence())).where(*mine).correlate(message).scalar_subquery()
