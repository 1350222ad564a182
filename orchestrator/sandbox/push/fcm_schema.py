"""The names and types of FCM's message, as its JSON parser checks them before anybody looks at the meaning.

Names are camelCase in the schema; snake_case is the same name (proto3 JSON). Source: providers §1, the v1 reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

STRING: Final = "TYPE_STRING"
BOOL: Final = "TYPE_BOOL"
INT: Final = "TYPE_INT32"
NUMBER: Final = "TYPE_FLOAT"
STRINGS: Final = "repeated TYPE_STRING"
MAP: Final = "map<string, string>"
STRUCT: Final = "type.googleapis.com/google.protobuf.Struct"
DURATION: Final = "type.googleapis.com/google.protobuf.Duration"
DURATIONS: Final = "repeated Duration"
TIMESTAMP: Final = "type.googleapis.com/google.protobuf.Timestamp"

Schema = Mapping[str, Any]
"""Name to a type above, a nested schema, or a frozenset of an enum's words."""

_OPTIONS: Schema = {"analyticsLabel": STRING}
_LIGHT: Schema = {
    "color": {"red": NUMBER, "green": NUMBER, "blue": NUMBER, "alpha": NUMBER},
    "lightOnDuration": DURATION,
    "lightOffDuration": DURATION,
}
_PRIORITIES = ("UNSPECIFIED", "MIN", "LOW", "DEFAULT", "HIGH", "MAX")
_ANDROID_NOTIFICATION: Schema = {
    **dict.fromkeys(("title", "body", "icon", "color", "sound", "tag", "clickAction", "bodyLocKey"), STRING),
    **dict.fromkeys(("titleLocKey", "channelId", "ticker", "image"), STRING),
    **dict.fromkeys(("bodyLocArgs", "titleLocArgs"), STRINGS),
    **dict.fromkeys(("sticky", "localOnly", "defaultSound", "defaultVibrateTimings", "defaultLightSettings"), BOOL),
    "bypassProxyNotification": BOOL,
    "eventTime": TIMESTAMP,
    "notificationCount": INT,
    "notificationPriority": frozenset({"PRIORITY_UNSPECIFIED", *(f"PRIORITY_{word}" for word in _PRIORITIES)}),
    "visibility": frozenset({"VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"}),
    "proxy": frozenset({"PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"}),
    "vibrateTimings": DURATIONS,
    "lightSettings": _LIGHT,
}
MESSAGE: Schema = {
    "name": STRING,
    **dict.fromkeys(("token", "topic", "condition", "fid"), STRING),
    "data": MAP,
    "notification": {"title": STRING, "body": STRING, "image": STRING},
    "fcmOptions": _OPTIONS,
    "android": {
        "collapseKey": STRING,
        "priority": frozenset({"NORMAL", "HIGH", "normal", "high"}),
        "ttl": DURATION,
        "restrictedPackageName": STRING,
        "data": MAP,
        "notification": _ANDROID_NOTIFICATION,
        "fcmOptions": _OPTIONS,
        "directBootOk": BOOL,
        "bandwidthConstrainedOk": BOOL,
        "restrictedSatelliteOk": BOOL,
    },
    "apns": {
        "headers": MAP,
        "payload": STRUCT,
        "fcmOptions": {"analyticsLabel": STRING, "image": STRING},
        "liveActivityToken": STRING,
    },
    "webpush": {
        "headers": MAP,
        "data": MAP,
        "notification": STRUCT,
        "fcmOptions": {"link": STRING, "analyticsLabel": STRING},
    },
}
REQUEST: Schema = {"validateOnly": BOOL, "message": MESSAGE}

_DURATION = re.compile(r"-?\d{1,12}(\.\d{1,9})?s")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Violation:
    """One entry of ``BadRequest.fieldViolations``."""

    field: str
    description: str


def camel(name: str) -> str:
    """``collapse_key`` as ``collapseKey``."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def parse(value: object, schema: Schema, path: str, found: list[Violation]) -> dict[str, Any]:
    """``value`` with camelCase names, as far as it fits ``schema``; what does not is added to ``found``."""
    if not isinstance(value, dict):
        found.append(_invalid(path, "type.googleapis.com/google.firebase.fcm.v1", value))
        return {}
    parsed: dict[str, Any] = {}
    for name, inner in value.items():
        key = camel(name)
        where = f"{path}.{name}" if path else name
        if key not in schema:
            at = f" at '{path}'" if path else ""
            found.append(
                Violation(path, f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.')
            )
        elif inner is not None:  # null is as good as absent
            parsed[key] = _one(inner, schema[key], where, found)
    return parsed


def _one(value: object, kind: Any, path: str, found: list[Violation]) -> Any:
    if isinstance(kind, Mapping):
        return parse(value, kind, path, found)
    if kind == MAP:
        found += _map_violations(value, path)
    elif isinstance(kind, frozenset):
        if value not in kind:
            found.append(_invalid(path, "enum", value))
    elif not _fits(value, kind):
        found.append(_invalid(path, kind, value))
    return value


def _map_violations(value: object, path: str) -> Iterator[Violation]:
    if not isinstance(value, dict):
        yield _invalid(path, MAP, value)
        return
    for index, inner in enumerate(value.values()):
        if not isinstance(inner, str):
            yield _invalid(f"{path}[{index}].value", STRING, inner)


def _fits(value: object, kind: str) -> bool:
    if kind in {STRINGS, DURATIONS}:
        single = STRING if kind == STRINGS else DURATION
        return isinstance(value, list) and all(_fits(inner, single) for inner in value)
    if kind in {INT, NUMBER}:
        return isinstance(value, int if kind == INT else int | float) and not isinstance(value, bool)
    if kind in {DURATION, TIMESTAMP}:
        pattern = _DURATION if kind == DURATION else _TIMESTAMP
        return isinstance(value, str) and pattern.fullmatch(value) is not None
    return isinstance(value, {STRING: str, BOOL: bool, STRUCT: dict}[kind])


def _invalid(path: str, kind: str, value: object) -> Violation:
    shown = str(value)[:60] if isinstance(value, str | int | float) else type(value).__name__
    return Violation(path, f"Invalid value at '{path}' ({kind}), {shown}")
