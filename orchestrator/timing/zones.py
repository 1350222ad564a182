"""Whose clock counts: a user's zone, else all zones they may be in.

A *zone key* says what is known of a user's zone: ``Europe/Berlin``, ``country:US``, or ``""`` for nothing.
A window for a key is open only when it is open in every candidate zone. Unknown never means "send anyway",
and never the sender's zone.
"""

from __future__ import annotations

from datetime import date
from functools import cache, lru_cache

from orchestrator.timing.instants import InstantSet
from orchestrator.timing.window import Window
from orchestrator.timing.zonedata import (
    canonical_zones,
    country_by_zone,
    is_zone,
    nearest_zone,
    unknown_zone,
    zones_by_country,
)

COUNTRY_PREFIX = "country:"
_LEGAL_TIME = {"CN": ("Asia/Shanghai",)}  # zone.tab lists Urumqi too, whose clock is local custom, not the law


def zone_key(zone: str | None, country: str | None) -> str:
    """What is known of a user's zone. A wrong name is never an error here: the next best source is used."""
    if zone and is_zone(zone.strip()):
        return zone.strip()
    code = (country or "").strip().upper()
    return COUNTRY_PREFIX + code if code in zones_by_country() else ""


@cache
def candidates(key: str) -> tuple[str, ...]:
    """Every zone that a user with this key may be in; a key nobody knows is treated like "" (anywhere on Earth).

    Raises:
        InputError: the key is not empty, not a country's and no zone.
    """
    if key.startswith(COUNTRY_PREFIX):
        code = key.removeprefix(COUNTRY_PREFIX)
        return _LEGAL_TIME.get(code) or zones_by_country().get(code) or canonical_zones()
    if not key:
        return canonical_zones()
    if not is_zone(key):
        raise unknown_zone(key)
    return (key,)


def country_of(key: str) -> str:
    """The country that a key tells (ISO 3166), or ""."""
    if key.startswith(COUNTRY_PREFIX):
        return key.removeprefix(COUNTRY_PREFIX)
    return country_by_zone().get(key, "")


@lru_cache(maxsize=16384)
def on_all(window: Window, day: date, key: str) -> InstantSet:
    """The instants of ``day``'s window that are inside it in every candidate zone of ``key``."""
    zones = candidates(key)
    inside = window.on(day, zones[0])
    for zone in zones[1:]:
        if not inside:
            break
        inside &= window.on(day, zone)
    return inside


@lru_cache(maxsize=16384)
def on_any(window: Window, day: date, key: str) -> InstantSet:
    """The instants of ``day``'s window that are inside it in at least one candidate zone of ``key``."""
    return InstantSet.of(pair for zone in candidates(key) for pair in window.on(day, zone).intervals)


__all__ = ["candidates", "country_of", "is_zone", "nearest_zone", "on_all", "on_any", "zone_key"]
