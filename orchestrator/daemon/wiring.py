"""From settings to the parts that work: the one place where configuration becomes objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from orchestrator.channel.base import Ambiguity, Callbacks, Channel
from orchestrator.channel.plugins import open_channel
from orchestrator.clock import AcceleratedClock, Clock, SystemClock
from orchestrator.dispatch.account import Account, open_account
from orchestrator.errors import ConfigError, Problem
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.plan.planner import Planner
from orchestrator.settings import AccountSettings, Settings
from orchestrator.timing.quiet import QuietHours

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def clock_of(settings: Settings) -> Clock:
    """Business time as configured.

    Raises:
        ConfigError: an accelerated clock beside an account that is not on this machine.
    """
    if settings.clock is None:
        return SystemClock()
    for name, account in settings.accounts.items():
        if not _local(account):
            problem = "an accelerated clock goes with the sandbox alone"
            hint = "remove `clock`, or point the account at a loopback base_url"
            raise ConfigError([Problem("orchestrator.yaml", 0, f"accounts.{name}", problem, hint)])
    return AcceleratedClock(settings.clock.start, settings.clock.speed, settings.clock.origin)


def _local(account: AccountSettings) -> bool:
    url = str(account.options.get("base_url", ""))
    return account.provider == "log" or urlsplit(url).hostname in LOOPBACK


def public_url(settings: Settings) -> str:
    """Where the outside reaches the API."""
    return (settings.public_url or f"http://{settings.host}:{settings.port}").rstrip("/")


def open_channels(settings: Settings) -> dict[str, Channel]:
    """Every account's channel, opened.

    Raises:
        ConfigError: wrong options; nothing is sent anywhere to find out.
    """
    base = public_url(settings)
    return {
        name: open_channel(name, account.provider, account.options, callback_url=f"{base}/callbacks/{name}")
        for name, account in settings.accounts.items()
    }


@dataclass(frozen=True, slots=True)
class Parts:
    """What a daemon is made of."""

    clock: Clock
    quiet: QuietHours
    planner: Planner
    channels: Mapping[str, Channel]
    accounts: Mapping[str, Account]
    resend: Mapping[str, bool]
    """Per channel: whether an ambiguous send may go out again."""

    def callbacks(self) -> dict[str, Callbacks]:
        """The accounts whose provider calls back."""
        return {name: channel for name, channel in self.channels.items() if _calls_back(channel)}  # type: ignore[misc]


def _calls_back(channel: object) -> bool:
    return callable(getattr(channel, "genuine", None)) and callable(getattr(channel, "read", None))


def planner_of(settings: Settings, clock: Clock) -> Planner:
    """The planner alone: what planning needs of the settings."""
    accounts = {name: account.channel for name, account in settings.accounts.items()}
    return Planner(clock, QuietHours.load(settings.quiet_hours), accounts)


def build(settings: Settings, clock: Clock | None = None) -> Parts:
    """All parts. Rates are those of this process.

    Raises:
        ConfigError: with what is wrong in the settings.
    """
    clock = clock or clock_of(settings)
    planner = planner_of(settings, clock)
    channels = open_channels(settings)
    limiter = MemoryLimiter(clock.monotonic)
    accounts = {
        name: open_account(
            name,
            channels[name],
            rate=chosen.rate,
            burst=chosen.burst,
            ramp=chosen.ramp,
            connections=chosen.connections,
            limiter=limiter,
            monotonic=clock.monotonic,
        )
        for name, chosen in settings.accounts.items()
    }
    resend = {channel.channel: channel.ambiguity is Ambiguity.RESEND for channel in channels.values()}
    return Parts(clock, planner.quiet, planner, channels, accounts, resend)
