"""Fixtures: the sample campaign in a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import Problem
from tests.campaign.project import ROOT, Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for folder in ("campaigns", "templates"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=_other_campaigns)
    return Project(tmp_path)


def _other_campaigns(folder: str, names: list[str]) -> list[str]:
    """Of the samples, one campaign, and no segment that asks about another: however many samples there are."""
    if Path(folder) == ROOT / "campaigns":
        return [name for name in names if name.endswith(".yaml") and name != "lunch-winback.yaml"]
    return [name for name in names if name.startswith("told-") and name != "told-lunch-winback.yaml"]


@pytest.fixture
def problem(project: Project) -> Callable[..., Problem]:
    """The one problem after editing the sample."""

    def only(*changes: tuple[str, str]) -> Problem:
        found = project.problems(*changes)
        assert len(found) == 1, found
        return found[0]

    return only
