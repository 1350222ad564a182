"""Facts about single users, as SQL shared by plan and gate, so that the two can never disagree.

Each function takes the SQL expressions it is about and returns a boolean SQL expression. Bind parameters: ``:channel``,
``:topic``, ``:goal`` (an event name), ``:now`` (microseconds), ``:seen_since`` (microseconds).
"""

from __future__ import annotations

OWN_ID = ("inbox", "webhook")
"""Channels that are the app's own: the address is the user's own id, and an agreement is not asked for."""
_OWN_ID = ", ".join(f"'{channel}'" for channel in OWN_ID)


def consented(user: str, channel: str = ":channel", topic: str = ":topic") -> str:
    """The user agreed to this topic on this channel; on the app's own channels: has not refused it."""
    said = f"""SELECT 1 FROM consent WHERE consent.user_id = {user} AND consent.channel = {channel}
        AND consent.topic = {topic} AND consent.valid_until IS NULL"""
    return f"""(EXISTS ({said} AND consent.granted)
        OR ({channel} IN ({_OWN_ID}) AND NOT EXISTS ({said} AND NOT consent.granted)))"""


def user_suppressed(user: str, channel: str = ":channel") -> str:
    """The user must not be sent to on this channel."""
    return f"""EXISTS (SELECT 1 FROM suppression WHERE suppression.user_id = {user}
        AND suppression.channel = {channel} AND suppression.valid_until IS NULL)"""


def address_suppressed(value: str) -> str:
    """The address (by value) must not be sent to."""
    return f"""EXISTS (SELECT 1 FROM suppression WHERE suppression.address = {value}
        AND suppression.channel = :channel AND suppression.valid_until IS NULL)"""


def address_current(alias: str) -> str:
    """The address row ``alias`` is current, fresh, and not in quarantine."""
    return f"""({alias}.valid_until IS NULL AND {alias}.last_seen_at >= :seen_since
        AND ({alias}.quarantined_until IS NULL OR {alias}.quarantined_until <= :now))"""


def best_address(user: str, but_not: str = "") -> str:
    """The id of the user's address to use on this channel: the one seen last that may be sent to, or NULL.

    ``but_not``: more conditions (``AND …``) on the row ``choice``: that an account carries it, that it is free.
    """
    return f"""(SELECT choice.id FROM address AS choice WHERE choice.user_id = {user} AND choice.channel = :channel
        AND {address_current("choice")} AND NOT {address_suppressed("choice.value")} {but_not}
        ORDER BY choice.last_seen_at DESC, choice.id DESC LIMIT 1)"""


def not_used_by_another(message: str, run: str, step: str, more: str = "") -> str:
    """For ``but_not``: nobody else's message of this run and step went to the choice (it moved with a merged user).

    ``more``: a condition (``AND …``) on ``taken.id``, by which PostgreSQL need not open every partition.
    """
    return f"""AND NOT EXISTS (SELECT 1 FROM message AS taken WHERE taken.run_id = {run} AND taken.step = {step}
        AND taken.address_id = choice.id AND taken.id <> {message} {more})"""


def only_suppressed_addresses(user: str) -> str:
    """Some current address of the user on this channel is suppressed by value."""
    return f"""EXISTS (SELECT 1 FROM address AS other WHERE other.user_id = {user} AND other.channel = :channel
        AND other.valid_until IS NULL AND {address_suppressed("other.value")})"""


def did_since(user: str, since: str) -> str:
    """The goal event happened at or after ``since`` (a SQL expression in microseconds)."""
    return (
        f"""EXISTS (SELECT 1 FROM event WHERE event.user_id = {user} AND event.name = :goal AND event.at >= {since})"""
    )
