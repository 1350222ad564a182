"""SMS budgets at the mark: who may still be sent to, decided where it is committed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.campaign.spec import Budget, Campaign
from orchestrator.channel.base import SmsPayload
from orchestrator.content.sms import billed_parts
from orchestrator.dispatch.compose import Composed
from orchestrator.ledger.alerts import raise_alert
from orchestrator.ledger.claim import Lane
from orchestrator.ledger.spend import Spent, hold, spend, spent

OVER = "budget"
"""The reason of what would go beyond."""


def over_budget(
    connection: Connection, campaign: Campaign, lane: Lane, leaving: Sequence[Composed], now: datetime
) -> set[int]:
    """Book what is to leave now, in order, as far as the budget goes; the ids of the messages that it does not pay for.

    A message that has been tried before is paid for.
    """
    fresh = [item for item in leaving if item.message.attempts == 0 and isinstance(item.payload, SmsPayload)]
    if not fresh:
        return set()
    budget = campaign.budget
    before = Spent()
    if budget is not None:
        hold(connection, campaign.name)
        before = spent(connection, campaign.name, lane.run_id if budget.each_run else None)
    sms, parts, over = 0, 0, set()
    for item in fresh:
        cost = parts_of(item)
        if budget is not None and not _fits(budget, Spent(before.sms + sms + 1, before.sms_parts + parts + cost)):
            over.add(int(item.message.id))
            continue
        sms, parts = sms + 1, parts + cost
    if sms:
        spend(connection, campaign.name, lane.run_id, Spent(sms, parts))
    if over:
        _tell(connection, campaign, lane, now)
    return over


def _fits(budget: Budget, total: Spent) -> bool:
    in_sms = budget.sms is None or total.sms <= budget.sms
    return in_sms and (budget.sms_parts is None or total.sms_parts <= budget.sms_parts)


def parts_of(item: Composed) -> int:
    """What an SMS is billed as."""
    assert isinstance(item.payload, SmsPayload)
    return billed_parts(item.payload, item.address)


def _tell(connection: Connection, campaign: Campaign, lane: Lane, now: datetime) -> None:
    each_run = campaign.budget is not None and campaign.budget.each_run
    key = f"{campaign.name}:run {lane.run_id}" if each_run else f"{campaign.name}:{lane.version[:12]}"
    raise_alert(connection, key, "budget", now, {"campaign": campaign.name, "run": lane.run_id})
