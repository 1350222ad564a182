"""What both campaigns on task queues share: their tables in PostgreSQL, the segment, the words, the record.

The same campaign as ours in ``bench.dispatch``: who ordered within 600 days and not within 30, has a token and agreed
to promotions gets a personal push in their language, and what came of it is written down.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import psycopg
from jinja2.sandbox import SandboxedEnvironment
from psycopg_pool import ConnectionPool

_TABLES = """
CREATE TABLE app_user (id int PRIMARY KEY, name text, locale text, favourite text, token text, promotions boolean);
CREATE TABLE purchase (id int PRIMARY KEY, user_id int, at timestamptz);
CREATE INDEX ON purchase (user_id, at);
CREATE TABLE push (campaign text, user_id int, status text, message_id text, sent_at timestamptz DEFAULT now(),
                   PRIMARY KEY (campaign, user_id));
"""
_FILL = """
INSERT INTO app_user SELECT i, 'Name ' || i, CASE i % 2 WHEN 0 THEN 'zh' ELSE 'en' END, 'ramen', 'token-' || i, true
FROM generate_series(1, {count}) i;
INSERT INTO purchase SELECT i, i, now() - interval '90 days' FROM generate_series(1, {count}) i;
"""
_SEGMENT = """
SELECT id FROM app_user u WHERE promotions AND token IS NOT NULL
AND EXISTS (SELECT 1 FROM purchase WHERE user_id = u.id AND at > now() - interval '600 days')
AND NOT EXISTS (SELECT 1 FROM purchase WHERE user_id = u.id AND at > now() - interval '30 days') ORDER BY id
"""
_RECORD = """INSERT INTO push (campaign, user_id, status, message_id) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"""
_WORDS = {
    "en": (
        "Lunch today: {{ favourite|truncate(30) }}?",
        "Hi {{ name|truncate(24) }}, kitchens near you are open. Order by noon: {{ favourite|truncate(40) }} waits.",
    ),
    "zh": (
        "中午来份{{ favourite|truncate(16) }}？",
        "{{ name|truncate(12) }}，附近的厨房已经开火啦。现在下单，午饭准时送到，{{ favourite|truncate(20) }}等你回来。",
    ),
}
_environment = SandboxedEnvironment()
_templates = {locale: [_environment.from_string(part) for part in parts] for locale, parts in _WORDS.items()}


class Push(NamedTuple):
    """One user's message."""

    user: int
    token: str
    title: str
    body: str


def pool() -> ConnectionPool:
    """Connections of one process, opened as they are needed."""
    return ConnectionPool(os.environ["DATABASE"], min_size=1, max_size=16, open=True)


def fill(count: int) -> None:
    """Tables, and people in them who are all in the segment."""
    with psycopg.connect(os.environ["DATABASE"], autocommit=True) as connection:
        connection.execute(_TABLES)
        connection.execute(_FILL.format(count=count))
        connection.execute("ANALYZE")


def chunks(connection: psycopg.Connection[Any], size: int) -> Iterable[list[int]]:
    """The segment's users, ``size`` at a time."""
    ids = [row[0] for row in connection.execute(_SEGMENT)]
    return (ids[start : start + size] for start in range(0, len(ids), size))


def written(connection: psycopg.Connection[Any], ids: Sequence[int]) -> list[Push]:
    """Each user's own words."""
    sql = "SELECT id, name, locale, favourite, token FROM app_user WHERE id = ANY(%s)"
    found = []
    for user, name, locale, favourite, token in connection.execute(sql, [list(ids)]):
        title, body = (one.render(name=name, favourite=favourite) for one in _templates[locale])
        found.append(Push(user, token, title, body))
    return found


def record(connection: psycopg.Connection[Any], campaign: str, results: Iterable[tuple[int, str, str | None]]) -> None:
    """What came of it: (user, status, the provider's id)."""
    with connection.cursor() as cursor:
        cursor.executemany(_RECORD, [(campaign, *result) for result in results])


def timed(start: Callable[[str, int], object], count: int, size: int) -> float:
    """Seconds from the campaign's start to its last record. One for the warmth before it: workers take time to boot."""
    start("warm-up", size)
    _wait("warm-up", count)
    began = time.perf_counter()
    start("lunch", size)
    _wait("lunch", count)
    return time.perf_counter() - began


def _wait(campaign: str, count: int) -> None:
    deadline = time.monotonic() + 300
    with psycopg.connect(os.environ["DATABASE"], autocommit=True) as connection:
        while True:
            found = connection.execute("SELECT count(*) FROM push WHERE campaign = %s", [campaign]).fetchone()
            if found is not None and found[0] >= count:
                return
            assert time.monotonic() < deadline, f"{found} of {count} after five minutes"
            time.sleep(0.02)
