"""The options model of a provider, found by convention: the one class of its module whose name ends in ``Options``."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import TypeGuard

from pydantic import BaseModel

from orchestrator.channel.plugins import GROUP


def model_of(provider: str) -> type[BaseModel]:
    [plugin] = entry_points(group=GROUP, name=provider)
    opener = plugin.load()
    own = [each for each in vars(sys.modules[opener.__module__]).values() if _is_own(each, opener.__module__)]
    [model] = [each for each in own if each.__name__.endswith("Options")]
    return model


def _is_own(each: object, module: str) -> TypeGuard[type[BaseModel]]:
    """Whether it is a model that the module defines, and not one that it builds on."""
    return isinstance(each, type) and issubclass(each, BaseModel) and each.__module__ == module
