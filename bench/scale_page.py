"""The numbers of docs/scale.md: unit costs as measured, and what a hundred million users come to by them.

The page's words are written by hand; what stands between its marks is written by ``python -m bench --write``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.bars import Figures
from orchestrator.store.blocks import BLOCK

PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
COSTS, SUMS = "unit costs", "sums"

USERS = 100e6
MESSAGES_A_WEEK = 1e9
MEMBERS_A_MESSAGE = 1.25
"""A fifth of an audience is owed nothing: held out, no consent, no address."""
ATTEMPTS_A_MESSAGE = 1.02
EVENTS_A_DAY = 100e6
EVENT_DAYS, MESSAGE_WEEKS = 400, 15
"""The least that `keep_events` and `keep_messages` take: 400 and 100 days."""
ADDRESSES_A_USER = 1.5
CALLBACKS = 0.2
"""Share of messages, SMS and mail, of which a provider tells more later."""
AT_LUNCH, LARGEST_ZONE, LUNCH_SECONDS = 0.5, 0.6, 37.5 * 60
"""Half of a day's messages are lunch's; 60 % of users share one zone; a window is spread over its half (ADR 0014)."""
PLANNING_SECONDS = 2 * 3600
RUNS_A_DAY = 200
USED = 0.6
"""How much of a core is planned with: the rest is for bursts, vacuum and bad days."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What the assumptions come to; ``f`` are the figures of ``bench.scale``."""

    f: Figures

    @property
    def peak(self) -> float:
        """Messages a second, at lunch in the largest zone."""
        return MESSAGES_A_WEEK / 7 * AT_LUNCH * LARGEST_ZONE / LUNCH_SECONDS

    def cores(self, microseconds: float) -> float:
        """Cores that so much processor time a message needs at the peak."""
        return self.peak * microseconds / 1e6 / USED

    def disk(self) -> dict[str, float]:
        """Terabytes by table, with indexes."""
        messages = MESSAGES_A_WEEK * MESSAGE_WEEKS
        rows = {
            "users": USERS,
            "address": USERS * ADDRESSES_A_USER,
            "consent": USERS * ADDRESSES_A_USER,
            "event": EVENTS_A_DAY * EVENT_DAYS,
            "member": messages * MEMBERS_A_MESSAGE,
            "message": messages,
            "attempt": messages * ATTEMPTS_A_MESSAGE,
            "receipt": messages * CALLBACKS,
        }
        return {table: number * self.f["bytes"][table] / 1e12 for table, number in rows.items()}

    def lines(self) -> Iterable[Sequence[str]]:
        """What, how much, and by which costs."""
        f, members_a_day = self.f, MESSAGES_A_WEEK * MEMBERS_A_MESSAGE / 7
        planned = members_a_day / PLANNING_SECONDS
        blocks = RUNS_A_DAY * 7 / BLOCK
        yield ("messages, on average", f"{MESSAGES_A_WEEK / 7 / 86400:,.0f}/s", "1 B a week")
        yield ("messages, at the peak", f"{self.peak:,.0f}/s", "half of a day's at lunch, 60 % in one zone, 37.5 min")
        yield ("cores for workers, at the peak", f"{self.cores(f['worker_cpu_us']):.1f}", "worker CPU; 60 % used")
        yield (
            "cores for PostgreSQL, at the peak",
            f"{self.cores(f['database_cpu_us']):.1f}",
            "database CPU; 60 % used",
        )
        yield (
            "log written by PostgreSQL, at the peak",
            f"{self.peak * f['wal_bytes'] / 1e6:,.0f} MB/s",
            "WAL a message",
        )
        yield ("log written a week", f"{self._log_a_week():.1f} TB", "WAL a message and a member")
        yield ("transactions, at the peak", f"{self.peak * f['transactions']:,.0f}/s", "transactions a message")
        yield ("requests to Valkey, at the peak", f"{self.peak * f['redis_requests']:,.0f}/s", "requests a message")
        yield ("members to be planned a day", f"{members_a_day / 1e6:,.0f} M", "1.25 a message")
        yield ("… within two hours", f"{planned:,.0f}/s", "")
        yield ("planners for that", f"{planned / f['planned_per_second']:.1f}", "members planned a second by one")
        yield (
            "cores for importing events",
            f"{EVENTS_A_DAY / 86400 / f['import_per_second'] / USED:.1f}",
            "import rate",
        )
        yield ("blocks of partitions a week", f"{blocks:.0f}", f"{RUNS_A_DAY} runs a day, {BLOCK} to a block")
        yield ("messages in a block", f"{MESSAGES_A_WEEK / blocks / 1e6:,.0f} M", "")
        for table, terabytes in self.disk().items():
            yield (f"disk: {table}", f"{terabytes:.2f} TB", f"{f['bytes'][table]} bytes a row")
        yield ("disk, all of it", f"{sum(self.disk().values()):.1f} TB", f"{MESSAGE_WEEKS} weeks, {EVENT_DAYS} days")

    def _log_a_week(self) -> float:
        a_message = self.f["wal_bytes"] + MEMBERS_A_MESSAGE * self.f["planned_wal_bytes"]
        return float(MESSAGES_A_WEEK * a_message / 1e12)


def costs(f: Figures) -> Iterable[Sequence[str]]:
    """What one of each costs."""
    for table, size in f["bytes"].items():
        yield (f"a row of `{table}`, with indexes", f"{size} bytes")
    yield ("planning a member: rate of one planner", f"{f['planned_per_second']:,}/s")
    yield ("planning a member: database CPU", f"{f['planned_cpu_us']:.0f} µs")
    yield ("planning a member: WAL", f"{f['planned_wal_bytes']:,} bytes")
    yield ("sending a message: worker CPU", f"{f['worker_cpu_us']:.0f} µs")
    yield ("sending a message: database CPU", f"{f['database_cpu_us']:.0f} µs")
    yield ("sending a message: WAL", f"{f['wal_bytes']:,} bytes")
    yield ("sending a message: transactions", f"{f['transactions']:.3f}")
    yield ("sending a message: requests to Valkey", f"{f['redis_requests']:.4f}")
    yield ("sending a message: commands in Valkey, with those inside scripts", f"{f['redis_commands']:.3f}")
    yield ("sending a message: bytes to and from Valkey", f"{f['redis_bytes']:.0f}")
    yield ("sending a message: Valkey CPU", f"{f['redis_cpu_us']:.1f} µs")
    yield ("importing events from a file", f"{f['import_per_second']:,}/s")


def rendered(text: str, f: Figures) -> str:
    """The page with these figures between its marks."""
    tables = {
        COSTS: _table(("unit", "cost"), costs(f)),
        SUMS: _table(("what", "comes to", "from"), Sums(f).lines()),
    }
    for mark, table in tables.items():
        text = _between(text, mark, f"Measured by `python -m bench scale` over {f['users']:,} users.\n\n{table}")
    return text


def write(medians: Mapping[str, Any]) -> None:
    """Put the figures into the page."""
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), medians["scale"]), encoding="utf-8")


def _between(text: str, mark: str, content: str) -> str:
    first, last = f"<!-- {mark}: written by python -m bench --write -->", f"<!-- end of {mark} -->"
    head, _, rest = text.partition(first)
    _, found, tail = rest.partition(last)
    if not found:
        raise ValueError(f"{PAGE.name} has no {first} … {last}")
    return f"{head}{first}\n\n{content}\n\n{last}{tail}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
