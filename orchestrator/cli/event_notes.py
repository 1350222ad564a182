"""What `validate` says of event names that no event in the database has. Not refused: the event may be yet to come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.audience.condition import Condition
from orchestrator.audience.event_names import NEWEST, EventNames, events_asked, names_of_newest
from orchestrator.audience.fault import Plain
from orchestrator.audience.segment import read_segments
from orchestrator.campaign.document import dotted
from orchestrator.campaign.spec import Campaign
from orchestrator.campaign.version import Bundle
from orchestrator.errors import NotFoundError, did_you_mean
from orchestrator.policy.cues import WORDS
from orchestrator.store import Store
from orchestrator.timing.opens import BY_PERSON

_PATIENCE = 3
"""Seconds for a server that does not answer: checking files is of use without it."""
_LONGEST = 64


def event_notes(bundles: Sequence[Bundle], segments: Mapping[str, Condition], database: str) -> list[str]:
    """Notes on the event names of campaigns, of their segments and of other ``segments``.

    There are none where no database is at hand, or no event in it.
    """
    known = _known(database)
    if known is None or not known.names:
        return []
    conditions = dict(segments)
    for bundle in bundles:
        conditions |= read_segments({name: Plain(name, dict(raw)) for name, raw in bundle.segments.items()})
    asked = [pair for bundle in bundles for pair in _of_campaign(bundle.campaign)]
    asked += _of_segments(conditions)
    return [_note(place, name, known) for place, name in asked if name not in known.names.union(BY_PERSON)]


def _known(database: str) -> EventNames | None:
    try:
        store = Store(_impatient(database), writer=False)
    except (NotFoundError, SQLAlchemyError, ValueError):  # the latter two: no address of a database
        return None
    try:
        with store.read() as connection:
            return names_of_newest(connection)
    except SQLAlchemyError:  # away, or not made yet: `doctor` says so
        return None
    finally:
        store.close()


def _impatient(database: str) -> str:
    if "://" not in database:
        return database
    url = make_url(database)
    if "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(_PATIENCE)})
    return url.render_as_string(hide_password=False)


def _of_campaign(campaign: Campaign) -> Iterator[tuple[str, str]]:
    """The fields of a campaign that name events, and the names."""
    schedule, goal = campaign.schedule, campaign.goal
    if schedule.trigger is not None:
        yield f"{campaign.name}: schedule.trigger.event", schedule.trigger.event
        for name in schedule.trigger.unless:
            yield f"{campaign.name}: schedule.trigger.unless", name
    if schedule.relative_to is not None and schedule.relative_to.event is not None:
        yield f"{campaign.name}: schedule.relative_to.event", schedule.relative_to.event
    yield f"{campaign.name}: goal.event", goal.event
    if goal.conversion is not None:
        yield f"{campaign.name}: goal.conversion.event", goal.conversion.event
    for step in campaign.steps:
        for field, word in step.when.cues.items() if step.when is not None else ():
            if word not in WORDS:
                yield f"{campaign.name}: steps.{step.index}.when.{field}", word


def _of_segments(conditions: Mapping[str, Condition]) -> Iterator[tuple[str, str]]:
    for segment, condition in conditions.items():
        for place, name in events_asked(condition):
            yield f"segment {segment}: {dotted(place)}", name


def _note(place: str, name: str, known: EventNames) -> str:
    where = "in the database" if known.every else f"among the newest {NEWEST:,}"
    return f"{place}: no event {where} is called {name!r} ({did_you_mean(name[:_LONGEST], known.names)})"
