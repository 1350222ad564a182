"""JSONL and Parquet are what CSV is: the same mapping, the same rows, the same side file."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from orchestrator.audience.attributes import Declared
from orchestrator.audience.importing import Imported, import_file
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError, InputError
from orchestrator.store.engine import Store
from orchestrator.store.tables import address, event, users

EVENTS = {
    "columns": {
        "user": "who.id",
        "name": "what",
        "at": {"column": "at", "zone": "America/Vancouver"},
        "properties": {"amount": "amount", "paid": {"column": "paid", "type": "bool"}},
    }
}
RECORDS: list[dict[str, Any]] = [
    {
        "who": {"id": "a"},
        "what": "order",
        "at": datetime.fromisoformat("2026-12-15T10:00"),
        "amount": 2.5,
        "paid": True,
    },
    {
        "who": {"id": "b"},
        "what": "order",
        "at": datetime.fromisoformat("2026-12-15T11:00"),
        "amount": None,
        "paid": False,
    },
    {
        "who": {"id": None},
        "what": "order",
        "at": datetime.fromisoformat("2026-12-15T11:00"),
        "amount": 1.0,
        "paid": None,
    },
]
EXPECTED = [
    ("a", datetime(2026, 12, 15, 17, tzinfo=UTC), {"amount": 2.5, "paid": True}),
    ("b", datetime(2026, 12, 15, 18, tzinfo=UTC), {"paid": False}),
]  # Vancouver stays at -7 from 2026 on: the system's zone data may not know


def take(store: Store, path: Path, mapping: dict[str, Any], kind: str = "events", **more: Any) -> Imported:
    return import_file(store, kind, path, mapping, ManualClock(datetime(2026, 12, 20, tzinfo=UTC)), **more)


def kept(store: Store) -> list[tuple[str, datetime, Any]]:
    statement = select(users.c.external_id, event.c.at, event.c.properties).join(event, event.c.user_id == users.c.id)
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(statement.order_by(event.c.id))]


def reasons(path: Path) -> list[tuple[str, str]]:
    with path.with_name(f"{path.name}.rejected.csv").open(newline="", encoding="utf-8") as file:
        return [(line, reason) for line, reason, _ in list(csv.reader(file))[1:]]


def jsonl(path: Path) -> Path:
    lines = [json.dumps(record, default=datetime.isoformat) for record in RECORDS]
    path.write_text("\ufeff" + "\n\n".join(lines) + "\n{broken\n[1]\n" + '{"who": {"id": {"x": 1}}}', encoding="utf-8")
    return path


def test_jsonl(store: Store, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "e.jsonl")
    done = take(store, path, EVENTS)
    assert (done.read, done.written, done.rejected) == (6, 2, 4)
    assert kept(store) == EXPECTED
    assert reasons(path) == [
        ("5", "who.id: is blank"), ("6", "is not JSON"), ("7", "is not a JSON object"),
        ("8", "at: is blank"),
    ]  # fmt: skip
    again = take(store, path, EVENTS)
    assert (again.written, again.unchanged) == (0, 2)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_parquet(store: Store, tmp_path: Path, unit: str) -> None:
    path = tmp_path / "e.parquet"
    columns = {"what": pa.string(), "at": pa.timestamp(unit), "amount": pa.float64(), "paid": pa.bool_()}
    schema = pa.schema({"who": pa.struct({"id": pa.string()}), **columns, "more": pa.list_(pa.int64())}.items())
    pq.write_table(pa.Table.from_pylist(RECORDS, schema), path)
    told: list[int] = []
    done = take(store, path, EVENTS, progress=told.append)
    assert (done.read, done.written, done.rejected) == (3, 2, 1)
    assert kept(store) == EXPECTED
    assert reasons(path) == [("3", "who.id: is blank")]
    assert sum(told) == path.stat().st_size
    assert take(store, path, EVENTS).written == 0


def test_the_same_rows_are_the_same_events_in_every_format(store: Store, tmp_path: Path) -> None:
    take(store, jsonl(tmp_path / "e.jsonl"), EVENTS)
    path = tmp_path / "e.pq"
    pq.write_table(pa.Table.from_pylist(RECORDS), path)
    assert take(store, path, EVENTS).written == 0


def test_instants_with_a_zone_dates_decimals_and_ids_that_are_numbers(store: Store, tmp_path: Path) -> None:
    at = pa.array([datetime(2026, 12, 15, 17, tzinfo=UTC), None], pa.timestamp("us", "America/Vancouver"))
    table = {
        "u": pa.array([17.0, 18.0]),
        "at": at,
        "born": [date(1990, 2, 1), None],
        "points": [Decimal("1.00"), Decimal("2.5")],
    }
    pq.write_table(pa.table(table), tmp_path / "e.parquet")
    mapping = {
        "columns": {"user": "u", "name": {"value": "x"}, "at": "at", "properties": {"born": "born", "points": "points"}}
    }
    assert take(store, tmp_path / "e.parquet", mapping).rejected == 1
    assert kept(store) == [("17", datetime(2026, 12, 15, 17, tzinfo=UTC), {"born": "1990-02-01", "points": 1})]


def test_what_is_no_parquet_or_lacks_columns_is_refused(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "e.parquet"
    path.write_bytes(b"PAR1 not")
    with pytest.raises(InputError, match="is not a Parquet file"):
        take(store, path, EVENTS)
    pq.write_table(
        pa.table({"what": ["x"], "at": ["2026-01-01"], "amount": [1], "paid": [True], "who_id": ["a"]}), path
    )
    with pytest.raises(ConfigError, match=r"no column 'who\.id'.*did you mean 'who_id'"):
        take(store, path, EVENTS)


DECLARED = {
    "orders": Declared(type="int"),
    "tier": Declared(type="text", values=["silver", "gold"]),
    "vip": Declared(type="bool"),
    "since": Declared(type="date"),
    "seen": Declared(type="instant"),
}


def test_declared_attributes_are_held_to_their_types(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "u.csv"
    path.write_text(
        "id,orders,tier,vip,since,seen,other\n"
        "a,3,gold,yes,2026-01-02,2026-01-02T10:00:00+02:00,x\n"
        "b,3.5,gold,no,2026-01-02,,\nc,3,glod,no,2026-01-02,,\nd,1,gold,no,2026-02-30,,\n"
    )
    names = ("orders", "tier", "vip", "since", "seen", "other")
    mapping = {"columns": {"external_id": "id", "attributes": {name: name for name in names}}}
    done = take(store, path, mapping, "users", declared=DECLARED)
    assert (done.written, done.rejected) == (1, 3)
    assert [reason for _, reason in reasons(path)] == [
        "orders: '3.5' is not a whole number",
        "tier: 'glod' is not one of its values (did you mean 'gold'?)",
        "since: '2026-02-30' is not a date like 2026-12-01",
    ]
    with store.read() as connection:
        (found,) = connection.execute(select(users.c.attributes)).scalars()
    assert found == {
        "orders": 3,
        "tier": "gold",
        "vip": True,
        "since": "2026-01-02",
        "seen": "2026-01-02T08:00:00Z",
        "other": "x",
    }


@pytest.mark.parametrize("given", ["Name@Example.COM", "a.b+c@x.co.uk", "用户@例子.广告"])
def test_mailboxes(store: Store, tmp_path: Path, given: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"u,v\na,{given}\na,nobody@\na,two words@x.org\na,a@b\n", encoding="utf-8")
    mapping = {"columns": {"user": "u", "channel": {"value": "email"}, "value": "v"}}
    assert take(store, path, mapping, "addresses").rejected == 3
    with store.read() as connection:
        assert list(connection.execute(select(address.c.value)).scalars()) == [given.lower()]
