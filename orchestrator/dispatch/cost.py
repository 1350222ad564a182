"""What a run's SMS would come to: rendered for a sample of those who are owed one, and scaled up."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from orchestrator.audience.facts import facts_of
from orchestrator.campaign.spec import Arm, Step
from orchestrator.campaign.version import Bundle
from orchestrator.channel.base import SmsPayload
from orchestrator.content.sms import billed_parts
from orchestrator.content.templates import TemplateSet
from orchestrator.dispatch.compose import worded
from orchestrator.errors import RenderError, SkipMessage


def sms_parts(connection: Connection, bundle: Bundle, arm: Arm, step: Step, users: Sequence[int]) -> list[int]:
    """The parts of each of these users' SMS; 0 for whom the template would not make one."""
    compiled, template = TemplateSet(bundle.templates), bundle.campaign.template_of(arm, step)
    found = []
    for facts in facts_of(connection, users).values():
        locale = str(facts.get("locale") or "")
        try:
            payload = worded(bundle, compiled, template, step.channel, locale, facts, None).payload
        except (SkipMessage, RenderError):
            found.append(0)
        else:
            phone = "" if facts.get("country") in {None, "CN"} else "+"  # as their country says: +86, or another
            found.append(billed_parts(payload, phone) if isinstance(payload, SmsPayload) else 0)
    return found


def approved_templates(bundle: Bundle) -> list[str]:
    """The codes of the approved templates that the campaign's SMS are sent with; none where text is free."""
    compiled, campaign = TemplateSet(bundle.templates), bundle.campaign
    pairs = ((arm, step) for arm in campaign.arms for step in campaign.steps if step.channel == "sms")
    return sorted({code for arm, step in pairs for code in compiled.approved(campaign.template_of(arm, step))})
