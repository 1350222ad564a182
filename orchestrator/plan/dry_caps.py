"""How many of a dry run's members could not be sent to now: the set form of caps and back-off, over the real ledger."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from orchestrator.campaign.spec import Campaign
from orchestrator.clock import to_micros
from orchestrator.policy.caps import BACKOFF, Caps
from orchestrator.policy.caps_sql import at_cap_sql, backed_off_sql


def at_caps(connection: Connection, campaign: Campaign, caps: Caps, ledger: str, now: datetime) -> dict[str, int]:
    """Members who are owed a message and are at a rule's cap at ``now``, by rule; a member may be at several.

    ``ledger``: the schema of the real tables, since those of the dry run stand before them.
    """
    values = {"now": to_micros(now), "goal": campaign.goal.event}
    found: dict[str, int] = {}
    for label, channels, held in _questions(campaign, caps, f"{ledger}."):
        wanted = ", ".join(f"'{channel}'" for channel in channels)
        owed = f"""SELECT DISTINCT message.user_id FROM message JOIN lane ON lane.id = message.lane_id
            WHERE lane.channel IN ({wanted}) AND NOT message.held_out"""
        asked = {name: value for name, value in values.items() if f":{name}" in held}
        sql = f"SELECT count(*) FROM ({held.format(owed=owed)}) AS held"
        found[label] = connection.execute(text(sql), asked).scalar_one()
    return found


def _questions(campaign: Campaign, caps: Caps, ledger: str) -> list[tuple[str, list[str], str]]:
    """Each rule that the campaign is held to: its name, the channels it is about, and SQL for those whom it holds."""
    channels = sorted({step.channel for step in campaign.steps})
    covered = [
        (rule, [channel for channel in channels if rule in caps.rules_for(channel, campaign.tagged)])
        for rule in caps.rules
    ]
    found = [
        (rule.label, about, f"SELECT 1 FROM ({{owed}}) AS owed WHERE {at_cap_sql(rule, caps.exempt, _OWED, ledger)}")
        for rule, about in covered
        if about
    ]
    slowed = [channel for channel in channels if caps.backoff_for(channel, campaign.tagged)]
    if slowed and caps.backoff is not None:
        found.append((BACKOFF, slowed, backed_off_sql(caps.backoff, caps.exempt, "{owed}", ledger)))
    return found


_OWED = "owed.user_id"
