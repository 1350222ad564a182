"""Whether a message costs the same when there are many: in the run, in campaigns, in the ledger's past.

Through the whole door on SQLite, to a channel that answers at once, so that nothing hides the ledger. Each point is a
database of its own, in which the same is planned and sent ``TURNS`` times; the median turn counts. From ``MANY`` on
each turn has its own: the turns before would be the old rows of the next.

- ``messages N…``: one campaign of so many messages.
- ``campaigns N…``: as many messages in all, owed by so many campaigns, each with words of its own, to as many parts
  of the users.
- ``rows N…``: one campaign beside so many rows of finished runs (members, messages, attempts: a third each).

Run as ``python -m bench.growth messages|campaigns|rows N…``; prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from bench.channels import NullChannel
from bench.dispatch import DEFINITION, TEMPLATE
from bench.door import Definition, Through, owed, plan, send_all
from bench.plan import SEGMENT
from bench.population import LUNCH_ZONES, NOW, fill
from orchestrator.clock import to_micros
from orchestrator.content.files import read_folder
from orchestrator.store import Store

TEMPLATES = read_folder(Path(__file__).parents[1] / "templates", TEMPLATE)
USUAL = 20_000
"""Messages of a point that grows in something else."""
TURNS = 5
MANY = 1_000_000
_OLD_USERS = 100_000
_OLD = (
    """INSERT INTO member (run_id, user_id, arm, held_out, decision, zone_key, country, anchor)
       SELECT r.i, u.i, 'dish', FALSE, 'planned', 'Europe/Berlin', 'DE', :old FROM RUNS AS r, USERS AS u""",
    """INSERT INTO message (id, run_id, user_id, step, lane_id, address_id, arm, held_out, state, due_at, deadline,
       attempts, provider_id, sent_at, state_at)
       SELECT (r.i << 40) | (u.i << 4), r.i, u.i, 0, (r.i << 4), u.i, 'dish', FALSE, 'accepted', :old, :old, 1,
       'projects/bench/messages/0', :old, :old FROM RUNS AS r, USERS AS u""",
    """INSERT INTO attempt (message_id, n, worker_id, account, started_at, ended_at, outcome, code, provider_id)
       SELECT (r.i << 40) | (u.i << 4), 1, 1, 'fcm', :old, :old, 'accepted', '200', 'projects/bench/messages/0'
       FROM RUNS AS r, USERS AS u""",
    """INSERT INTO run (id, campaign, version, local_date, state, as_of, closes_at, planned_through, audience,
       created_at, finished_at)
       SELECT r.i, 'old', '', 'day ' || r.i, 'done', :old, :old, :users, :users, :old, :old FROM RUNS AS r""",
)
_SERIES = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i FROM n)"


@dataclass(frozen=True, slots=True)
class Point:
    """So many messages in so many campaigns, beside so many old rows."""

    messages: int
    campaigns: int = 1
    rows: int = 0

    def figures(self, turns: int) -> dict[str, Any]:
        """What the median turn took, and how long each was."""
        alone = self.messages >= MANY
        spent = [one for _ in range(turns if alone else 1) for one in self._spent(1 if alone else turns)]
        usual = sorted(spent, key=lambda one: one.seconds)[turns // 2]
        return {
            **usual.figures(),
            "turns": [round(one.seconds / one.messages * 1e6, 1) for one in spent],
            "us_per_message": round(usual.seconds / usual.messages * 1e6, 1),
        }

    def _spent(self, turns: int) -> list[Through]:
        """A database for it, and what its turns took."""
        with tempfile.TemporaryDirectory() as folder:
            store = fill(str(Path(folder) / "bench.db"), self.messages * 20 // 17, LUNCH_ZONES)
            add_old(store, self.rows)
            _divide(store, self.campaigns)
            spent = [self._turn(store, turn) for turn in range(turns)]
            store.close()
        return spent

    def _turn(self, store: Store, turn: int) -> Through:
        for part in range(self.campaigns):
            definition = {**DEFINITION, "name": f"bench-{turn}-{part}", "audience": {"segment": f"part-{part}"}}
            where = {"all": [SEGMENT["where"], {"attribute": "part", "equals": part}]}
            plan(store, definition, {"name": f"part-{part}", "where": where}, _worded(definition), {"fcm": "push"})
        count = owed(store)
        done = send_all(store, "fcm", NullChannel, 200)
        assert done.messages == count
        return done


def _worded(definition: Definition) -> dict[str, str]:
    """Words that no other campaign has, nor the turn before: each is compiled once."""
    return {path: text + str(definition["name"]) if path.endswith(".j2") else text for path, text in TEMPLATES.items()}


def add_old(store: Store, rows: int) -> None:
    """Rows of runs that ended long ago, all sent and accepted."""
    users = min(_OLD_USERS, rows // 3)
    series = {"RUNS": _SERIES.format(rows // 3 // users), "USERS": _SERIES.format(users)} if users else {}
    for sql in _OLD if users else ():
        for word, made in series.items():
            sql = sql.replace(word, made)  # noqa: PLW2901
        values = {"old": to_micros(NOW - timedelta(days=200)), "users": users}
        with store.write() as connection:
            connection.execute(text(sql), {name: value for name, value in values.items() if f":{name}" in sql})
    with store.write() as connection:
        connection.exec_driver_sql("ANALYZE")


def _divide(store: Store, parts: int) -> None:
    """Which part of the users each belongs to: an attribute."""
    with store.write() as connection:
        sql = f"UPDATE users SET attributes = json_set(attributes, '$.part', id % {parts})"
        connection.exec_driver_sql(sql)


KINDS: dict[str, tuple[str, Callable[[int], Point]]] = {
    "messages": ("messages in the run", Point),
    "campaigns": ("campaigns", lambda n: Point(USUAL, campaigns=n)),
    "rows": ("old rows in the ledger", lambda n: Point(USUAL, rows=n)),
}


def measure(kind: str, sizes: list[int], turns: int) -> dict[str, Any]:
    """Every point, and how much the dearest costs beside the first."""
    words, point = KINDS[kind]
    points = [{"n": size, **point(size).figures(turns)} for size in sizes]
    dearest = max(one["us_per_message"] for one in points)
    return {"of": words, "points": points, "ratio": round(dearest / points[0]["us_per_message"], 2)}


if __name__ == "__main__":
    numbers = [int(one) for one in sys.argv[2:]]
    print(json.dumps(measure(sys.argv[1], numbers, TURNS)))
