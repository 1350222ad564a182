"""What ``doctor`` asks the providers: every account's own check, all at once, each within its time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from orchestrator.channel.base import Channel, Health
from orchestrator.daemon.line import Line
from orchestrator.daemon.wiring import open_account_channel
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings

AT_MOST = 60.0
"""Seconds for one account, whatever its provider may take for a message."""


def examine(settings: Settings, names: Sequence[str]) -> list[Line]:
    """Open these accounts and let each check itself; nothing is sent to anybody. Call it outside an event loop."""

    async def all_of_them() -> list[list[Line]]:
        return await asyncio.gather(*(_account(settings, name) for name in names))

    return [line for lines in asyncio.run(all_of_them()) for line in lines]


async def _account(settings: Settings, name: str) -> list[Line]:
    what = f"account {name}"
    try:
        channel = open_account_channel(settings, name)
    except ConfigError as error:
        return [
            Line(what, Health.BROKEN, f"{one.file}: {one.field}: {one.message}", one.hint or "mend that file")
            for one in error.problems
        ]
    try:
        return await _checked(what, channel)
    finally:
        await channel.close()


async def _checked(what: str, channel: Channel) -> list[Line]:
    check = getattr(channel, "check", None)
    if not callable(check):
        hint = "orchestrator send-test CAMPAIGN --to ADDRESS sends one"
        return [Line(what, Health.FINE, f"{channel.provider}: configured; cannot be checked without sending", hint)]
    seconds = min(channel.timeout.total_seconds(), AT_MOST)
    try:
        async with asyncio.timeout(seconds):
            findings = await check()
    except TimeoutError:
        said = f"{channel.provider}: no answer within {seconds:g} s"
        return [Line(what, Health.BROKEN, said, "see that this machine can reach the provider")]
    except Exception as error:  # noqa: BLE001  # a plugin's bug is one line
        said = f"{channel.provider}: its check failed with {type(error).__name__}"
        return [Line(what, Health.BROKEN, said, "tell who wrote the plugin")]
    return [Line(what, one.health, f"{channel.provider}: {one.what}", one.hint) for one in findings] or [
        Line(what, Health.FINE, f"{channel.provider}: nothing is wrong")
    ]
