"""Everything that can happen on a walk: the modules named here fill the list."""

from __future__ import annotations

from tests.walk import operators, people, providers, workers
from tests.walk.registry import BEGINNING, OPERATIONS

MODULES = (people, operators, providers, workers)

__all__ = ["BEGINNING", "MODULES", "OPERATIONS"]
