"""The segments a campaign names, and those they name in turn: read, closed over references, checked by ``audience``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.audience.condition import Condition
from orchestrator.audience.segment import read_segments, undeclared
from orchestrator.campaign.attributes import FILE as ATTRIBUTES
from orchestrator.campaign.attributes import declared_in
from orchestrator.campaign.caps import FILE as CAPS
from orchestrator.campaign.document import Document, shown, values_at
from orchestrator.campaign.reading import read_document
from orchestrator.campaign.shared import CALENDARS, MOMENTS
from orchestrator.campaign.topics import FILE as TOPICS
from orchestrator.errors import ConfigError, Problem, did_you_mean

FOLDER = "segments"
SUFFIX = ".yaml"
SHARED = frozenset({ATTRIBUTES, CALENDARS, CAPS, MOMENTS, TOPICS})
"""Files in the folder of campaigns that are none."""
_LONGEST = 64


class SegmentFolder:
    """The segment files beside the campaigns. Remembers what it has read; ``problems`` has what was wrong with it."""

    def __init__(self, campaigns: Path) -> None:
        self.folder = campaigns / FOLDER
        self.names = sorted(path.stem for path in self.folder.glob(f"*{SUFFIX}"))
        self.problems: list[Problem] = []
        self._documents: dict[str, Document | None] = {}
        self._campaigns = [path.stem for path in campaigns.glob(f"*{SUFFIX}") if path.name not in SHARED]
        try:
            self.declared = declared_in(campaigns)
        except ConfigError as error:
            self.declared = {}
            self.problems += error.problems

    def used_by(self, campaign: Document) -> dict[str, dict[str, Any]]:
        """The raw segments of a campaign, by name, with all they refer to."""
        wanted: list[str] = []
        for pattern in ("audience.segment", "audience.exclude.*"):
            for place, name in values_at(campaign.data, pattern):
                if name in self.names:
                    wanted.append(name)
                else:
                    hint = did_you_mean(name[:_LONGEST], self.names) or f"no file in {self.folder}/ yet: write one"
                    self.problems.append(campaign.problem(place, f"unknown segment {shown(name)!r}", hint))
        return {name: document.data for name, document in self.check(wanted).items()}

    def check(self, wanted: Iterable[str]) -> dict[str, Document]:
        """The documents of segments and of what they refer to; what is wrong with them goes to ``problems``."""
        found = self._closed(wanted)
        self.problems += [problem for document in found.values() for problem in document.problems]
        try:
            read_segments(found, declared=self.declared, campaigns=self._campaigns)
        except ConfigError as error:
            self.problems += self._with_all_names(found) or error.problems
        return found

    def conditions(self) -> dict[str, Condition]:
        """What all segments ask, by name; nothing where any is wrong."""
        try:
            return read_segments(self._closed(self.names))
        except ConfigError:
            return {}

    def notes(self) -> list[str]:
        """Attributes that segments ask for and nobody declared: maybe a slip, maybe not."""
        return [
            f"segment {segment}: attribute {name!r} is not declared in {ATTRIBUTES} ({hint})"
            for segment, name, hint in undeclared(self.conditions(), self.declared)
        ]

    def _closed(self, wanted: Iterable[str]) -> dict[str, Document]:
        found: dict[str, Document] = {}
        waiting = list(wanted)
        while waiting:
            name = waiting.pop()
            document = self._read(name) if name in self.names and name not in found else None
            if document is not None:
                found[name] = document
                waiting += _references(document.data)
        return dict(sorted(found.items()))

    def _read(self, name: str) -> Document | None:
        if name not in self._documents:
            try:
                self._documents[name] = read_document(self.folder / f"{name}{SUFFIX}")
            except ConfigError as error:
                self.problems += error.problems
                self._documents[name] = None
        return self._documents[name]

    def _with_all_names(self, found: Mapping[str, Document]) -> list[Problem]:
        """The problems of these documents once more, with hints from all segments there are, used or not."""
        mine = {document.file for document in found.values()}
        others = SegmentFolder(self.folder.parent)
        try:
            read_segments(others._closed(self.names), declared=self.declared, campaigns=self._campaigns)
        except ConfigError as error:
            return [problem for problem in error.problems if problem.file in mine]
        return []


def _references(segment: Mapping[str, Any]) -> Iterator[str]:
    """The segments that a segment names, whatever else is wrong with it."""
    waiting: list[Any] = [segment.get("where")]
    while waiting:
        condition = waiting.pop()
        if isinstance(condition, list):
            waiting += condition
        elif isinstance(condition, dict):
            waiting += [condition.get(word) for word in ("all", "any", "not")]
            if isinstance(condition.get("segment"), str):
                yield condition["segment"]
