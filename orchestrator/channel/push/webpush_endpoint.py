"""Which endpoints are posted to. A browser hands them in, so anybody can write one: only push services are believed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.channel.outward import Target, read_target

ALLOWED: tuple[str, ...] = (
    "fcm.googleapis.com/fcm/send/",  # Chrome, and most of its kin
    "fcm.googleapis.com/wp/",  # the same, newer
    "jmt17.google.com/fcm/send/",  # Chromium without Google's keys
    "updates.push.services.mozilla.com/wpush/",  # Firefox
    "*.push.services.mozilla.com/wpush/",
    "web.push.apple.com/",  # Safari
    "*.push.apple.com/",
    "*.notify.windows.com/w/",  # Edge
)
"""Host, ``*.`` for any below it, and what the path begins with: other paths of these hosts are other services."""

_PORTS = frozenset({443})
_RULE = re.compile(r"(\*\.)?([a-z0-9-]+\.)+[a-z0-9-]*[a-z-][a-z0-9-]*(/[\w\-./~%]*)?")


def wrong_rule(rule: str) -> str:
    """Why ``rule`` cannot stand in the list; empty when it can."""
    return "" if _RULE.fullmatch(rule) else f"{rule!r} is not HOST, *.HOST or HOST/PATH, in lower case"


class Endpoints:
    """What is allowed: the services of a list, or, for the sandbox, one origin on this machine and nothing else."""

    def __init__(self, allowed: Sequence[str] = ALLOWED, *, origin: str = "") -> None:
        self._origin = origin
        self._rules = tuple((host, "/" + path) for host, _, path in (rule.partition("/") for rule in allowed))

    def target(self, endpoint: str) -> Target | None:
        """The endpoint as a target; None when nothing is ever sent to it."""
        target = read_target(endpoint, _PORTS)
        if isinstance(target, str):
            return None
        if self._origin:
            return target if target.own and target.origin == self._origin else None
        return target if not target.own and self._named(target) else None

    def could_be(self, endpoint: str) -> bool:
        """Whether another list might allow it. What is no https address of a host on port 443 never is an endpoint."""
        return not isinstance(read_target(endpoint, _PORTS), str)

    def hosts(self) -> list[str]:
        """The hosts that can be looked up."""
        if self._origin:
            return []
        return sorted({host for host, _ in self._rules if not host.startswith("*.")})

    def _named(self, target: Target) -> bool:
        return any(_fits(host, target.host) and target.path.startswith(path) for host, path in self._rules)


def _fits(rule: str, host: str) -> bool:
    return host.endswith(rule[1:]) and len(host) > len(rule) - 1 if rule.startswith("*.") else host == rule
