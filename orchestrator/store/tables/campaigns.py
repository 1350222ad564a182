"""Campaigns: what was launched, and when it fires."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

from orchestrator.store.tables.columns import Id, Instant, metadata, partial

campaign = Table(
    "campaign",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("version", Text, nullable=False),  # what the next run uses
    Column("launched_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

version = Table(  # immutable: campaign, segments and templates as launched
    "version",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("campaign", Text, nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON; its sha256 is the hash
    Column("created_at", Instant, nullable=False),
)

run = Table(
    "run",
    metadata,
    Column("id", Id, primary_key=True),
    Column("campaign", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("local_date", Text, nullable=False),  # ISO date in every member's own zone; of an instant: its schedule's
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("as_of", Instant, nullable=False),  # the audience is who they were at this instant
    Column("closes_at", Instant, nullable=False),  # nothing of this run leaves at or after it
    Column("planned_through", Id, nullable=False, server_default="0"),  # users.id up to which the plan is committed
    Column("audience", Integer, nullable=False, server_default="0"),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Column("fires_at", Instant),  # the instant whose run it is (`at`, `cron`); NULL: a local date's
    Column("enrols_until", Instant),  # of a triggered campaign: members join until then; NULL: planned at once
    Column("forgotten_at", Instant),  # when its members and messages were deleted: it was over long ago
    Index("uq_run_date", "campaign", "local_date", unique=True, **partial("fires_at IS NULL")),
    Index("uq_run_instant", "campaign", "fires_at", unique=True, **partial("fires_at IS NOT NULL")),
    Index(None, "state"),
    Index(None, "closes_at"),
)

shard = Table(  # what is left to plan of a run that several plan at once: a stretch of users each
    "shard",
    metadata,
    Column("run_id", Id, nullable=False),
    Column("n", Integer, nullable=False),
    Column("through", Id, nullable=False),  # users.id up to which it is committed
    Column("high", Id, nullable=False),  # the last users.id of it
    Column("version", Text, nullable=False),  # the run's as it was cut: under another it is nobody's
    PrimaryKeyConstraint("run_id", "n"),
)

slot = Table(  # the resolver's answer per class of members; planning joins it
    "slot",
    metadata,
    Column("run_id", Id, nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("arm", Text, nullable=False),
    Column("zone_key", Text, nullable=False),
    Column("country", Text, nullable=False),
    Column("due_at", Instant),  # NULL: no slot, see reason; of step 0: the anchor, shared by all arms and the holdout
    Column("spread", BigInteger, nullable=False, server_default="0"),  # microseconds over which due times are spread
    Column("deadline", Instant),
    Column("reason", Text),
    Column("weekday", SmallInteger),  # this and the next three: of best time alone. Of the date whose window it is
    Column("hours", Text),  # codes of that date's open hours, the population's best first (timing.besttime)
    Column("shut", Text),  # the codes of all others
    Column("explore", BigInteger),  # who draws a number below it gets any of the hours
    PrimaryKeyConstraint("run_id", "step", "arm", "zone_key", "country"),
)

slot_hour = Table(  # a slot's open hours one by one, where a campaign asks for the best; planning joins the chosen one
    "slot_hour",
    metadata,
    Column("run_id", Id, nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("arm", Text, nullable=False),
    Column("zone_key", Text, nullable=False),
    Column("country", Text, nullable=False),
    Column("hour", Text, nullable=False),  # its code
    Column("due_at", Instant, nullable=False),
    Column("spread", BigInteger, nullable=False),
    PrimaryKeyConstraint("run_id", "step", "arm", "zone_key", "country", "hour"),
    sqlite_with_rowid=False,
)

best_hour = Table(  # the hours in which a user opens the app; who has no row goes by the population's
    "best_hour",
    metadata,
    Column("user_id", Id, nullable=False),
    Column("channel", Text, nullable=False),  # "": by the app's own events alone
    Column("hours", Text, nullable=False),  # for each weekday the best, as codes (timing.besttime)
    Column("opens", Integer, nullable=False),  # how many it was computed from
    Column("until", Instant, nullable=False),  # from then on too few of them are young enough
    Column("computed_at", Instant, nullable=False),
    PrimaryKeyConstraint("user_id", "channel"),
    Index(None, "computed_at"),
    sqlite_with_rowid=False,
)

waiting = Table(  # whose trigger event has happened, and whose time has not come yet: the latest event counts
    "waiting",
    metadata,
    Column("campaign", Text, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("event_id", Id, nullable=False),
    Column("event_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    PrimaryKeyConstraint("campaign", "user_id"),
    Index(None, "campaign", "due_at"),
    sqlite_with_rowid=False,
)

enrolled = Table(  # which event made a user a member of a triggered campaign's run
    "enrolled",
    metadata,
    Column("run_id", Id, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("event_id", Id, nullable=False),
    PrimaryKeyConstraint("run_id", "user_id"),
    sqlite_with_rowid=False,
)

event_cursor = Table(  # up to which event a reader of new events has read
    "event_cursor",
    metadata,
    Column("reader", Text, primary_key=True),
    Column("event_id", Id, nullable=False),
)
