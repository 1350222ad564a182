"""The schema, on two pages. What changes here gets a migration (``make check`` in tests compares the two).

Instants are microseconds since 1970 (see :mod:`orchestrator.clock`); ``valid_from``/``valid_until`` bound a version
of a row, half-open, and the current one has no ``valid_until``. Identifiers of messages and lanes embed their run, so
that a second row for the same (member, step) cannot exist, and a partition by run needs no other key.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from typing_extensions import override

from orchestrator.clock import from_micros, to_micros

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """An aware datetime, kept as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_micros(value)

    @override
    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_micros(value)


Id = BigInteger().with_variant(Integer(), "sqlite")  # SQLite's rowid alias must be called INTEGER
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _partial(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


# --- audience: who there is, how to reach them, what they did and agreed to ------------------------------------------

users = Table(  # plural alone among the tables: "user" is a reserved word of PostgreSQL
    "users",
    metadata,
    Column("id", Id, primary_key=True),
    Column("external_id", Text, nullable=False, unique=True),  # the app's own name for the user
    Column("name", Text),
    Column("locale", Text),
    Column("zone", Text),  # their own IANA zone, checked; NULL when not known
    Column("country", Text),  # ISO 3166 alpha-2: their own, else their phone number's
    Column("zone_key", Text, nullable=False, server_default=""),  # zone, else "country:XX", else ""
    Column("attributes", Json, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Index(None, "zone_key", "country"),
)

user_alias = Table(  # who was merged into whom: the old user keeps row, members and messages; all else has moved
    "user_alias",
    metadata,
    Column("old_user_id", Id, primary_key=True, autoincrement=False),
    Column("user_id", Id, nullable=False),  # never itself merged: a later merge moves it on
    Column("merged_at", Instant, nullable=False),
    Column("actor", Text, nullable=False),
    Index(None, "user_id"),
)

address = Table(
    "address",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("channel", Text, nullable=False),  # push | sms | email | inbox | webhook
    Column("kind", Text, nullable=False),  # token | fid | apns | webpush | … | phone | mailbox | user
    Column("value", Text, nullable=False),
    Column("country", Text),  # of a phone number
    Column("last_seen_at", Instant, nullable=False),
    Column("valid_from", Instant, nullable=False),
    Column("valid_until", Instant),
    Column("end_reason", Text),  # moved | dead | removed
    Column("quarantined_until", Instant),  # storm guard: not used before, not deleted either
    Column("platform", Text),  # android | ios | web | harmony; NULL when not known
    Column("details", Json),  # what sending to it needs beside the value: environment, app, p256dh, auth
    Index("uq_address_current", "channel", "value", unique=True, **_partial("valid_until IS NULL")),
    Index(None, "user_id", "channel", "valid_from"),
)

event = Table(
    "event",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("at", Instant, nullable=False),  # when it happened
    Column("received_at", Instant, nullable=False),
    Column("source_id", Text, nullable=False, unique=True),  # makes taking it in twice harmless
    Column("message_id", BigInteger),  # of message_opened and the like
    Column("properties", Json),
    Index(None, "user_id", "name", "at"),
    Index("ix_event_message", "message_id", "name", **_partial("message_id IS NOT NULL")),
)

consent = Table(
    "consent",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("channel", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("granted", Boolean, nullable=False),
    Column("source", Text, nullable=False),
    Column("valid_from", Instant, nullable=False),
    Column("valid_until", Instant),
    Index("uq_consent_current", "user_id", "channel", "topic", unique=True, **_partial("valid_until IS NULL")),
    Index("ix_consent_past", "user_id", "channel", "topic", **_partial("valid_until IS NOT NULL")),
)

opt_in = Table(  # agreements that wait for the person's own confirmation, and the proof of those that have it
    "opt_in",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False),
    Column("channel", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("requested_at", Instant, nullable=False),  # when they agreed, as the source tells
    Column("created_at", Instant, nullable=False),  # when it came in
    Column("ask_at", Instant, nullable=False),  # the mail leaves not before then
    Column("asked_at", Instant),  # committed before the mail leaves
    Column("confirmed_at", Instant),
    Column("ended_at", Instant),  # refused before it was confirmed
    Index(None, "user_id", "channel", "topic"),
    Index(
        "ix_opt_in_waiting",
        "ask_at",
        **_partial("asked_at IS NULL AND confirmed_at IS NULL AND ended_at IS NULL"),
    ),
)

suppression = Table(  # of an address (by value: it outlives the address row), or of a user on a channel
    "suppression",
    metadata,
    Column("id", Id, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("address", Text),
    Column("user_id", Id),
    Column("reason", Text, nullable=False),  # stop | complaint | unsubscribe | operator | provider
    Column("source", Text, nullable=False),
    Column("valid_from", Instant, nullable=False),
    Column("valid_until", Instant),
    Index(
        "ix_suppression_address",
        "channel",
        "address",
        **_partial("valid_until IS NULL AND address IS NOT NULL"),
    ),
    Index("ix_suppression_user", "user_id", "channel", **_partial("valid_until IS NULL AND user_id IS NOT NULL")),
    Index(
        "ix_suppression_past_address",
        "channel",
        "address",
        **_partial("valid_until IS NOT NULL AND address IS NOT NULL"),
    ),
    Index(
        "ix_suppression_past_user",
        "user_id",
        "channel",
        **_partial("valid_until IS NOT NULL AND user_id IS NOT NULL"),
    ),
)

# --- campaigns: what was launched, and when it fires -----------------------------------------------------------------

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
    Column("local_date", Text, nullable=False),  # ISO date in every member's own zone
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("as_of", Instant, nullable=False),  # the audience is who they were at this instant
    Column("closes_at", Instant, nullable=False),  # nothing of this run leaves at or after it
    Column("planned_through", Id, nullable=False, server_default="0"),  # users.id up to which the plan is committed
    Column("audience", Integer, nullable=False, server_default="0"),
    Column("created_at", Instant, nullable=False),
    Column("finished_at", Instant),
    Index("uq_run_date", "campaign", "local_date", unique=True),
    Index(None, "state"),
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

# --- the ledger: everything owed, done and decided -------------------------------------------------------------------

member = Table(
    "member",
    metadata,
    Column("run_id", Id, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("arm", Text, nullable=False),
    Column("held_out", Boolean, nullable=False),
    Column("decision", Text, nullable=False),  # planned | skipped
    Column("reason", Text),  # why skipped; or, when planned, why the first step was not
    Column("zone_key", Text, nullable=False),
    Column("country", Text, nullable=False),
    Column("anchor", Instant),
    Column("reopened_at", Instant),
    Column("converted_at", Instant),
    Column("conversion_value", Float),
    PrimaryKeyConstraint("run_id", "user_id"),
    sqlite_with_rowid=False,
)

lane = Table(
    "lane",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),  # way << 32 | run id << 4 | step
    Column("run_id", Id, nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("channel", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("rate", Float),  # messages per second, of this step alone; NULL: the account's
    Column("priority", Integer, nullable=False),
    Column("topic", Text, nullable=False, server_default=""),
    Column("tags", Text, nullable=False, server_default=""),  # the campaign's, as ,one,two, : what caps count by
    Column("campaign_rate", Float),  # messages per second, of all lanes of the campaign together
    Index("uq_lane_account", "run_id", "step", "account", unique=True),
)

message = Table(
    "message",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),  # run id << 40 | user id << 4 | step
    Column("run_id", Id, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("lane_id", BigInteger, nullable=False),
    Column("address_id", Id, nullable=False),
    Column("arm", Text, nullable=False),
    Column("held_out", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("due_at", Instant, nullable=False),
    Column("deadline", Instant, nullable=False),
    Column("worker_id", Id),  # the fence: who holds it while claimed or sending
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    Column("crashes", SmallInteger, nullable=False, server_default="0"),
    Column("provider_id", Text),
    Column("sent_at", Instant),  # when the latest request was begun
    Column("state_at", Instant, nullable=False),
    Column("timed", SmallInteger),  # best time: own hour from so many opens, 0 the population's, -1 explored; else NULL
    Index("ix_message_due", "lane_id", "due_at", **_partial("state = 'planned'")),
    Index("ix_message_held", "worker_id", **_partial("worker_id IS NOT NULL")),
    Index("uq_message_address", "run_id", "step", "address_id", unique=True),
    Index("ix_message_sent", "user_id", "sent_at", **_partial("sent_at IS NOT NULL")),
    Index("ix_message_unknown", "run_id", **_partial("state = 'unknown'")),
)

attempt = Table(  # one row per request, written at settle
    "attempt",
    metadata,
    Column("message_id", BigInteger, nullable=False),
    Column("n", SmallInteger, nullable=False),
    Column("worker_id", Id, nullable=False),
    Column("account", Text, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("outcome", Text, nullable=False),  # providers §0.1
    Column("code", Text),
    Column("provider_id", Text),
    Column("detail", Text),  # the provider's words, without address and body
    PrimaryKeyConstraint("message_id", "n"),
    sqlite_with_rowid=False,
)

transition = Table(  # append-only: holds, exits and operator actions
    "transition",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("campaign", Text),
    Column("run_id", Id),
    Column("message_id", BigInteger),
    Column("old", Text),
    Column("new", Text, nullable=False),
    Column("reason", Text),
    Column("actor", Text, nullable=False),
    Index("ix_transition_message", "message_id", **_partial("message_id IS NOT NULL")),
    Index("ix_transition_campaign", "campaign", **_partial("campaign IS NOT NULL")),
)

receipt = Table(  # what a provider called back; the unique index is the replay protection
    "receipt",
    metadata,
    Column("id", Id, primary_key=True),
    Column("provider", Text, nullable=False),
    Column("provider_id", Text, nullable=False),
    Column("status", Text, nullable=False),  # the provider's word
    Column("state", Text),  # ours: accepted | delivered | undelivered; NULL: a reply
    Column("message_id", BigInteger),
    Column("code", Text),
    Column("received_at", Instant, nullable=False),
    Index("uq_receipt", "provider", "provider_id", "status", unique=True),
    Index("ix_receipt_message", "message_id", **_partial("message_id IS NOT NULL")),
)

link = Table(  # where a tracked link leads; the id is a hash of the address (content.links)
    "link",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("url", Text, nullable=False),
)

worker = Table(  # one row per incarnation of a worker: its lease
    "worker",
    metadata,
    Column("id", Id, primary_key=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),  # machine time, as the next two
    Column("lease_until", Instant, nullable=False),
    Column("ended_at", Instant),
)

stop = Table(  # an account that must not be used
    "stop",
    metadata,
    Column("account", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("until", Instant),  # NULL: until an operator says so
)

spend = Table(  # what a run's marked SMS come to: kept in the mark's transaction, so that a budget is never overdrawn
    "spend",
    metadata,
    Column("run_id", Id, primary_key=True, autoincrement=False),
    Column("campaign", Text, nullable=False),
    Column("sms", BigInteger, nullable=False),  # messages
    Column("sms_parts", BigInteger, nullable=False),  # as they are billed
    Index(None, "campaign"),
)

warmed = Table(  # what accounts that are being warmed up have sent, by the quarter of an hour
    "warmed",
    metadata,
    Column("account", Text, nullable=False),
    Column("since", Instant, nullable=False),  # the quarter's beginning
    Column("messages", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "since"),
)

alert = Table(  # what an operator has to hear of: once per key, until it has been delivered
    "alert",
    metadata,
    Column("key", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("facts", Json, nullable=False),  # names and numbers, never a person's
    Column("at", Instant, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_at", Instant, nullable=False),  # machine time: when to try (again)
    Column("posted_at", Instant),  # to the webhook
    Column("mailed_at", Instant),
    Column("sent_at", Instant),  # to all there are
    Index("ix_alert_waiting", "next_at", **_partial("sent_at IS NULL")),
)

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

inbox_item = Table(  # what the app's own inbox shows: written as its message is accepted, deleted when it has expired
    "inbox_item",
    metadata,
    Column("message_id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", Id, nullable=False),  # whom the message was for; a merged user's items are shown to who stays
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("link", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("data", Json),
    Column("at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("seen_at", Instant),  # fetched by the app
    Column("read_at", Instant),
    Index(None, "user_id", "at"),
    Index(None, "expires_at"),
)
