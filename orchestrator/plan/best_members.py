"""The planner's SQL where a campaign asks for everybody's best hour: which of a slot's open hours a member gets.

In the order of what counts: an exploring member (a stable draw for campaign, date and user) gets any of the hours; who
has a history of their own gets the best of their hours that is open; everybody else the population's best. The own
hours stand in ``best_hour`` as a text of codes, best first: with the shut ones stripped from its left, it begins with
the hour. :func:`orchestrator.timing.besttime.best_of` says the same in Python.
"""

from __future__ import annotations

from orchestrator.store.dialect import bucket, bucket_sql
from orchestrator.timing.besttime import KEPT

EXPLORED, POPULATION = -1, 0
"""What ``message.timed`` says where it is not the number of the user's own opens."""
_MOST = 32_000


def draw(campaign: str, day: str, user: str) -> int:
    """A member's draw: below a slot's ``explore`` they explore. ``day`` is the run's key, ``user`` the app's own id."""
    return bucket(f"{campaign}:hour:{day}:{user}")


def _draw_sql(dialect: str) -> str:
    return bucket_sql(dialect, "CAST(:campaign AS TEXT) || ':hour:' || CAST(:day AS TEXT) || ':' || users.external_id")


def _own(slot: str, habit: str) -> str:
    """The best of the user's own hours that is open; NULL or an empty text when there is none."""
    kept = f"coalesce({habit}_channel.hours, {habit}_any.hours)"
    return f"substr(ltrim(substr({kept}, {slot}.weekday * {KEPT} + 1, {KEPT}), {slot}.shut), 1, 1)"


def _hour(dialect: str, slot: str, habit: str) -> str:
    drawn = _draw_sql(dialect)
    return f"""CASE
        WHEN {drawn} < {slot}.explore
            THEN substr({slot}.hours, 1 + CAST({drawn} * length({slot}.hours) / {slot}.explore AS INTEGER), 1)
        WHEN {_own(slot, habit)} <> '' THEN {_own(slot, habit)}
        ELSE substr({slot}.hours, 1, 1) END"""


def _habits(alias: str, channel: str) -> str:
    """The user's hours as of now: by the channel's own opens, and by the app's alone."""
    return " ".join(
        f"""LEFT JOIN best_hour {alias}_{name} ON {alias}_{name}.user_id = m.user_id
            AND {alias}_{name}.channel = {which} AND {alias}_{name}.until > :now"""
        for name, which in (("channel", channel), ("any", "''"))
    )


def _cut(dialect: str, slot: str, alias: str, habit: str) -> str:
    """The chosen hour's row of ``slot_hour``, after the tables that it is chosen by."""
    key = " AND ".join(f"{alias}.{name} = {slot}.{name}" for name in ("run_id", "step", "arm", "zone_key", "country"))
    return f"LEFT JOIN slot_hour {alias} ON {key} AND {alias}.hour = {_hour(dialect, slot, habit)}"


def joins(dialect: str, *, first: bool) -> str:
    """What the messages' statement joins too: ``h``, the hour in slot ``s``; in later steps ``g``, that in ``f``."""
    own = f"{_habits('habit', ':channel')} {_cut(dialect, 's', 'h', 'habit')}"
    if first:
        return own
    return f"{own} {_habits('before', 'CAST(:first_channel AS TEXT)')} {_cut(dialect, 'f', 'g', 'before')}"


def timed(dialect: str, *, late: str = "FALSE") -> str:
    """What stands in ``message.timed``; ``late``: SQL for whether the hour had passed when the step was due."""
    return f"""CASE WHEN h.due_at IS NULL OR {late} THEN NULL
        WHEN {_draw_sql(dialect)} < s.explore THEN {EXPLORED}
        WHEN {_own("s", "habit")} <> ''
            THEN CASE WHEN coalesce(habit_channel.opens, habit_any.opens) > {_MOST} THEN {_MOST}
                      ELSE coalesce(habit_channel.opens, habit_any.opens) END
        ELSE {POPULATION} END"""
