"""What campaigns share by name: moments of the day and calendars, in two files in the folder of campaigns.

    # moments.yaml                          # calendars.yaml
    before-lunch: "10:30-11:45"             shop:
                                              region: CN
                                              holidays: {2026-11-11: 双十一}
                                              not_holidays: [2026-12-26]
                                              workdays: [2026-11-14]

A campaign is launched with what its names meant then: they are written out in the stored definition, so that a later
edit of these files does nothing to a launched campaign.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from orchestrator.campaign.document import Document, Place, shown
from orchestrator.campaign.reading import read_document
from orchestrator.campaign.words import Day, LocalWindow
from orchestrator.errors import ConfigError, Problem, did_you_mean
from orchestrator.timing import calendars

MOMENTS: Final = "moments.yaml"
CALENDARS: Final = "calendars.yaml"
BUILT_IN: Final = Path(calendars.__file__).with_name(MOMENTS)
_WINDOWS: Final = (("window",), ("steps", "*", "window"), ("experiment", "arms", "*", "window"))


class CalendarForm(BaseModel):
    """One calendar of a deployment's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)

    region: str = ""
    holidays: dict[Day, str] = {}
    not_holidays: list[Day] = []
    workdays: list[Day] = []


def written_out(document: Document, campaigns: Path) -> Document:
    """The document with every moment and calendar that it names written out; a name nobody knows is a problem of it."""
    data, problems = copy.deepcopy(document.data), list(document.problems)
    for place, window in _windows(data):
        if "moment" in window and "local" not in window:
            _write_moment(document, place, window, campaigns, problems)
    schedule = data.get("schedule")
    if isinstance(schedule, dict) and isinstance(schedule.get("calendar"), str):
        _write_calendar(schedule, campaigns, problems)
    return Document(document.file, data, document.lines, tuple(problems))


def moments_in(campaigns: Path) -> dict[str, str]:
    """Every moment's window, by name: the built-in ones, and the deployment's own before them.

    Raises:
        ConfigError: the file is wrong.
    """
    own = campaigns / MOMENTS
    return {**_moments(BUILT_IN, 0), **(_moments(own, own.stat().st_mtime_ns) if own.is_file() else {})}


def calendars_in(campaigns: Path) -> dict[str, dict[str, Any]]:
    """The deployment's own calendars, by name, as they are written out.

    Raises:
        ConfigError: the file is wrong.
    """
    own = campaigns / CALENDARS
    return _calendars(own, own.stat().st_mtime_ns) if own.is_file() else {}


def check_shared(campaigns: Path) -> list[Problem]:
    """What is wrong with the two files."""
    problems: list[Problem] = []
    for read in (moments_in, calendars_in):
        try:
            read(campaigns)
        except ConfigError as error:
            problems += error.problems
    return problems


def _windows(data: Mapping[str, Any]) -> list[tuple[Place, dict[str, Any]]]:
    found: list[tuple[Place, dict[str, Any]]] = []
    for path in _WINDOWS:
        places: list[tuple[Place, Any]] = [((), data)]
        for key in path:
            places = [inner for place, value in places for inner in _inside(place, value, key)]
        found += [(place, value) for place, value in places if isinstance(value, dict)]
    return found


def _inside(place: Place, value: object, key: str) -> list[tuple[Place, Any]]:
    if key == "*":
        return [((*place, n), item) for n, item in enumerate(value)] if isinstance(value, list) else []
    return [((*place, key), value[key])] if isinstance(value, dict) and key in value else []


def _write_moment(
    document: Document, place: Place, window: dict[str, Any], campaigns: Path, problems: list[Problem]
) -> None:
    name = window.pop("moment")
    try:
        known = moments_in(campaigns)
    except ConfigError as error:
        problems += error.problems
        known = _moments(BUILT_IN, 0)
    found = known.get(name) if isinstance(name, str) else None
    if found is None:
        hint = did_you_mean(str(name)[:64], known) or f"define it in {MOMENTS}"
        problems.append(document.problem((*place, "moment"), f"there is no moment {shown(name)!r}", hint))
        found = "00:00-24:00"  # so that nothing else is said of it
    window["local"] = found


def _write_calendar(schedule: dict[str, Any], campaigns: Path, problems: list[Problem]) -> None:
    try:
        own = calendars_in(campaigns)
    except ConfigError as error:
        problems += error.problems
        own = {}
    if schedule["calendar"] in own:
        schedule["calendar"] = own[schedule["calendar"]]


@lru_cache(maxsize=16)
def _moments(path: Path, changed: int) -> dict[str, str]:
    del changed
    document = _read(path)
    windows = _checked(TypeAdapter(dict[str, LocalWindow]), document)
    return {name: str(window) for name, window in windows.items()}


@lru_cache(maxsize=16)
def _calendars(path: Path, changed: int) -> dict[str, dict[str, Any]]:
    del changed
    document = _read(path)
    _checked(TypeAdapter(dict[str, CalendarForm]), document)
    return dict(document.data)


def _read(path: Path) -> Document:
    document = read_document(path)
    if document.problems:
        raise ConfigError(document.problems)
    return document


def _checked(adapter: TypeAdapter[Any], document: Document) -> Any:
    try:
        return adapter.validate_python(document.data)
    except ValidationError as error:
        raise ConfigError(
            [
                document.problem(tuple(one["loc"]), one["msg"], "see docs/reference/campaign-file.md")
                for one in error.errors()
            ]
        ) from None
