"""The ledger: everything owed, done and decided."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
)

from orchestrator.store.tables.columns import Id, Instant, Json, metadata, partial

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
    Column("version", Text, nullable=False, server_default=""),  # an earlier one of the run; "": the run's own
    Index("uq_lane_account", "run_id", "step", "account", "version", unique=True),
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
    Index("ix_message_due", "lane_id", "due_at", **partial("state = 'planned'")),
    Index("ix_message_held", "worker_id", **partial("worker_id IS NOT NULL")),
    Index("uq_message_address", "run_id", "step", "address_id", unique=True),
    Index("ix_message_sent", "user_id", "sent_at", **partial("sent_at IS NOT NULL")),
    Index("ix_message_unknown", "run_id", **partial("state = 'unknown'")),
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
    Index("ix_transition_message", "message_id", **partial("message_id IS NOT NULL")),
    Index("ix_transition_campaign", "campaign", **partial("campaign IS NOT NULL")),
    Index("ix_transition_act", "at", "id", **partial("message_id IS NULL")),
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
    Index("ix_receipt_message", "message_id", **partial("message_id IS NOT NULL")),
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

leader = Table(  # which process does what one alone may do: a lease by role
    "leader",
    metadata,
    Column("role", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", Instant, nullable=False),  # machine time
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
    Index("ix_alert_waiting", "next_at", **partial("sent_at IS NULL")),
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
