"""From settings to the parts that work: the one place where configuration becomes objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.audience.erased import Seal, seal_with
from orchestrator.channel.base import Ambiguity, Channel
from orchestrator.channel.callback import Callbacks, Postbox
from orchestrator.channel.plugins import kinds_of, open_channel
from orchestrator.clock import AcceleratedClock, Clock, SystemClock
from orchestrator.content.links import Links
from orchestrator.daemon.bell import Bell
from orchestrator.daemon.key import read_key, seal
from orchestrator.dispatch.account import Account, open_account, restrain
from orchestrator.errors import ConfigError, Problem
from orchestrator.limits.breaker import OwnProbes, Probes
from orchestrator.limits.rate import Limiter, MemoryLimiter
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Carrier, Routing
from orchestrator.settings import AccountSettings, RouteSettings, Settings, config_file, file_of
from orchestrator.store import Store
from orchestrator.timing.besttime import Habits
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
            raise ConfigError([Problem(file_of(name), 0, f"accounts.{name}", problem, hint)])
    return AcceleratedClock(settings.clock.start, settings.clock.speed, settings.clock.origin)


def _local(account: AccountSettings) -> bool:
    url = account.options.get("base_url") or account.options.get("url") or ""
    host = account.options.get("host") or urlsplit(str(url)).hostname
    return account.provider in {"log", "inbox"} or host in LOOPBACK


def public_url(settings: Settings) -> str:
    """Where the outside reaches the API."""
    return (settings.public_url or f"http://{settings.host}:{settings.port}").rstrip("/")


def open_channels(settings: Settings) -> dict[str, Channel]:
    """Every account's channel, opened.

    Raises:
        ConfigError: wrong options; nothing is sent anywhere to find out.
    """
    return {name: open_account_channel(settings, name) for name in settings.accounts}


def open_account_channel(settings: Settings, name: str) -> Channel:
    """One account's channel, opened.

    Raises:
        ConfigError: wrong options, or a provider of another channel than the account says.
    """
    account = settings.accounts[name]
    options = dict(account.options)
    if account.provider == "log":  # it can stand for any channel: the account's, unless told otherwise
        _same_channel(name, account, str(options.setdefault("channel", account.channel)))
    try:
        made = open_channel(name, account.provider, options, callback_url=f"{public_url(settings)}/callbacks/{name}")
    except ConfigError as error:
        raise _in_its_file(name, error) from None
    _same_channel(name, account, made.channel)
    return made


def _in_its_file(name: str, error: ConfigError) -> ConfigError:
    """A plugin knows fields alone: the file is the one that holds the account."""
    return ConfigError([replace(problem, file=file_of(name)) for problem in error.problems])


def _same_channel(name: str, account: AccountSettings, sends: str) -> None:
    """Messages of one channel through a provider of another would all be refused, or worse, taken."""
    if sends != account.channel:
        problem = f"is {account.channel}, and provider {account.provider} sends {sends}"
        hint = f"write channel: {sends}, or choose another provider"
        raise ConfigError([Problem(file_of(name), 0, f"accounts.{name}.channel", problem, hint)])


def links_of(settings: Settings) -> Links:
    """What makes and reads the links of messages; its key is made the first time.

    Raises:
        ConfigError: the key cannot be read.
    """
    return Links(public_url(settings), read_key(key_file(settings)))


def preview_links(settings: Settings) -> Links:
    """The same for looking alone: makes no file; without a key its links lead nowhere."""
    path = key_file(settings)
    return links_of(settings) if path.is_file() else Links(public_url(settings), bytes(32))


def key_file(settings: Settings) -> Path:
    """Where the key of links is: as configured, else beside the database."""
    if settings.links_key_file is not None:
        return settings.links_key_file
    remote = "://" in settings.database
    return Path("links.key") if remote else Path(f"{settings.database}.links.key")


def know_erased(settings: Settings, store: Store) -> None:
    """Let this process hash opt-outs of erased people: :func:`sealer_of`."""
    seal_with(store.writer_engine, sealer_of(settings))


def sealer_of(settings: Settings, *, make: bool = True) -> Seal:
    """What hashes opt-outs of erased people. The key is read when it is first needed.

    A new one is made beside a SQLite database alone: elsewhere it is the daemons' that has to be there.
    """
    own = make and settings.erasure_key_file is None and "://" not in settings.database

    @cache
    def sealing() -> Callable[[str], str]:
        return seal(read_key(settings.erasure_key_file or key_file(settings), make=own))

    def sealed(text: str) -> str:
        return sealing()(text)

    return sealed


@dataclass(frozen=True, slots=True)
class Parts:
    """What a daemon is made of."""

    clock: Clock
    quiet: QuietHours
    planner: Planner
    channels: Mapping[str, Channel]
    accounts: Mapping[str, Account]
    resend: Mapping[str, bool]
    """Per account: whether an ambiguous send may go out again."""

    def callbacks(self) -> dict[str, Callbacks]:
        """The accounts whose provider calls back."""
        return {name: channel for name, channel in self.channels.items() if _calls_back(channel)}  # type: ignore[misc]

    def postboxes(self) -> dict[str, Postbox]:
        """The accounts whose mail comes back."""
        return {name: each for name, each in self.channels.items() if hasattr(each, "postmarks")}  # type: ignore[misc]


def _calls_back(channel: object) -> bool:
    return callable(getattr(channel, "hear", None))


def planner_of(settings: Settings, clock: Clock, channels: Mapping[str, Channel] | None = None) -> Planner:
    """The planner alone: what planning needs of the settings. Without ``channels`` none is opened for it."""
    routing = routing_of(settings, channels or {})
    return Planner(clock, QuietHours.load(settings.quiet_hours), routing, explore=settings.best_time.explore)


def habits_of(settings: Settings) -> Habits:
    """How users' best hours are learned."""
    said = settings.best_time
    return Habits(said.half_life, said.least_history, said.pseudo, said.event)


def routing_of(settings: Settings, channels: Mapping[str, Channel]) -> Routing:
    """Which account takes what, in the order of the files.

    Raises:
        ConfigError: an unknown provider.
    """
    return Routing(tuple(_carrier(name, one, channels.get(name)) for name, one in settings.accounts.items()))


def _carrier(name: str, account: AccountSettings, channel: Channel | None) -> Carrier:
    route = account.route or RouteSettings()
    try:
        kinds = kinds_of(name, account.provider) if channel is None else channel.kinds
    except ConfigError as error:
        raise _in_its_file(name, error) from None
    named = (frozenset(kinds), frozenset(route.countries), frozenset(route.platforms))
    return Carrier(name, account.channel, *named, route.share)


def redis_address(settings: Settings) -> str | None:
    """Where Redis or Valkey is, if the deployment has one.

    Raises:
        ConfigError: the file with its address cannot be read.
    """
    if settings.redis is not None:
        return settings.redis.get_secret_value()
    if settings.redis_file is None:
        return None
    try:
        return settings.redis_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        hint = "write the address into it, readable by this user"
        problem = f"{settings.redis_file} cannot be read"
        raise ConfigError([Problem(str(config_file()), 0, "redis_file", problem, hint)]) from None


def bell_of(settings: Settings) -> Bell:
    """What wakes idle workers: of this process, and through Redis or Valkey of all."""
    address = redis_address(settings)
    if address is None:
        return Bell()
    from orchestrator.daemon.shared_bell import SharedBell  # +8 MB, which a daemon of its own never pays

    return SharedBell(address, settings.redis_name)


def limits_of(settings: Settings, clock: Clock) -> tuple[Limiter, Probes]:
    """What gives out permission to send: of this process alone, or shared by all through Redis or Valkey."""
    address = redis_address(settings)
    if address is None:
        return MemoryLimiter(clock.monotonic), OwnProbes()
    from orchestrator.limits.shared import SharedLimiter, SharedProbes, connect

    client = connect(address)
    return SharedLimiter(client, settings.redis_name, clock.monotonic), SharedProbes(client, settings.redis_name)


def build(settings: Settings, clock: Clock | None = None) -> Parts:
    """All parts. Rates are those of this process, or with ``redis`` those of all processes together.

    Raises:
        ConfigError: with what is wrong in the settings.
    """
    clock = clock or clock_of(settings)
    channels = open_channels(settings)
    planner = planner_of(settings, clock, channels)
    limiter, probes = limits_of(settings, clock)
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
    for name, chosen in settings.accounts.items():
        restrain(accounts[name], chosen.domains, chosen.warm_up, clock.monotonic, probes)
    resend = {name: channel.ambiguity is Ambiguity.RESEND for name, channel in channels.items()}
    return Parts(clock, planner.quiet, planner, channels, accounts, resend)
