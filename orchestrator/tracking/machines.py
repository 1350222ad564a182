"""Opens and clicks that are people: rules that are data (``machines.yaml``), asked on write and again at any time.

A hit is kept with what it said of itself, whatever is thought of it; only ``confidence`` and ``why`` are opinions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

BUILT_IN: Final = Path(__file__).with_name("machines.yaml")
AGENT_LENGTH: Final = 300
_KEEP_BITS: Final = {4: 24, 6: 48}
_BROWSERS: Final = (
    ("edge", "Edg/"), ("opera", "OPR/"), ("wechat", "MicroMessenger"), ("firefox", "Firefox/"), ("chrome", "Chrome/"),
    ("safari", "Safari/"), ("mail", "AppleWebKit/"), ("outlook", "Outlook"), ("thunderbird", "Thunderbird"),
)  # fmt: skip

Network = IPv4Network | IPv6Network


class Confidence(StrEnum):
    """Who did it, as far as we can tell."""

    HUMAN = "human"
    SUSPECT = "suspect"
    MACHINE = "machine"


class Deed(StrEnum):
    """What was done to a message."""

    OPEN = "open"
    CLICK = "click"


@dataclass(frozen=True, slots=True)
class Facts:
    """One hit, as it is kept. ``network`` is cut short: nobody's whole address is stored."""

    deed: Deed
    at: datetime
    link: int = 0
    agent: str = ""
    network: str = ""
    delivered_at: datetime | None = None
    trapped: bool = False
    """It followed the hidden link, or whoever did so within the last day did this too."""
    machine: bool = False
    """The provider that counted it says that no person did it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is thought of a hit, and the rule that decided."""

    confidence: Confidence
    why: str


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    opens: Confidence
    clicks: Confidence

    def verdict(self, deed: Deed) -> Verdict:
        """What this row says of a deed."""
        return Verdict(self.opens if deed is Deed.OPEN else self.clicks, self.name)


class _Agent(_Row):
    match: re.Pattern[str]


class _Networks(_Row):
    cidrs: tuple[IPv4Network | IPv6Network, ...]


class Rules(BaseModel):
    """The rules, as the file has them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: object
    agents: tuple[_Agent, ...]
    networks: tuple[_Networks, ...]
    open_is_machine_within: Annotated[float, Field(ge=0)]
    click_is_suspect_within: Annotated[float, Field(ge=0)]
    burst_links: Annotated[int, Field(ge=2)]
    burst_seconds: Annotated[float, Field(gt=0)]
    trap_hours: Annotated[float, Field(ge=0)]

    @property
    def trap(self) -> timedelta:
        """How long a trapped visitor is a machine."""
        return timedelta(hours=self.trap_hours)

    def classify(self, facts: Facts, clicks: Iterable[tuple[int, datetime]] = ()) -> Verdict:
        """Who did this; ``clicks`` are all clicks on the same message (link, when), before and after it."""
        if facts.machine or facts.trapped:
            return Verdict(Confidence.MACHINE, "provider" if facts.machine else "trap")
        if facts.deed is Deed.CLICK and self._in_burst(facts, clicks):
            return Verdict(Confidence.MACHINE, "burst")
        found = self._row(facts)
        if found is not None and found.confidence is Confidence.MACHINE:
            return found
        return self._too_soon(facts) or found or Verdict(Confidence.HUMAN, "")

    def _row(self, facts: Facts) -> Verdict | None:
        for agent in self.agents:
            if re.search(agent.match, facts.agent):
                return agent.verdict(facts.deed)
        inside = _network(facts.network)
        for row in self.networks:
            if inside is not None and any(_within(inside, one) for one in row.cidrs):
                return row.verdict(facts.deed)
        return None

    def _too_soon(self, facts: Facts) -> Verdict | None:
        if facts.delivered_at is None:
            return None
        after = (facts.at - facts.delivered_at).total_seconds()
        if facts.deed is Deed.OPEN and after < self.open_is_machine_within:
            return Verdict(Confidence.MACHINE, "too-soon")
        if facts.deed is Deed.CLICK and after < self.click_is_suspect_within:
            return Verdict(Confidence.SUSPECT, "too-soon")
        return None

    def _in_burst(self, facts: Facts, clicks: Iterable[tuple[int, datetime]]) -> bool:
        """Whether some stretch shorter than the burst holds this click and enough different links."""
        span = timedelta(seconds=self.burst_seconds)
        near = [(at, link) for link, at in clicks if abs(at - facts.at) < span]
        near.append((facts.at, facts.link))
        return any(
            len({link for at, link in near if start <= at < start + span}) >= self.burst_links
            for start, _ in near
            if start <= facts.at
        )


@cache
def built_in() -> Rules:
    """The rules that come with the program."""
    read = YAML(typ="safe").load(BUILT_IN.read_text(encoding="utf-8"))
    for row in read["agents"]:
        row["match"] = re.compile(row["match"], re.IGNORECASE)
    return Rules.model_validate(read)


def agent_class(agent: str, rules: Rules) -> str:
    """A name for a User-Agent, for people: of a machine's row, or the browser's."""
    for row in rules.agents:
        if re.search(row.match, agent):
            return row.name
    return next((name for name, mark in _BROWSERS if mark in agent), "other")


def cut_network(host: str) -> str:
    """The network an address is in: /24, of IPv6 /48; "" for what is no address."""
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None) or address
    return str(ip_network(f"{mapped}/{_KEEP_BITS[mapped.version]}", strict=False))


def _network(text: str) -> Network | None:
    try:
        return ip_network(text) if text else None
    except ValueError:
        return None


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]
