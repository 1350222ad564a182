"""A project folder with the sample campaign, to be spoiled by the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.campaign.load import load_bundle
from orchestrator.campaign.version import Bundle
from orchestrator.errors import ConfigError, Problem

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Project:
    """Campaigns and templates in a folder of their own."""

    root: Path

    @property
    def campaigns(self) -> Path:
        return self.root / "campaigns"

    @property
    def templates(self) -> Path:
        return self.root / "templates"

    @property
    def campaign(self) -> Path:
        return self.campaigns / "lunch-winback.yaml"

    def edit(self, path: Path, *changes: tuple[str, str]) -> None:
        """Replace text that has to be there."""
        text = path.read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new, 1)
        path.write_text(text, encoding="utf-8")

    def load(self) -> Bundle:
        return load_bundle("lunch-winback", self.campaigns, self.templates)

    def problems(self, *changes: tuple[str, str]) -> list[Problem]:
        """What is wrong after editing the sample."""
        self.edit(self.campaign, *changes)
        try:
            self.load()
        except ConfigError as error:
            return list(error.problems)
        return []
