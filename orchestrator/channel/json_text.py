"""Reading a provider's JSON as far as it is there: what is missing or of another type is empty, never an error."""

from __future__ import annotations

from typing import Any

import orjson


def loaded(body: bytes | str) -> Any:
    """The value, or None for what is no JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def mapping(value: Any) -> dict[str, Any]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of an array; one object counts as an array of it."""
    listed = value if isinstance(value, list) else [value]
    return [each for each in listed if isinstance(each, dict)]


def text(value: Any) -> str:
    """A string, or a whole number as one; else empty."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
