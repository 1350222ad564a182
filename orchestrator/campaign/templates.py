"""The messages a campaign names: their files, whether each channel has one, and whether every name in them is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.campaign.document import Document, Place, shown, values_at
from orchestrator.content.files import CHANNELS, read_folder
from orchestrator.content.templates import TemplateSet
from orchestrator.errors import ConfigError, Problem, did_you_mean

KNOWN_FACTS = ("id", "name", "locale", "country")
"""What every user has a place for; anything else a campaign declares in ``facts``."""
_LONGEST = 64


class TemplateFolder:
    """The templates folder, and what was wrong with what was asked of it (``problems``)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: list[Problem] = []

    def used_by(self, campaign: Document) -> dict[str, str]:
        """The sources of every message that a campaign names, by path under the folder."""
        files: dict[str, str] = {}
        for place, message in _messages(campaign.data):
            files |= self._read(campaign, place, message)
        templates = TemplateSet(files, root=str(self.root))
        self._check_channels(campaign, templates)
        self.problems += [_with_remedy(problem, campaign) for problem in templates.problems(_facts(campaign.data))]
        return files

    def _read(self, campaign: Document, place: Place, message: str) -> dict[str, str]:
        folder = self.root / message
        if not _safe(message) or not (folder.is_dir() and any(folder.glob("*.j2"))):
            hint = did_you_mean(message[:_LONGEST], self._there_is()) or f"no messages in {self.root}/ yet: write one"
            self.problems.append(campaign.problem(place, f"there is no template {shown(message)!r}", hint))
            return {}
        try:
            return read_folder(self.root, message)
        except ConfigError as error:
            self.problems += error.problems
            return {}

    def _there_is(self) -> set[str]:
        return {path.parent.relative_to(self.root).as_posix() for path in self.root.rglob("*.j2")}

    def _check_channels(self, campaign: Document, templates: TemplateSet) -> None:
        """An arm's template replaces that of every step, so it has to have a file for each of their channels."""
        for place, message, channel in _pairs(campaign.data):
            missing = templates.missing(message, channel)
            if missing and any(templates.missing(message, other) is None for other in CHANNELS):
                self.problems.append(campaign.problem(place, *missing))


def _safe(message: str) -> bool:
    return not message.startswith("/") and ".." not in message.split("/") and len(message) < 4 * _LONGEST


def _messages(data: dict[str, Any]) -> Iterator[tuple[Place, str]]:
    yield from values_at(data, "steps.*.template")
    yield from values_at(data, "experiment.arms.*.template")


def _pairs(data: dict[str, Any]) -> Iterator[tuple[Place, str, str]]:
    """Each message with each channel it has to be written for, and where it is named."""
    steps = dict(values_at(data, "steps.*.template"))
    channels = {place[:2]: channel for place, channel in values_at(data, "steps.*.channel") if channel in CHANNELS}
    for place, message in steps.items():
        if place[:2] in channels:
            yield place, message, channels[place[:2]]
    for place, message in values_at(data, "experiment.arms.*.template"):
        for channel in sorted(set(channels.values())):
            yield place, message, channel


def _facts(data: dict[str, Any]) -> list[str]:
    declared = [name for _, name in values_at(data, "facts.*")]
    return [f"user.{name}" for name in (*KNOWN_FACTS, *declared)] + [f"trigger.{name}" for name in _properties(data)]


def _properties(data: Any) -> list[str]:
    """Those of the event that triggers the campaign, as far as it gives examples of them."""
    for name in ("schedule", "trigger", "properties"):
        data = data.get(name) if isinstance(data, dict) else None
    return [str(name) for name in data] if isinstance(data, dict) else []


def _with_remedy(problem: Problem, campaign: Document) -> Problem:
    """A fact that nothing provides may be a typing error, or one that the campaign has not declared yet."""
    if problem.message.startswith("no fact 'user."):
        remedy = f"if users have it, list it under `facts` in {campaign.file}"
    elif problem.message.startswith("no fact 'trigger."):
        remedy = f"if the event has it, give an example under schedule.trigger.properties in {campaign.file}"
    else:
        return problem
    joint = " " if problem.hint.endswith("?") else "; "
    return replace(problem, hint=f"{problem.hint}{joint}{remedy}" if problem.hint else remedy)
