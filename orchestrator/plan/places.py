"""Where a member is, as the policy asks: their country, or the part of it that their attribute ``region`` names.

A part is asked for where it makes a difference: in countries whose quiet hours differ by part, and in all countries
where the schedule goes by each member's own holidays. ``US-FL`` and ``FL`` are both understood; what is no part of the
user's country counts as not known. Phone numbers are not asked: they move with their owners.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.campaign.spec import Campaign
from orchestrator.store.dialect import json_text_sql
from orchestrator.timing.calendars import Holidays, divided_countries, parts_of
from orchestrator.timing.quiet import QuietHours

COUNTRY = "coalesce(users.country, '')"
"""SQL for a user's country."""


def place_sql(dialect: str, campaign: Campaign, quiet: QuietHours) -> str:
    """SQL for the place of a row of ``users``: :data:`COUNTRY` where parts make no difference."""
    everywhere = campaign.schedule.members_holidays is not Holidays.IGNORE
    asked = divided_countries() if everywhere else quiet.divided({step.channel for step in campaign.steps})
    parts = {part for country in asked for part in parts_of(country)}
    parts |= {part for part in quiet.parts if part.partition("-")[0] in asked}
    if not parts:
        return COUNTRY
    countries = {part.partition("-")[0] for part in parts}
    region = f"upper({json_text_sql(dialect, 'users.attributes', 'region')})"
    named = f"users.country || '-' || replace({region}, users.country || '-', '')"
    return f"""CASE WHEN users.country IN ({_listed(countries)}) AND {named} IN ({_listed(parts)}) THEN {named}
                    ELSE {COUNTRY} END"""


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words) if word.replace("-", "").isalnum())
