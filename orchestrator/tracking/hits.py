"""Opens and clicks as they come in: kept as events once each, with who it probably was.

One transaction takes many hits. A click that makes a burst also changes what is thought of the clicks before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import orjson
from sqlalchemy import Connection, bindparam, func, select

from orchestrator import metrics
from orchestrator.audience.aliases import gone
from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.audience.rows import change, slices
from orchestrator.clock import from_micros
from orchestrator.content.links import TRAP
from orchestrator.store import Store
from orchestrator.store.tables import event, lane, message, receipt, users
from orchestrator.tracking.machines import (
    AGENT_LENGTH,
    Confidence,
    Deed,
    Facts,
    Rules,
    Verdict,
    agent_class,
    built_in,
)

NAMES = {Deed.OPEN: "message_opened", Deed.CLICK: "link_clicked"}
DEEDS = {name: deed for deed, name in NAMES.items()}
CHUNK = 500
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Hit:
    """Somebody, or something, fetched a link of a message. ``network`` is cut short before it gets here."""

    deed: Deed
    message_id: int
    link: int
    url: str
    at: datetime
    agent: str
    network: str
    event_id: str = ""
    """The provider's name for it, where a provider counted it; such a hit may be told twice."""
    machine: bool = False
    """The provider says itself that no person did it."""

    @property
    def visitor(self) -> str:
        """Tells visitors apart without saying who they are."""
        return sha256(f"{self.agent}\0{self.network}".encode(errors="replace")).hexdigest()[:12]

    @property
    def source_id(self) -> str:
        """The same visitor, the same link, the same second: one hit; a provider's own is known by its name."""
        if self.event_id:
            return f"seen:{self.event_id}"
        second = int(self.at.timestamp())
        return f"{self.deed}:{self.message_id}:{self.link:x}:{self.visitor}:{second}"


@dataclass(frozen=True, slots=True)
class _Sent:
    """Whose message it is, and when it arrived, as far as is known and matters: nobody scans a push."""

    user: str
    arrived_at: datetime | None


_DELIVERED = (
    select(func.min(receipt.c.received_at))
    .where(receipt.c.message_id == message.c.id, receipt.c.state == "delivered")
    .scalar_subquery()
)
_SENT = (
    select(message.c.id, users.c.external_id, func.coalesce(_DELIVERED, message.c.sent_at), lane.c.channel)
    .join(users, users.c.id == message.c.user_id)
    .join(lane, lane.c.id == message.c.lane_id)
    .where(
        message.c.id.in_(bindparam("ids", expanding=True)), ~gone(users.c.id)
    )  # nothing more is kept of who is erased
)
_HITS = select(event.c.id, event.c.message_id, event.c.name, event.c.at, event.c.properties)
_CLICKS = _HITS.where(event.c.name == NAMES[Deed.CLICK], event.c.message_id.in_(bindparam("ids", expanding=True)))


@dataclass(slots=True)
class HitBook:
    """Takes hits in. Used from one database thread; remembers who fell into the trap."""

    rules: Rules = field(default_factory=built_in)
    _trapped: dict[str, datetime] = field(default_factory=dict)

    def take(self, connection: Connection, hits: Sequence[Hit]) -> list[bool]:
        """Keep hits, in the caller's transaction; whether each was new. Of a message we do not have: False."""
        sent = _sent(connection, {hit.message_id for hit in hits})
        for hit in hits:
            if hit.deed is Deed.CLICK and hit.link == TRAP:
                self._catch(hit)
        clicks = _clicks(connection, {hit.message_id for hit in hits if hit.deed is Deed.CLICK})
        for hit in hits:
            if hit.deed is Deed.CLICK:
                clicks.setdefault(hit.message_id, []).append((hit.link, hit.at))
        events = [self._event(hit, sent[hit.message_id], clicks) for hit in hits if hit.message_id in sent]
        received = max((hit.at for hit in hits), default=None)
        if received is None:
            return []
        new = set(record_events(connection, events, received).new)
        self._judge_again(connection, clicks, sent)
        return [hit.source_id in new for hit in hits]

    def _catch(self, hit: Hit) -> None:
        if len(self._trapped) >= _REMEMBERED:
            self._trapped.clear()
        self._trapped[hit.visitor] = hit.at

    def _event(self, hit: Hit, sent: _Sent, clicks: dict[int, list[tuple[int, datetime]]]) -> IncomingEvent:
        caught = self._trapped.get(hit.visitor)
        trapped = caught is not None and abs(hit.at - caught) < self.rules.trap
        facts = Facts(hit.deed, hit.at, hit.link, hit.agent, hit.network, sent.arrived_at, trapped, hit.machine)
        verdict = self.rules.classify(facts, clicks.get(hit.message_id, ()))
        metrics.hits.labels(hit.deed, verdict.confidence).inc()
        said = {"agent": hit.agent[:AGENT_LENGTH], "network": hit.network, "visitor": hit.visitor}
        said |= {"machine": "provider"} if hit.machine else {}
        shown = {"ua": agent_class(hit.agent, self.rules), **_opinion(verdict)}
        link = {"link": _place(hit.url), "link_id": str(hit.link)} if hit.deed is Deed.CLICK else {}
        properties = {**shown, **link, **said}
        return IncomingEvent(sent.user, NAMES[hit.deed], hit.at, hit.source_id, properties, hit.message_id)

    def _judge_again(
        self, connection: Connection, clicks: dict[int, list[tuple[int, datetime]]], sent: dict[int, _Sent]
    ) -> None:
        """What is thought of earlier clicks may have changed: only where there are enough to make a burst."""
        many = [
            number for number, known in clicks.items() if len({link for link, _ in known}) >= self.rules.burst_links
        ]
        if many:
            rows = connection.execute(_CLICKS, {"ids": many}).all()
            traps = {visitor: [at] for visitor, at in self._trapped.items()}
            _rejudge(connection, rows, sent, traps, self.rules)


def _place(url: str) -> str:
    """Where a link leads, for people: without what may be personal in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}" if url else "trap"


def _opinion(verdict: Verdict) -> dict[str, str]:
    return {"confidence": str(verdict.confidence), "why": verdict.why}


def _sent(connection: Connection, ids: Iterable[int]) -> dict[int, _Sent]:
    rows = connection.execute(_SENT, {"ids": sorted(ids)}).all()
    return {
        number: _Sent(user, None if channel == "push" else _instant(arrived)) for number, user, arrived, channel in rows
    }


def _instant(value: datetime | int | None) -> datetime | None:
    return from_micros(value) if isinstance(value, int) else value


def _clicks(connection: Connection, ids: Iterable[int]) -> dict[int, list[tuple[int, datetime]]]:
    found: dict[int, list[tuple[int, datetime]]] = {}
    wanted = sorted(ids)
    for row in connection.execute(_CLICKS, {"ids": wanted}).all() if wanted else ():
        found.setdefault(row.message_id, []).append((_link(row.properties), row.at))
    return found


def _link(properties: dict[str, Any] | None) -> int:
    number = str((properties or {}).get("link_id", ""))
    return int(number) if number.isdecimal() else 0


def _rejudge(
    connection: Connection,
    rows: Sequence[Any],
    sent: dict[int, _Sent],
    traps: dict[str, list[datetime]],
    rules: Rules,
) -> int:
    """Think again about kept hits; how many are seen differently now. Events of the app's own are left alone."""
    clicks: dict[int, list[tuple[int, datetime]]] = {}
    for row in rows:
        if row.name == NAMES[Deed.CLICK]:
            clicks.setdefault(row.message_id, []).append((_link(row.properties), row.at))
    changed = []
    for row in rows:
        said = row.properties or {}
        if "agent" not in said or row.message_id not in sent:
            continue
        trapped = any(abs(row.at - at) < rules.trap for at in traps.get(said.get("visitor", ""), ()))
        known = (said["agent"], said.get("network", ""), sent[row.message_id].arrived_at)
        verdict = rules.classify(
            Facts(DEEDS[row.name], row.at, _link(said), *known, trapped, "machine" in said),
            clicks.get(row.message_id, ()),
        )
        if {**said, **_opinion(verdict)} != said:
            changed.append((orjson.dumps({**said, **_opinion(verdict)}).decode(), row.id))
    change(connection, event, ("properties",), changed)
    return len(changed)


@dataclass(frozen=True, slots=True)
class Reclassified:
    """How many hits were looked at, and how many are seen differently now."""

    looked_at: int = 0
    changed: int = 0


def reclassify(store: Store, rules: Rules | None = None) -> Reclassified:
    """Judge every kept open and click by today's rules, in short transactions; safe to repeat."""
    rules = rules or built_in()
    traps = _traps(store)
    looked, changed, after = 0, 0, 0
    while True:
        with store.write() as connection:
            ours = event.c.name.in_(DEEDS), event.c.message_id.is_not(None), event.c.message_id > after
            some = select(event.c.message_id).where(*ours).distinct().order_by(event.c.message_id).limit(CHUNK)
            ids = connection.execute(some).scalars().all()
            if not ids:
                return Reclassified(looked, changed)
            for part in slices(ids, 100):
                rows = connection.execute(_HITS.where(event.c.message_id.in_(part), event.c.name.in_(DEEDS))).all()
                looked += len(rows)
                changed += _rejudge(connection, rows, _sent(connection, part), traps, rules)
            after = ids[-1]


def _traps(store: Store) -> dict[str, list[datetime]]:
    """Who followed the hidden link, and when."""
    found: dict[str, list[datetime]] = {}
    with store.read() as connection:
        clicked = _HITS.where(event.c.name == NAMES[Deed.CLICK], event.c.message_id.is_not(None))
        for row in connection.execute(clicked):
            said = row.properties or {}
            if said.get("link_id") == str(TRAP):
                found.setdefault(said.get("visitor", ""), []).append(row.at)
    return found


__all__ = ["Confidence", "Hit", "HitBook", "Reclassified", "reclassify"]
