"""Channels by entry point: ours and those somebody installs, all through the same door."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from orchestrator.channel.base import ANY_KIND, Channel
from orchestrator.errors import ConfigError, Problem, did_you_mean

GROUP = "orchestrator.channels"

Opener = Callable[[str, Mapping[str, Any], str], Channel]
"""A plugin: ``open_channel(account, options, callback_url) -> Channel``; wrong options raise ConfigError."""


def providers() -> list[str]:
    """The names of all installed plugins."""
    return sorted({plugin.name for plugin in entry_points(group=GROUP)})


def open_channel(account: str, provider: str, options: Mapping[str, Any], *, callback_url: str) -> Channel:
    """Open an account. ``callback_url`` is where its provider reaches us: ``https://public/callbacks/ACCOUNT``.

    Raises:
        ConfigError: unknown provider, a plugin that does not load, or wrong options.
    """
    return _load(account, _plugin(account, provider))(account, options, callback_url.rstrip("/"))


def kinds_of(account: str, provider: str) -> frozenset[str]:
    """The kinds of addresses that a provider's channels take, told without opening one.

    A channel's class says it (``kinds``); where it does not, every kind is taken to fit.

    Raises:
        ConfigError: unknown provider, or a plugin that does not load.
    """
    said = [vars(each).get("kinds") for each in _classes(account, provider)]
    found = [kinds for kinds in said if isinstance(kinds, frozenset)]
    return frozenset[str]().union(*found) if found else ANY_KIND


def calls_back(account: str, provider: str) -> bool:
    """Whether a provider calls back, told without opening a channel.

    Raises:
        ConfigError: unknown provider, or a plugin that does not load.
    """
    return any("hear" in vars(each) for each in _classes(account, provider))


def _classes(account: str, provider: str) -> list[type]:
    """The classes that the plugin's module knows: the channel's is among them."""
    module = sys.modules[_load(account, _plugin(account, provider)).__module__]
    return [each for each in vars(module).values() if isinstance(each, type)]


def _plugin(account: str, provider: str) -> EntryPoint:
    found = tuple(entry_points(group=GROUP, name=provider))
    if not found:
        raise _wrong(account, f"no plugin for provider {provider!r}", did_you_mean(provider, providers()))
    if len({plugin.value for plugin in found}) > 1:
        values = " and ".join(sorted({plugin.value for plugin in found}))
        raise _wrong(account, f"two plugins for provider {provider!r}: {values}", "uninstall one")
    return found[0]


def _load(account: str, plugin: EntryPoint) -> Opener:
    try:
        opener: Opener = plugin.load()
    except (ImportError, AttributeError) as error:
        raise _wrong(account, f"plugin {plugin.value!r} does not load: {error}", "reinstall it") from error
    return opener


def _wrong(account: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Problem("settings", 0, f"accounts.{account}.provider", message, hint)])
