"""How long a rehearsal takes: a campaign of every day, push and then SMS, played over invented users.

Two accounts at their usual rates, people who answer by the stated defaults, a holdout, real templates and links; the
whole of it, from copying the audience to the counts. Held against a bare INSERT of the members, messages and attempts
that it comes to. ``digest`` is of everything that was counted: the same as long as a rehearsal says the same.

Run as ``python -m bench.rehearse USERS DAYS``; prints one JSON object.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from bench.plan import ARMS, SEGMENT
from bench.population import NOW, fill
from orchestrator.campaign.document import Document
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.version import Bundle
from orchestrator.clock import ManualClock
from orchestrator.content.files import read_folder
from orchestrator.content.links import Links
from orchestrator.limits.rate import Rate
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Routing
from orchestrator.rehearsal.channels import Terms
from orchestrator.rehearsal.rehearse import COPYING, COUNTING, PLAYING, Order, rehearse
from orchestrator.rehearsal.scratch import scratch
from orchestrator.rehearsal.values import Rehearsed
from orchestrator.report.values import plain
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours

TEMPLATE = "lunch-winback/dish"
SMS_AFTER = "25m"
DEFINITION = {
    "name": "bench",
    "topic": "promotions",
    "audience": {"segment": "dormant"},
    "schedule": {"days": "every"},
    "window": {"local": "10:30-11:45", "late": "skip"},
    "facts": ["orders", "favourite"],
    "steps": [
        {"channel": "push", "template": TEMPLATE},
        {"channel": "sms", "template": TEMPLATE, "when": {"not": "reopened", "after": SMS_AFTER}},
    ],
    "goal": {
        "event": "app_open",
        "within": "24h",
        "conversion": {"event": "order_paid", "within": "72h", "value": "amount"},
    },
    "holdout": "10%",
    "experiment": {"arms": ARMS},
}
USUAL = Rate(100.0, 10, timedelta(seconds=60))
"""An account that says nothing of its rate."""


def order(days: int) -> Order:
    """The campaign as the command would have it played."""
    files = read_folder(Path("templates"), TEMPLATE)
    bundle = Bundle(parse_campaign(Document("bench.yaml", DEFINITION)), DEFINITION, {"dormant": SEGMENT}, files)
    routing = Routing.plain({"push": "push", "sms": "sms"})
    accounts = [Terms(name, name, "null", USUAL) for name in ("push", "sms")]
    planner = Planner(ManualClock(NOW), QuietHours.load(None), routing)
    links = Links("https://links.example", bytes(32))
    return Order(bundle, timedelta(days=days), accounts, planner, links=links)


def measure(count: int, days: int) -> dict[str, object]:
    """Fill, rehearse, and insert as many rows without any decision."""
    with tempfile.TemporaryDirectory() as folder:
        fill(str(Path(folder) / "bench.db"), count).close()
        real = Store(str(Path(folder) / "bench.db"), writer=False)
        times = _Times()
        began, used = time.perf_counter(), time.process_time()
        found = rehearse(real, order(days), NOW, times)
        seconds, used = time.perf_counter() - began, time.process_time() - used
        phases = times.split(began + seconds)
        real.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    reference = _reference(found)
    return {
        "users": count,
        "days": days,
        "members": found.tally.audience,
        "messages": _owed(found),
        "sent": found.sent,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "phases": phases,
        "peak_mb": round(peak),
        "reference_seconds": round(reference, 1),
        "ratio": round(seconds / reference, 2),
        "digest": digest(found),
    }


def digest(found: Rehearsed) -> str:
    """Of everything that was counted, but not of how long it took."""
    said = {name: value for name, value in plain(found).items() if name != "took"}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]


class _Times:
    """When each phase was last heard of."""

    def __init__(self) -> None:
        self._last = {"start": time.perf_counter()}

    def __call__(self, phase: str, _done: float) -> None:
        self._last[phase] = time.perf_counter()

    def split(self, end: float) -> dict[str, float]:
        """Seconds of each phase."""
        copied, played = self._last[COPYING], self._last[PLAYING]
        spans = {COPYING: copied - self._last["start"], PLAYING: played - copied, COUNTING: end - played}
        return {name: round(seconds, 1) for name, seconds in spans.items()}


def _owed(found: Rehearsed) -> int:
    return sum(one.messages for one in found.tally.steps)


_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
_ROWS = {
    "member": """INSERT INTO member (run_id, user_id, arm, held_out, decision, zone_key, country, anchor)
        {numbers} SELECT 1, i, 'dish', FALSE, 'planned', 'Europe/Berlin', '', 1 FROM n""",
    "message": """INSERT INTO message (id, run_id, user_id, step, lane_id, address_id, arm, held_out, state, due_at,
            deadline, attempts, sent_at, state_at)
        {numbers} SELECT i, 1, i, 1, 1, i, 'dish', FALSE, 'accepted', i, i, 1, i, i FROM n""",
    "attempt": """INSERT INTO attempt (message_id, n, worker_id, account, started_at, ended_at, outcome, code,
            provider_id, detail)
        {numbers} SELECT i, 1, 1, 'push', i, i, 'accepted', '', i, '' FROM n""",
}


def _reference(found: Rehearsed) -> float:
    """The members, messages and attempts inserted into an empty ledger of the same kind."""
    counts = {"member": found.tally.audience, "message": _owed(found), "attempt": found.sent}
    with scratch() as store:
        began = time.perf_counter()
        for name, rows in _ROWS.items():
            with store.write() as connection:
                connection.execute(text(rows.format(numbers=_NUMBERS)), {"count": max(counts[name], 1)})
        return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
