"""The pinned time zone data: names, countries, and the stretches of constant offset that windows are computed from.

zoneinfo is told to read the ``tzdata`` package and never the machine's copy: Debian's 2025b is wrong for 13
zones in 2026 (America/Vancouver 2026-12-15 10:00 is 17:00Z, not 18:00Z). Zones that were loaded before keep
the old data unless the cache is cleared too. Importing any module of this room does both.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from orchestrator.errors import InputError

zoneinfo.reset_tzpath(to=())
ZoneInfo.clear_cache()

Stretch = tuple[datetime, datetime, timedelta]
"""[start, end) in UTC during which a zone is ``offset`` ahead of UTC."""

LAST_ZONE = "Etc/GMT+12"
"""Where every date ends last (the sign is POSIX's: twelve hours behind UTC)."""
BLOCK_DAYS = 64
_MARGIN = timedelta(days=5)  # a window of a block's last day ends at most 2 days and 12 hours after that day began
_PROBE = timedelta(hours=6)  # no zone changes its offset twice within so short a time
_SECOND = timedelta(seconds=1)


@cache
def zone_names() -> frozenset[str]:
    """Every IANA name in the package. "Factory" means "nobody set a zone" and is none."""
    return frozenset(zoneinfo.available_timezones() - {"Factory"})


_SHORT = re.compile(r"[A-Z]{2,4}")
"""CST, IST: several zones' each, and none of them is the one that is spelt alike."""


def is_zone(name: str) -> bool:
    """Whether ``name`` is an IANA zone, letter for letter."""
    return name in zone_names()


@cache
def _names_by_lower() -> dict[str, str]:
    names = sorted(zone_names(), reverse=True)
    cities = {name.rpartition("/")[2].lower(): name for name in names}
    return cities | {name.lower(): name for name in names}


def nearest_zone(name: str) -> str:
    """The zone that was probably meant by a wrong name ("Berlin", "europe/berlin"), or ""."""
    known = _names_by_lower()
    wanted = name.strip().lower().replace(" ", "_")[:64]
    near = get_close_matches(wanted, known, n=1, cutoff=0.6)
    return known[near[0]] if near else ""


def unknown_zone(name: str) -> InputError:
    """What to say of a name that is no zone."""
    near = "" if _SHORT.fullmatch(name) else nearest_zone(name)
    hint = f"did you mean {near!r}?" if near else "give an IANA name such as Europe/Berlin"
    return InputError(f"unknown time zone {name[:64]!r}", hint=hint)


@cache
def zones_by_country() -> dict[str, tuple[str, ...]]:
    """ISO 3166 country to its zones, after the package's zone.tab."""
    found: dict[str, list[str]] = {}
    for country, _place, zone in _rows("zone.tab"):
        found.setdefault(country, []).append(zone)
    return {country: tuple(zones) for country, zones in found.items()}


@cache
def country_by_zone() -> dict[str, str]:
    """A zone's country, where zone.tab names one."""
    return {zone: country for country, zones in zones_by_country().items() for zone in zones}


@cache
def canonical_zones() -> tuple[str, ...]:
    """One zone for every clock that people have lived by since 1970, after the package's zone1970.tab."""
    return tuple(sorted(zone for _countries, _place, zone in _rows("zone1970.tab")))


def _rows(table: str) -> Iterator[tuple[str, str, str]]:
    text = files("tzdata.zoneinfo").joinpath(table).read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            first, place, zone = line.split("\t")[:3]
            yield first, place, zone


@lru_cache(maxsize=8192)
def stretches(zone: str, block: int) -> tuple[Stretch, ...]:
    """The zone's offsets over the days ``[64 * block, 64 * (block + 1))`` (ordinals) and five days around them.

    zoneinfo does not tell its transitions, so they are looked for: probes, and bisection between two that differ.

    Raises:
        InputError: there is no such zone.
    """
    if not is_zone(zone):
        raise unknown_zone(zone)
    info = ZoneInfo(zone)
    origin = datetime.fromordinal(max(block * BLOCK_DAYS, 8)).replace(tzinfo=UTC)
    at, end = origin - _MARGIN, origin + timedelta(days=BLOCK_DAYS) + _MARGIN
    found: list[Stretch] = []
    since, offset = at, _offset(info, at)
    while at < end:
        following = at + _PROBE
        if _offset(info, following) != offset:
            change = _change(info, at, following)
            found.append((since, change, offset))
            since, offset = change, _offset(info, following)
        at = following
    return (*found, (since, end, offset))


def _offset(info: ZoneInfo, instant: datetime) -> timedelta:
    return instant.astimezone(info).utcoffset() or timedelta(0)


def _change(info: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The first second in (before, after] with the offset of ``after``."""
    new = _offset(info, after)
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if _offset(info, middle) == new:
            after = middle
        else:
            before = middle
    return after
