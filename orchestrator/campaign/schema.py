"""JSON Schema of campaign and segment files, for editors that complete and check while one types."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from orchestrator.audience.condition import SegmentFile
from orchestrator.campaign.form import CampaignForm

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema of a campaign file."""
    return _schema(CampaignForm, "Campaign")


def segment_schema() -> dict[str, Any]:
    """The schema of a segment file."""
    return _schema(SegmentFile, "Segment")


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    return {"$schema": _DIALECT, **model.model_json_schema(), "title": title}
