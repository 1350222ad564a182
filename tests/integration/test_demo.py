"""``orchestrator demo`` as a new user runs it, with fewer people; then all that it claims is counted once more."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ruamel.yaml import YAML

from orchestrator.timing.zones import candidates

pytestmark = pytest.mark.slow

PEOPLE, SPEED = 300, 5000
OPENS, CLOSES = time(10, 30), time(11, 45)


@dataclass(frozen=True)
class Shown:
    """A finished demonstration."""

    folder: Path
    code: int
    text: str

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.folder / ".demo" / "orchestrator.db")) as connection:
            return connection.execute(query).fetchall()

    def accepted(self) -> list[dict[str, Any]]:
        lines = (self.folder / ".demo" / "sandbox" / "accepted.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def business(self, unix: float) -> datetime:
        clock: dict[str, Any] = YAML(typ="safe").load(self.folder / ".demo" / "orchestrator.yaml")["clock"]
        origin, start = (datetime.fromisoformat(clock[name]) for name in ("origin", "start"))
        return start + (datetime.fromtimestamp(unix, UTC) - origin) * float(clock["speed"])


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("somebody")
    arguments = ["demo", "--people", str(PEOPLE), "--speed", str(SPEED)]
    with (folder / "output").open("w+") as output:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator", *arguments],
            cwd=folder, stdout=output, stderr=subprocess.STDOUT, timeout=280, check=False,
        )  # fmt: skip
        output.seek(0)
        yield Shown(folder, done.returncode, output.read())


def instant(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def inside(at: datetime, zone_key: str) -> bool:
    """Whether it is between 10:30 and 11:45 wherever that person may be."""
    return all(OPENS <= at.astimezone(ZoneInfo(zone)).time() < CLOSES for zone in candidates(zone_key))


def test_it_succeeds_and_says_so(shown: Shown) -> None:
    assert shown.code == 0, shown.text
    assert "FAILED" not in shown.text
    assert len(re.findall(r"^ok ", shown.text, re.MULTILINE)) == 8
    for words in ("Real", "Generated", "simulated", "decision", "holdout", "interval", "true effect"):
        assert words in shown.text
    assert "\x1b" not in shown.text  # plain where nobody looks at a terminal


def test_every_member_is_accounted_for(shown: Shown) -> None:
    regulars = shown.rows("""
        SELECT count(*) FROM (SELECT user_id FROM event WHERE name = 'order_paid' AND source_id LIKE 'cdnow-%'
        GROUP BY user_id HAVING count(*) >= 2 AND max(at) < (SELECT as_of FROM run) - 30 * 86400 * 1000000)""")[0][0]
    members, recorded = shown.rows("SELECT (SELECT count(*) FROM member), (SELECT audience FROM run)")[0]
    assert members == recorded == regulars > PEOPLE / 4
    assert f"every member accounted for: {members} = {members} decided" in shown.text
    assert shown.rows("SELECT count(*) FROM run WHERE state = 'done'") == [(1,)]


def test_nobody_was_sent_to_outside_their_own_window_says_the_ledger(shown: Shown) -> None:
    requests = shown.rows("""
        SELECT member.zone_key, attempt.started_at FROM attempt JOIN message ON message.id = attempt.message_id
        JOIN member ON member.run_id = message.run_id AND member.user_id = message.user_id""")
    assert len(requests) > PEOPLE / 5
    assert [(key, at) for key, at in requests if not inside(instant(at), key)] == []


def test_nobody_was_sent_to_outside_their_own_window_says_the_provider(shown: Shown) -> None:
    ledger = shown.rows("""
        SELECT message.id, member.zone_key, attempt.started_at, attempt.ended_at FROM attempt
        JOIN message ON message.id = attempt.message_id
        JOIN member ON member.run_id = message.run_id AND member.user_id = message.user_id
        ORDER BY attempt.n""")
    request = {str(row[0]): row[1:] for row in ledger}
    accepted = shown.accepted()
    assert len(accepted) > PEOPLE / 5
    for record in accepted:
        key, started, ended = request[record["message_id"]]
        at = shown.business(record["time"])
        # milliseconds on the way are a minute of such a day: what left in time may arrive just after
        assert inside(at, key) or instant(started) <= at <= instant(ended)
        assert inside(instant(started), key)


def test_nobody_got_anything_twice(shown: Shown) -> None:
    assert max(Counter(record["message_id"] for record in shown.accepted()).values()) == 1
    assert max(Counter((record["to"], record["provider"]) for record in shown.accepted()).values()) == 1


def test_the_held_out_got_nothing(shown: Shown) -> None:
    held_out = shown.rows("SELECT message.id FROM message WHERE held_out")
    assert held_out
    assert not {str(number) for (number,) in held_out} & {record["message_id"] for record in shown.accepted()}


def test_the_page_is_there_and_nothing_runs_any_more(shown: Shown) -> None:
    page = (shown.folder / "report.html").read_text(encoding="utf-8")
    assert "</html>" in page
    pid = (shown.folder / ".demo" / "orchestrator.db.lock").read_text()
    assert not Path(f"/proc/{pid}").exists()
