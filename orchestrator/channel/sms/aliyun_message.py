"""What Aliyun would refuse of a text, whoever it went to."""

from __future__ import annotations

import re

import orjson

from orchestrator.channel.base import Payload, SmsPayload

_CODE = re.compile(r"SMS_\d{1,30}", re.ASCII)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


def problems(payload: Payload, longest: int) -> list[str]:
    """``longest``: characters of one parameter."""
    if not isinstance(payload, SmsPayload):
        return ["an SMS account carries SMS payloads only"]
    if not payload.approved:
        return ["free text is impossible at Aliyun: give the template file an `approved:` line with the code (SMS_…)"]
    found: list[str] = []
    if not _CODE.fullmatch(payload.approved):
        found.append(f"{payload.approved!r} is no code of a template at Aliyun: SMS_ and digits")
    for name, value in payload.parameters.items():
        if not _NAME.fullmatch(name):
            found.append(f"parameter {name!r}: a variable at Aliyun is a letter, then letters, digits and _")
        if len(value) > longest:
            found.append(f"parameter {name!r} has {len(value)} characters; Aliyun takes {longest}")
    return found + _unwritable(payload)


def _unwritable(payload: SmsPayload) -> list[str]:
    try:
        orjson.dumps(dict(payload.parameters))
    except (orjson.JSONEncodeError, UnicodeEncodeError):
        return ["half of a character (a lone surrogate) in a parameter"]
    return []
