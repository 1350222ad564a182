"""What stands before a request's body, and where it goes: checked once, written as HTTP/1.1 or HTTP/2 has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from orchestrator.channel.transport import USER_AGENT

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_TARGET = re.compile(r"[!-~]*")

Origin = tuple[str, str, int]
"""Scheme, host and port."""


class Head(NamedTuple):
    """A request without its body."""

    origin: Origin
    method: str
    authority: str
    target: str
    headers: Mapping[str, str]


def read_head(method: str, url: str, headers: Mapping[str, str]) -> Head | None:
    """None for what cannot be a request: nothing of it may become a line of its own."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    named = {"user-agent": USER_AGENT, "accept": "*/*", **headers}
    fit = all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in named.items())
    if not (fit and _whole(parts) and _NAME.fullmatch(method) and _TARGET.fullmatch(target)):
        return None
    return Head((parts.scheme, parts.hostname or "", port), method, parts.netloc, target, named)


def _whole(parts: SplitResult) -> bool:
    return bool(parts.hostname) and parts.netloc.isascii() and "@" not in parts.netloc
