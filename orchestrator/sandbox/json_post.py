"""Something to be posted to a customer as JSON, with headers that do not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import orjson


@dataclass(frozen=True, slots=True)
class JsonPost:
    """One post. ``lie``: what a forger would post instead, and with which headers."""

    body: object
    headers: Mapping[str, str] = field(default_factory=dict)
    lie: Callable[[], tuple[Mapping[str, str], object]] | None = None

    def request(self, url: str, *, forged: bool) -> tuple[Mapping[str, str], bytes]:
        """Headers and body."""
        del url
        headers, body = self.lie() if forged and self.lie is not None else (self.headers, self.body)
        return {"content-type": "application/json;charset=UTF-8", **headers}, orjson.dumps(body)
