"""``suppression``: the list as a file that can be imported again, and what operators add and lift."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from typer.testing import CliRunner, Result

from orchestrator.audience import people
from orchestrator.audience.suppression_list import COLUMNS, MAPPING, guarded, unguarded
from orchestrator.cli.app import app
from orchestrator.errors import InputError, NotFoundError
from orchestrator.store import Store, upgrade
from orchestrator.store.tables import suppression, transition
from tests.tracking.world import World

AT = datetime(2026, 10, 1, 12, 0, 0, 123456, tzinfo=UTC)
PHONE, EVIL = "+4917012345678", "=cmd+x@mail.example"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orchestrator.yaml").write_text("database: t.db\n")
    (tmp_path / "map.yaml").write_text(MAPPING)
    store = Store("t.db")
    upgrade(store)
    World(store).phone(7, PHONE)
    kinds = [
        ("sms", "stop", PHONE, None), ("sms", "stop", None, 7), ("email", "complaint", EVIL, None),
        ("email", "unsubscribe", None, 7), ("sms", "complaint", "+8613812345678", None),
    ]  # fmt: skip
    with store.write() as connection:
        wanted = [
            people.Suppressed(channel, reason, "=twilio", AT + timedelta(seconds=n), to, user)
            for n, (channel, reason, to, user) in enumerate(kinds)
        ]
        people.suppress_all(connection, wanted)
    store.close()
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["suppression", *arguments], catch_exceptions=False)


def rows(path: str = "t.db") -> list[tuple[object, ...]]:
    store = Store(path, writer=False)
    with store.read() as connection:
        found = [tuple(row[1:]) for row in connection.execute(select(suppression).order_by(suppression.c.id))]
    store.close()
    return found


def holding() -> list[tuple[object, ...]]:
    return [(row[0], row[3]) for row in rows() if row[6] is None]


def import_again() -> dict[str, int]:
    arguments = ["import", "suppressions", "out.csv", "--mapping", "map.yaml", "--json"]
    found: dict[str, int] = json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)
    return found


def test_the_list_goes_out_and_comes_in_again_unchanged(project: Path) -> None:
    assert json.loads(run("export", "out.csv", "--csv", "--json").stdout) == {"file": "out.csv", "written": 5}
    before = rows()
    done = import_again()
    assert (done["read"], done["written"], done["unchanged"], done["rejected"]) == (5, 0, 5, 0)
    assert rows() == before


def test_another_deployment_gets_the_same_list(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("export", "out.csv")
    before = [row[:2] + row[3:] for row in rows()]
    (project / "orchestrator.yaml").write_text("database: other.db\n")
    assert import_again()["written"] == 5
    assert [row[:2] + row[3:] for row in rows("other.db")] == before


def test_the_file_is_no_formula_and_nobody_elses(project: Path) -> None:
    run("export", "out.csv")
    assert (project / "out.csv").stat().st_mode & 0o077 == 0
    with (project / "out.csv").open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert lines[0] == ["sms", PHONE, "", "stop", "'=twilio", AT.isoformat()]
    assert lines[2][1] == f"'{EVIL}"
    assert list(project.glob(".out*")) == []


@given(st.text(max_size=20))
def test_a_guarded_cell_is_read_as_it_was(text: str) -> None:
    cell = guarded(text)
    assert not cell.startswith(("=", "-", "@", "\t", "\r", "\n", "＝"))
    assert not cell.startswith("+") or cell[1:].isdecimal()
    assert unguarded(cell) == text or text.startswith("'")


def test_what_was_lifted_is_not_written(project: Path) -> None:
    run("lift", "--channel", "sms", "--user", "u-7", "--because", "asked by phone, ticket 12")
    run("export", "out.csv")
    assert len((project / "out.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("target", [["--user", "u-7"], ["--address", PHONE], ["--address", "+49 170 12345678"]])
def test_a_refusal_is_lifted_for_the_number_and_its_user_with_a_reason(project: Path, target: list[str]) -> None:
    done = json.loads(run("lift", "--channel", "sms", *target, "--because", "asked in chat", "--json").stdout)
    assert done == {"lifted": ["stop"], "held": []}
    assert ("sms", "stop") not in holding()
    assert ("email", "unsubscribe") in holding()
    store = Store("t.db", writer=False)
    with store.read() as connection:
        line = connection.execute(select(transition).where(transition.c.new == "suppression_lifted")).one()
    store.close()
    assert line.reason == "sms #1 stop, #2 stop: asked in chat"
    assert line.actor.startswith("operator ")
    assert PHONE not in str(line)


def test_a_complaint_is_lifted_on_purpose_alone(project: Path) -> None:
    target = ["--channel", "sms", "--address", "+8613812345678", "--because", "wrong button"]
    assert run("lift", *target).stdout == "lifted: nothing; still held by: complaint (--force lifts that too)\n"
    assert ("sms", "complaint") in holding()
    assert run("lift", *target, "--force").stdout == "lifted: complaint\n"
    assert ("sms", "complaint") not in holding()


def test_lifting_needs_a_reason_and_something_to_lift(project: Path) -> None:
    with pytest.raises(InputError, match="why may it be lifted"):
        run("lift", "--channel", "sms", "--user", "u-7", "--because", " ")
    with pytest.raises(NotFoundError, match="no such suppression"):
        run("lift", "--channel", "push", "--user", "u-7", "--because", "x")
    with pytest.raises(NotFoundError, match="no user"):
        run("lift", "--channel", "sms", "--user", "u-8", "--because", "x")
    with pytest.raises(InputError, match="one of the two"):
        run("lift", "--channel", "sms", "--because", "x")


def test_an_operator_adds_one(project: Path) -> None:
    assert run("add", "--channel", "email", "--address", "Eve@Mail.Example").stdout == "suppressed\n"
    assert run("add", "--channel", "email", "--address", "eve@mail.example").stdout == "was suppressed already\n"
    assert rows()[-1][:4] == ("email", "eve@mail.example", None, "operator")
    with pytest.raises(InputError, match="unknown reason"):
        run("add", "--channel", "email", "--user", "u-7", "--reason", "dislike")
    with pytest.raises(InputError, match="unknown channel"):
        run("add", "--channel", "fax", "--user", "u-7")
    with pytest.raises(InputError, match="not a phone number") as wrong:
        run("add", "--channel", "sms", "--address", "12345")
    assert "12345" not in str(wrong.value)
