"""Providers that count a request once by an id of its own: which ids they have seen, also before a restart."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import orjson

from orchestrator.sandbox.accepted import AcceptedLog

_PAGE = 1000
_SEEN: WeakKeyDictionary[AcceptedLog, dict[tuple[str, str], str]] = WeakKeyDictionary()


def first_result(log: AcceptedLog, provider: str, key: str) -> str | None:
    """The id of what was accepted under ``key``; None for a key not seen. Records keep their key as ``once``."""
    return _seen(log).get((provider, key))


def remember(log: AcceptedLog, provider: str, key: str, result: str) -> None:
    """What was accepted under ``key``."""
    _seen(log)[provider, key] = result


def _seen(log: AcceptedLog) -> dict[tuple[str, str], str]:
    seen = _SEEN.get(log)
    if seen is None:
        seen = _SEEN[log] = {}
        for start in range(0, len(log), _PAGE):
            for line in log.page(start, _PAGE):
                record = orjson.loads(line)
                if record.get("once"):
                    seen[record["provider"], record["once"]] = record["id"]
    return seen
