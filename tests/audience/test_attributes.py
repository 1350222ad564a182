"""Declared attributes: their file, their indexes, and segments held to them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert, select
from typer.testing import CliRunner

from orchestrator.audience.attribute_indexes import sync_indexes
from orchestrator.audience.attributes import Declared, read_declarations
from orchestrator.audience.fault import Plain
from orchestrator.audience.segment import clause, count, read_segments
from orchestrator.errors import ConfigError
from orchestrator.store.engine import Store
from orchestrator.store.tables import users

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TIERS = {"orders": "int", "tier": {"type": "text", "values": ["silver", "gold"]}, "it's 5%": "float"}


def test_the_file_and_its_mistakes() -> None:
    found = read_declarations(Plain("a.yaml", TIERS))
    assert found["orders"] == Declared(type="int")
    with pytest.raises(ConfigError) as error:
        read_declarations(
            Plain("a.yaml", {"orders": "itn", "tier": {"typ": "text"}, "n": {"type": "int", "values": ["x"]}})
        )
    assert [str(problem) for problem in error.value.problems] == [
        "a.yaml: orders.type: unknown type 'itn' (did you mean 'int'?)",
        "a.yaml: tier.type: is missing (one of: text, int, float, bool, date, instant)",
        "a.yaml: tier.typ: unknown field (did you mean 'type'?)",
    ]
    with pytest.raises(ConfigError, match=r"n\.values\.1: 'x' is not a whole number"):
        read_declarations(Plain("a.yaml", {"n": {"type": "int", "values": ["x"]}}))


def test_segments_use_the_indexes(store: Store) -> None:
    declared = read_declarations(Plain("a.yaml", TIERS))
    row = {"created_at": NOW, "updated_at": NOW}
    with store.write() as connection:
        for n in range(50):
            attributes = {"orders": n, "tier": "gold" if n % 5 == 0 else "silver", "it's 5%": n / 2}
            connection.execute(insert(users).values(external_id=str(n), attributes=attributes, **row))
    assert set(sync_indexes(store, declared).made) == set(TIERS)
    assert set(sync_indexes(store, declared).kept) == set(TIERS)
    for test, expected in (
        ({"attribute": "tier", "equals": "gold"}, 10),
        ({"attribute": "orders", "at_least": 45}, 5),
        ({"attribute": "it's 5%", "between": [1, 2]}, 3),
    ):
        segment = clause("s", {"s": {"name": "s", "where": test}})
        with store.read() as connection:
            assert count(connection, segment, NOW) == expected
            if store.dialect == "sqlite":
                assert "ax_users_" in plan_of(connection, segment)
    assert len(sync_indexes(store, {}).dropped) == 3


def plan_of(connection: Connection, segment: Any) -> str:
    said: list[tuple[str, Any]] = []

    def listen(*told: Any) -> None:
        said.append((told[2], told[3]))

    event.listen(connection, "before_cursor_execute", listen)
    connection.execute(select(users.c.id).where(segment), {"as_of": NOW}).all()
    event.remove(connection, "before_cursor_execute", listen)
    sql, values = said[0]
    return str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all())


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ({"equals": "platinum"}, "where.equals: 'platinum' is not a value of tier (known: gold, silver)"),
        ({"in": ["gold", "silvr"]}, "where.in: 'silvr' is not a value of tier (did you mean 'silver'?)"),
        ({"at_least": 3}, "where.at_least: tier is text, and '3' is not"),
        ({"within": "3d"}, "where.within: tier is text, no date"),
    ],
)
def test_segments_are_held_to_the_types(test: dict[str, Any], expected: str) -> None:
    document = Plain("s.yaml", {"name": "s", "where": {"attribute": "tier", **test}})
    with pytest.raises(ConfigError) as error:
        read_segments({"s": document}, declared=read_declarations(Plain("a.yaml", TIERS)))
    assert str(error.value.problems[0]) == f"s.yaml: {expected}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    segments = tmp_path / "campaigns/segments"
    segments.mkdir(parents=True)
    (tmp_path / "campaigns/attributes.yaml").write_text("tier: {type: text, values: [gold, silver]}\norders: int\n")
    (segments / "gold.yaml").write_text(
        "name: gold\nwhere:\n  any:\n    - {attribute: tier, equals: gold}\n    - {attribute: order, at_least: 3}\n"
        "    - {did: app_open, at_least: 2}\n"
    )
    (segments / "sent.yaml").write_text("name: sent\nwhere: {campaign: {was_sent: lunch-winbak}}\n")
    (tmp_path / "campaigns/lunch-winback.yaml").write_text("name: lunch-winback\n")
    (tmp_path / "u.csv").write_text("id,tier\na,gold\nb,silver\nc,bronze\n")
    (tmp_path / "u.yaml").write_text("columns:\n  external_id: id\n  attributes: {tier: tier}\n")
    return tmp_path


def run(*arguments: str, code: int = 0) -> Any:
    from orchestrator.cli.app import app

    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.mark.usefixtures("project")
def test_as_commands() -> None:
    assert run("import", "users", "u.csv", "--mapping", "u.yaml")["rejected"] == 1
    assert run("attributes", "sync")["kept"] == ["orders", "tier"]
    assert set(run("attributes", "list")) == {"orders", "tier"}
    assert run("segment", "count", "gold")["count"] == 1
    told = run("segment", "explain", "a", "gold")
    assert (told["holds"], [(part["holds"], part["decides"], part["seen"]) for part in told["parts"]]) == (
        True, [(True, True, "gold"), (False, False, None), (False, False, 0)],
    )  # fmt: skip
    assert run("segment", "explain", "b", "gold")["holds"] is False
    from orchestrator.cli.app import app

    shown = CliRunner().invoke(app, ["segment", "explain", "b", "gold"]).stdout
    assert "no  attribute: tier, equals: gold  (seen: silver)" in shown
    assert run("users", "merge", "a", "b")["merged"] == "b"
    assert run("users", "show", "b")["user"] == "a"


@pytest.mark.usefixtures("project")
def test_validate_names_unknown_campaigns_and_likely_slips() -> None:
    found = run("validate", code=2)
    assert "unknown campaign 'lunch-winbak'" in str(found["problems"])
    assert "attributes.yaml" not in str([problem["file"] for problem in found["problems"]])
    (Path("campaigns/segments/sent.yaml")).unlink()
    assert any(
        "attribute 'order' is not declared" in note and "'orders'" in note for note in run("validate", code=2)["notes"]
    )
