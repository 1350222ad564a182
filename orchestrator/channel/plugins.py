"""Channels by entry point: ours and those somebody installs, all through the same door."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from orchestrator.channel.base import Channel
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
