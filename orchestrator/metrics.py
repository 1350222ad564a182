"""Every metric by name, with a sentence each; ``GET /metrics`` shows them.

Labels hold names of ours alone (channel, account, campaign, outcome, code): never an address, a token or a user, and
nothing whose number of values a stranger could drive up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Collection, Iterable
from typing import Any, Self

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

_BATCH = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_WAITS = (1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class _Kept:
    """Finds the child of labels it has met before in a third of a microsecond: six are asked for in every message."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self._kept: dict[tuple[object, ...], Self] = {}
        super().__init__(*given, **named)

    def labels(self, *values: object, **named: object) -> Self:
        """The metric with these values of its labels."""
        found = self._kept.get(values) if not named else None
        if found is None:
            made: Self = super().labels(*values, **named)  # type: ignore[misc]  # the class beside this one has it
            found = self._kept.setdefault(values, made) if not named else made
        return found

    def clear(self) -> None:
        """Forget every value."""
        self._kept.clear()
        super().clear()  # type: ignore[misc]


class Counter(_Kept, prometheus_client.Counter):
    """What only grows."""


class Gauge(_Kept, prometheus_client.Gauge):
    """What goes up and down."""


class Histogram(_Kept, prometheus_client.Histogram):
    """How large things are."""

    def observe_all(self, values: Collection[float]) -> None:
        """:meth:`observe` each of them, at the price of one or two."""
        if values:
            self._sum.inc(sum(values))
            for place, count in Counts(bisect_left(self._upper_bounds, value) for value in values).items():
                self._buckets[place].inc(count)


def _counter(name: str, says: str, *labels: str) -> Counter:
    return Counter(f"orchestrator_{name}", says, labels, registry=REGISTRY)


def _gauge(name: str, says: str, *labels: str) -> Gauge:
    return Gauge(f"orchestrator_{name}", says, labels, registry=REGISTRY)


def _histogram(name: str, says: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
    return Histogram(f"orchestrator_{name}", says, labels, registry=REGISTRY, buckets=buckets)


# --- planning --------------------------------------------------------------------------------------------------------

runs_planned = _counter("runs_planned", "Runs whose plan is complete.", "campaign")
members = _counter("members", "Members decided for, by decision and reason.", "decision", "reason")
plan_seconds = _histogram("plan_seconds", "Time to plan one chunk of a run's audience.")

# --- the queue -------------------------------------------------------------------------------------------------------

queue_due = _gauge("queue_due", "Messages that are planned and due.", "channel", "account")
oldest_due_seconds = _gauge("oldest_due_seconds", "Age of the oldest message that is due and not claimed.", "channel")
queue_age_seconds = _histogram(
    "queue_age_seconds",
    "Business time from when a message was due to the start of its first request.",
    "channel",
    buckets=_WAITS,
)
unknown_messages = _gauge(
    "unknown_messages", "Messages that may or may not have been accepted: reconcile them.", "channel"
)
workers = _gauge("workers", "Workers with a live lease.")

# --- the door --------------------------------------------------------------------------------------------------------

claim_size = _histogram("claim_size", "Messages taken by one claim.", buckets=_BATCH)
mark_size = _histogram("mark_size", "Messages marked in one transaction.", buckets=_BATCH)
settle_size = _histogram("settle_size", "Messages settled in one transaction.", buckets=_BATCH)
messages = _counter("messages", "Messages that reached a state, as this process wrote it.", "channel", "state")
skips = _counter("skips", "Messages dropped at the door, by reason (a template's own: template).", "channel", "reason")
holds = _counter("holds", "Messages put back at the door until later, by reason.", "channel", "reason")
attempts = _counter(
    "attempts", "Requests to providers, by the class of their outcome.", "channel", "account", "outcome"
)
attempt_seconds = _histogram("attempt_seconds", "How long one request to a provider took.", "channel", "account")
in_flight = _gauge("in_flight", "Requests on the wire now.", "account")
unknown_codes = _counter("unknown_codes", "Answers with a code that no table of ours has.", "provider")
breaker_open = _gauge("breaker_open", "0 closed, 1 half open, 2 open, 3 stopped until an operator acts.", "account")
storm_holds = _counter("storm_holds", "Addresses set aside instead of ended, since too many died at once.", "account")

# --- processes and leases --------------------------------------------------------------------------------------------

limiter_away = _gauge("limiter_away", "1 while Redis, which keeps the shared rates, does not answer: nothing is sent.")
lease_steals = _counter("lease_steals", "Times that messages of dead workers were taken back.")
fence_rejects = _counter("fence_rejects", "Workers that found their lease gone and wrote nothing more.")
leads = _gauge("leads", "1 while this process leads in the role, which one process at a time does.", "role")
clock_skew_seconds = _gauge(
    "clock_skew_seconds", "How far this machine's clock is from the database's: over 1 s it sends and leads nothing."
)
poisoned = _counter("poisoned", "Messages quarantined after the worker died over them three times.", "channel")

# --- what comes back -------------------------------------------------------------------------------------------------

events = _counter("events", "App events, by result: new, known, or refused as malformed.", "result")
event_requests = _counter("event_requests", "Requests to the events endpoint, by HTTP status.", "status")
event_commit_size = _histogram("event_commit_size", "Events committed in one transaction.", buckets=(*_BATCH, 2000))
event_queue = _gauge("event_queue", "Events taken in and not committed yet.")
foreign_message_ids = _counter(
    "foreign_message_ids", "Events naming a message that is not their user's: the event counts, the link does not."
)
webhooks = _counter(
    "webhooks", "Provider callbacks, by verdict: taken, seen, ignored, forged, malformed, busy.", "account", "verdict"
)
webhook_lag_seconds = _histogram(
    "webhook_lag_seconds", "From a message's request to the callback that settled it.", "provider", buckets=_WAITS
)
hits = _counter(
    "hits", "Opens and clicks through our links, by who it was: human, suspect, machine.", "deed", "confidence"
)
acks = _counter("acks", "What the app reported of messages, by verdict: taken, known, ignored.", "deed", "verdict")
wishes = _counter("wishes", "What people asked on our pages: unsubscribe, preferences, confirm.", "asked")
replies = _counter("replies", "Messages people wrote back, by what they asked: stop, start, other.", "account", "asked")
forgotten = _counter("forgotten", "Runs and events forgotten because they are old: keep_messages, keep_events.", "what")
attributed = _counter("attributed", "Members for whom a reopen or a conversion was found.", "what")
attribution_seconds = _histogram("attribution_seconds", "How long one pass of attribution took.")


def expect(accounts: Iterable[tuple[str, str, str]]) -> None:
    """Show the counters that alerts watch from 0 on, for these (account, channel, provider).

    A series that begins at 1 has not increased, as Prometheus counts: the first trouble would go unheard.
    """
    for account, channel, provider in accounts:
        storm_holds.labels(account)
        webhooks.labels(account, "forged")
        poisoned.labels(channel)
        unknown_codes.labels(provider)


def forget_queue() -> None:
    """Another process measures the queue from now on: what this one knew is no longer so."""
    for gauge in (queue_due, unknown_messages, oldest_due_seconds):
        gauge.clear()
    workers.set(0)


def exposition() -> tuple[bytes, str]:
    """The text that a Prometheus server reads, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
