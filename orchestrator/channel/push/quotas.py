"""How many marketing messages a phone maker lets one app send to one device a day: dated data, see ``quotas.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

FILE = "quotas.yaml"
MARKETING = "marketing"
NO_QUOTA = "none"
"""The category of an account whose messages are not counted: service messages, by the provider's leave."""


def _known_zone(name: str) -> str:
    ZoneInfo(name)
    return name


class QuotaRow(BaseModel):
    """One row of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str
    category: str
    most: Annotated[int, Field(ge=1)]
    zone: Annotated[str, AfterValidator(_known_zone)]
    first: date = Field(alias="from")
    source: Annotated[str, Field(min_length=1)]


class QuotaFile(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quotas: tuple[QuotaRow, ...]


@dataclass(frozen=True, slots=True)
class DailyQuota:
    """``most`` messages per device, app and day; the day begins at midnight in ``zone``."""

    most: int
    zone: str

    def until_tomorrow(self, now: datetime) -> timedelta:
        """How long until the count begins afresh."""
        return until_tomorrow(now, self.zone)


def until_tomorrow(now: datetime, zone: str) -> timedelta:
    """How long until midnight in ``zone``."""
    local = now.astimezone(ZoneInfo(zone))
    midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.astimezone(UTC) - now


def daily_quota(provider: str, on: date, category: str = MARKETING) -> DailyQuota | None:
    """The quota in force on a day; None when the provider has none for that category."""
    begun = [row for row in _rows() if row.provider == provider and row.category == category and row.first <= on]
    latest = max(begun, key=lambda row: row.first, default=None)
    return None if latest is None else DailyQuota(latest.most, latest.zone)


def categories(provider: str) -> frozenset[str]:
    """What an account at this provider may say it sends."""
    return frozenset({NO_QUOTA, *(row.category for row in _rows() if row.provider == provider)})


@cache
def _rows() -> tuple[QuotaRow, ...]:
    text = files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return QuotaFile.model_validate(YAML(typ="safe", pure=True).load(text)).quotas
