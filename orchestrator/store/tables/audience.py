"""Audience: who there is, how to reach them, what they did and agreed to."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
)

from orchestrator.store.tables.columns import Id, Instant, Json, metadata, partial

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

# Who was merged into whom: the old user keeps row, members and messages; all else has moved. Who is merged into
# themselves was erased: nobody's audience any more.
user_alias = Table(
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
    Index("uq_address_current", "channel", "value", unique=True, **partial("valid_until IS NULL")),
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
    Index("ix_event_message", "message_id", "name", **partial("message_id IS NOT NULL")),
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
    Index("uq_consent_current", "user_id", "channel", "topic", unique=True, **partial("valid_until IS NULL")),
    Index("ix_consent_past", "user_id", "channel", "topic", **partial("valid_until IS NOT NULL")),
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
        **partial("asked_at IS NULL AND confirmed_at IS NULL AND ended_at IS NULL"),
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
        **partial("valid_until IS NULL AND address IS NOT NULL"),
    ),
    Index("ix_suppression_user", "user_id", "channel", **partial("valid_until IS NULL AND user_id IS NOT NULL")),
    Index(
        "ix_suppression_past_address",
        "channel",
        "address",
        **partial("valid_until IS NOT NULL AND address IS NOT NULL"),
    ),
    Index(
        "ix_suppression_past_user",
        "user_id",
        "channel",
        **partial("valid_until IS NOT NULL AND user_id IS NOT NULL"),
    ),
)

erased = Table(  # what erased people had refused, by keyed hashes of an address or of the app's id: see audience.erased
    "erased",
    metadata,
    Column("digest", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("topic", Text, nullable=False),  # of a refused consent; else ""
    Column("reason", Text, nullable=False),  # a suppression's, or refused
    Column("at", Instant, nullable=False),  # when they said so
    PrimaryKeyConstraint("digest", "channel", "topic", "reason"),
    sqlite_with_rowid=False,
)
