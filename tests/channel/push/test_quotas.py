"""The phone makers' daily numbers: dated, sourced, and a day that begins at midnight where the provider is."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from importlib.resources import files

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from orchestrator.channel.push.quotas import DailyQuota, QuotaFile, categories, daily_quota


@pytest.mark.parametrize(
    ("provider", "category", "most"),
    [
        ("huawei", "marketing", 2),
        ("huawei", "news", 5),
        ("honor", "marketing", 2),
        ("xiaomi", "marketing", 1),
        ("xiaomi", "public", 5),
        ("oppo", "marketing", 2),
        ("vivo", "marketing", 2),
        ("vivo", "news", 5),
    ],
)
def test_today(provider: str, category: str, most: int) -> None:
    assert daily_quota(provider, date(2026, 11, 22), category) == DailyQuota(most, "Asia/Shanghai")


def test_the_rule_of_the_day_counts() -> None:
    assert daily_quota("vivo", date(2019, 12, 31)) is None
    assert daily_quota("vivo", date(2023, 4, 2)) == DailyQuota(5, "Asia/Shanghai")
    assert daily_quota("vivo", date(2023, 4, 3)) == DailyQuota(2, "Asia/Shanghai")


def test_who_has_none() -> None:
    assert daily_quota("fcm", date(2026, 11, 22)) is None
    assert daily_quota("huawei", date(2026, 11, 22), "other") is None
    assert categories("fcm") == {"none"}
    assert categories("oppo") == {"none", "marketing", "news"}


@pytest.mark.parametrize(
    ("now", "wait"),
    [
        (datetime(2026, 12, 1, 15, 59, tzinfo=UTC), timedelta(minutes=1)),
        (datetime(2026, 12, 1, 16, 0, tzinfo=UTC), timedelta(days=1)),
        (datetime(2026, 12, 31, 3, 0, tzinfo=UTC), timedelta(hours=13)),
    ],
)
def test_the_day_begins_in_china(now: datetime, wait: timedelta) -> None:
    assert DailyQuota(2, "Asia/Shanghai").until_tomorrow(now) == wait


def test_a_day_with_a_clock_change_is_as_long_as_it_is() -> None:
    now = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)  # midnight in Berlin, before 25 hours
    assert DailyQuota(2, "Europe/Berlin").until_tomorrow(now) == timedelta(hours=25)


def test_every_row_has_a_source_and_the_latest_of_a_kind_is_one() -> None:
    text = files("orchestrator.channel.push").joinpath("quotas.yaml").read_text(encoding="utf-8")
    rows = QuotaFile.model_validate(YAML(typ="safe", pure=True).load(text)).quotas
    keys = [(row.provider, row.category, row.first) for row in rows]
    assert len(keys) == len(set(keys))
    assert all(len(row.source) > 3 for row in rows)


@pytest.mark.parametrize("wrong", [{"most": 0}, {"zone": "Asia/Shangai"}, {"source": ""}, {"more": 1}])
def test_a_wrong_row_is_refused(wrong: dict[str, object]) -> None:
    row = {"provider": "p", "category": "c", "most": 1, "zone": "UTC", "from": date(2026, 1, 1), "source": "s"}
    with pytest.raises((ValidationError, LookupError)):
        QuotaFile.model_validate({"quotas": [{**row, **wrong}]})
