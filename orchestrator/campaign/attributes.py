"""The file that declares attributes, beside the campaigns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.audience.attributes import WORDS, Declarations, Declared, read_declarations
from orchestrator.campaign.document import Document, shown, values_at
from orchestrator.campaign.reading import read_document
from orchestrator.errors import ConfigError, Problem, did_you_mean

FILE = "attributes.yaml"


def declared_in(campaigns: Path) -> dict[str, Declared]:
    """The attributes that ``campaigns/attributes.yaml`` declares; none when there is no such file.

    Raises:
        ConfigError: with all that is wrong in it.
    """
    path = campaigns / FILE
    if not path.is_file():
        return {}
    document = read_document(path)
    if document.problems:
        raise ConfigError(document.problems)
    return read_declarations(document)


DATES = frozenset({"date", "instant"})


def wrong_dates(campaign: Document, declared: Declarations) -> Iterator[Problem]:
    """What is wrong with the attribute that a schedule is relative to: a slip there and nobody ever gets anything.

    Where nothing is declared, every name will do.
    """
    for place, name in values_at(campaign.data, "schedule.relative_to.attribute"):
        found = declared.get(name)
        if declared and found is None:
            near = did_you_mean(name[:64], declared)
            yield campaign.problem(place, f"attribute {shown(name)!r} is not declared in {FILE}", near)
        elif found is not None and found.type not in DATES:
            problem = f"{name} is {WORDS[found.type]}, no date"
            yield campaign.problem(place, problem, f"declare it with type: date in {FILE}, or name another")
