"""What ``explain --rules`` needs beside the ledger: the settings, as the mark goes by them."""

from __future__ import annotations

import asyncio

from orchestrator.campaign.caps import caps_in
from orchestrator.daemon.wiring import open_account_channel, routing_of
from orchestrator.dispatch.quota import Quota
from orchestrator.errors import ConfigError
from orchestrator.policy.allowed import only_to
from orchestrator.report.consulted import Around
from orchestrator.settings import Settings
from orchestrator.timing.quiet import QuietHours


def around(settings: Settings) -> Around:
    """Quiet hours, caps, routing, the allow-list and quotas.

    Raises:
        ConfigError: with what is wrong in the files.
    """
    quiet, caps = QuietHours.load(settings.quiet_hours), caps_in(settings.campaigns)
    return Around(quiet, caps, routing_of(settings, {}), only_to(settings.only_to), lambda name: _quota(settings, name))


def _quota(settings: Settings, account: str) -> Quota | None:
    """An account's quota; of one that cannot be opened on this machine it is not known."""
    if account not in settings.accounts:
        return None
    try:
        channel = open_account_channel(settings, account)
    except ConfigError:
        return None
    asyncio.run(channel.close())
    return getattr(channel, "quota", None)
