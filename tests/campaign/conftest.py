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
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return Project(tmp_path)


@pytest.fixture
def problem(project: Project) -> Callable[..., Problem]:
    """The one problem after editing the sample."""

    def only(*changes: tuple[str, str]) -> Problem:
        found = project.problems(*changes)
        assert len(found) == 1, found
        return found[0]

    return only
