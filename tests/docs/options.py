"""The options model of a provider, found by convention: the one class of its module whose name ends in ``Options``."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

from pydantic import BaseModel

from orchestrator.channel.plugins import GROUP


def model_of(provider: str) -> type[BaseModel]:
    [plugin] = entry_points(group=GROUP, name=provider)
    opener = plugin.load()
    [model] = [
        each
        for name, each in vars(sys.modules[opener.__module__]).items()
        if name.endswith("Options") and isinstance(each, type) and issubclass(each, BaseModel)
    ]
    return model
