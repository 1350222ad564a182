"""A campaign by name or path, with the segments and templates it uses: checked together, every problem at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from orchestrator.campaign.attributes import wrong_dates
from orchestrator.campaign.document import Document, shown, values_at
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.reading import read_document
from orchestrator.campaign.segments import SHARED, SUFFIX, SegmentFolder
from orchestrator.campaign.shared import written_out
from orchestrator.campaign.spec import Campaign
from orchestrator.campaign.templates import TemplateFolder
from orchestrator.campaign.version import Bundle
from orchestrator.errors import ConfigError, NotFoundError, Problem, did_you_mean


def campaign_names(campaigns: Path) -> list[str]:
    """The campaigns there are, by their files' names."""
    return sorted(path.stem for path in campaigns.glob(f"*{SUFFIX}") if path.name not in SHARED)


def load_bundle(
    name_or_path: str | Path, campaigns_dir: Path, templates_dir: Path, *, accounts: Mapping[str, str] | None = None
) -> Bundle:
    """The campaign called so in ``campaigns_dir``, or in the file given, with all it uses.

    With ``accounts`` (name → channel), the accounts that steps name are checked as well.

    Raises:
        NotFoundError: there is no such campaign, with the nearest name.
        ConfigError: every problem of the campaign, its segments and its templates.
    """
    path = _find(name_or_path, campaigns_dir)
    document = written_out(read_document(path), campaigns_dir)
    campaign, problems = _parse(document, path)
    segments, templates = SegmentFolder(campaigns_dir), TemplateFolder(templates_dir)
    raw_segments, files = segments.used_by(document), templates.used_by(document)
    problems += [*_wrong_accounts(document, accounts), *wrong_dates(document, segments.declared)]
    problems += [*segments.problems, *templates.problems]
    if problems or campaign is None:
        raise ConfigError(_in_order(problems))
    return Bundle(campaign, document.data, raw_segments, files)


def check_segments(campaigns_dir: Path) -> list[Problem]:
    """What is wrong with the segment files, whether a campaign uses them or not."""
    folder = SegmentFolder(campaigns_dir)
    folder.check(folder.names)
    return _in_order(folder.problems)


def _find(name_or_path: str | Path, campaigns: Path) -> Path:
    given = Path(name_or_path)
    if given.suffix in {SUFFIX, ".yml"} or len(given.parts) > 1:
        if given.is_file():
            return given
        raise NotFoundError(f"there is no file {given}", hint=f"campaigns stand in {campaigns}/")
    names = campaign_names(campaigns)
    if str(name_or_path) in names:
        return campaigns / f"{name_or_path}{SUFFIX}"
    hint = did_you_mean(str(name_or_path)[:64], names) or f"there are no campaigns in {campaigns}/"
    raise NotFoundError(f"there is no campaign {str(name_or_path)[:64]!r}", hint=hint)


def _parse(document: Document, path: Path) -> tuple[Campaign | None, list[Problem]]:
    problems = _misnamed(document, path)
    try:
        return parse_campaign(document), problems
    except ConfigError as error:
        return None, [*error.problems, *problems]


def _wrong_accounts(document: Document, accounts: Mapping[str, str] | None) -> list[Problem]:
    problems = []
    channels = {place[:2]: channel for place, channel in values_at(document.data, "steps.*.channel")}
    for place, name in values_at(document.data, "steps.*.account") if accounts is not None else ():
        channel = (accounts or {}).get(name)
        if channel is None:
            hint = did_you_mean(name[:64], accounts or {}) or "the settings have no accounts"
            problems.append(document.problem(place, f"unknown account {shown(name)!r}", hint))
        elif channel != channels.get(place[:2], channel):
            problems.append(
                document.problem(place, f"is an account for {channel}", f"the step is {channels[place[:2]]}")
            )
    return problems


def _misnamed(document: Document, path: Path) -> list[Problem]:
    """A campaign is found by its file's name, and two files of one name would be booked as one campaign."""
    name = document.data.get("name")
    if not isinstance(name, str) or name == path.stem:
        return []
    hint = f"write name: {path.stem}, or rename the file"
    return [document.problem(("name",), f"is {shown(name)!r}, and the file is called {path.name}", hint)]


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once, files in the order they came up, lines from the top."""
    once = list(dict.fromkeys(problems))
    files = list(dict.fromkeys(problem.file for problem in once))
    return sorted(once, key=lambda problem: (files.index(problem.file), problem.line))
