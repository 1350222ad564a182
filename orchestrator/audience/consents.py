"""Consents: what each user agreed to, per channel and topic, and since when; every version is kept.

The versions of one consent are its statements in the order of their instants, whatever order they arrived in. A dated
statement is kept even if it changes nothing (it is the proof that the user was asked again); of two at one and the same
instant the refusal wins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, text

from orchestrator.audience.aliases import aliases
from orchestrator.audience.refused import note
from orchestrator.audience.rows import change, insert, slices
from orchestrator.clock import to_micros
from orchestrator.store.tables import consent


@dataclass(frozen=True, slots=True)
class ConsentChange:
    """A user agreed, or refused. ``dated``: the instant is the source's own; else it says what holds from ``at`` on."""

    user_id: int
    channel: str
    topic: str
    granted: bool
    source: str
    at: datetime
    dated: bool = False
    confirmed: bool = False
    """They confirmed it elsewhere: no double opt-in of ours is needed."""


_Key = tuple[int, str, str]
_BOUNDS = ("granted", "source", "valid_until")
_COLUMNS = ("user_id", "channel", "topic", "valid_from", *_BOUNDS)


def set_consent(
    connection: Connection, user_id: int, channel: str, topic: str, *, granted: bool, source: str, at: datetime
) -> bool:
    """What a user agrees to or refuses from ``at`` on; whether that is news."""
    return set_consents(connection, [ConsentChange(user_id, channel, topic, granted, source, at)]) > 0


def set_consents(connection: Connection, changes: Sequence[ConsentChange]) -> int:
    """Take in statements, a thousand or two at a time; how many were news. Of a merged user: they are the other's."""
    changes = of_today(connection, changes)
    note(connection, ((one.channel, one.user_id) for one in changes if not one.granted))
    lines = _lines(connection, {(one.user_id, one.channel, one.topic) for one in changes})
    news = sum(_take(lines[one.user_id, one.channel, one.topic], one) for one in changes)
    _write(connection, lines)
    _end_requests(connection, [one for one in changes if not one.granted])
    return news


def of_today(connection: Connection, changes: Sequence[ConsentChange]) -> Sequence[ConsentChange]:
    """The same statements, of merged users as those they are now."""
    merged = aliases(connection, (one.user_id for one in changes))
    if not merged:
        return changes
    return [replace(one, user_id=merged.get(one.user_id, one.user_id)) for one in changes]


_END = text("""
    UPDATE opt_in SET ended_at = :at WHERE user_id = :user AND channel = :channel AND topic = :topic
      AND confirmed_at IS NULL AND ended_at IS NULL AND requested_at <= :at""")


def _end_requests(connection: Connection, refusals: Sequence[ConsentChange]) -> None:
    """Who refuses is not asked to confirm what they had agreed to before, news or not."""
    if refusals:
        rows = [
            {"user": one.user_id, "channel": one.channel, "topic": one.topic, "at": to_micros(one.at)}
            for one in refusals
        ]
        connection.execute(_END, rows)


def _lines(connection: Connection, keys: Iterable[_Key]) -> dict[_Key, list[dict[str, Any]]]:
    """The versions of each consent, oldest first."""
    lines: dict[_Key, list[dict[str, Any]]] = {key: [] for key in keys}
    for some in slices(sorted({key[0] for key in lines})):
        for ended in (consent.c.valid_until.is_(None), consent.c.valid_until.is_not(None)):  # an index for each
            statement = select(consent).where(consent.c.user_id.in_(some), ended)
            for row in connection.execute(statement).mappings():
                line = lines.get((row["user_id"], row["channel"], row["topic"]))
                if line is not None:
                    line.append({**row, "before": dict(row)})
    for line in lines.values():
        line.sort(key=lambda version: (version["valid_from"], version["id"]))
    return lines


def _take(line: list[dict[str, Any]], one: ConsentChange) -> bool:
    place = bisect_right(line, one.at, key=lambda version: version["valid_from"])
    holds = line[place - 1] if place else None
    if holds is not None and holds["valid_from"] == one.at:
        return _same_instant(holds, one)
    if holds is not None and holds["granted"] == one.granted and not one.dated:
        return False
    following = line[place]["valid_from"] if place < len(line) else None
    if holds is not None:
        holds["valid_until"] = one.at
    version = {"user_id": one.user_id, "channel": one.channel, "topic": one.topic, "valid_from": one.at}
    line.insert(place, {**version, "granted": one.granted, "source": one.source, "valid_until": following})
    return True


def _same_instant(holds: dict[str, Any], one: ConsentChange) -> bool:
    if one.granted or not holds["granted"]:
        return False
    holds.update(granted=False, source=one.source)
    return True


def _write(connection: Connection, lines: dict[_Key, list[dict[str, Any]]]) -> None:
    """Ends before beginnings: a consent has one current version."""
    versions = [version for line in lines.values() for version in line]
    changed = [one for one in versions if "before" in one and any(one[name] != one["before"][name] for name in _BOUNDS)]
    change(connection, consent, _BOUNDS, [(*_raw(one, _BOUNDS), one["id"]) for one in changed])
    insert(connection, consent, _COLUMNS, [_raw(one, _COLUMNS) for one in versions if "before" not in one])


def _raw(version: dict[str, Any], columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(to_micros(version[name]) if isinstance(version[name], datetime) else version[name] for name in columns)
