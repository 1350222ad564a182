"""CSV imports: what is taken in, what goes to the side file and why, and that doing it again changes nothing."""

from __future__ import annotations

import csv
import math
import random
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.errors import DeadlockDetected
from sqlalchemy import Connection, Table, func, select
from sqlalchemy.exc import OperationalError

from orchestrator.audience import importing
from orchestrator.audience.importing import Imported, import_file
from orchestrator.audience.segment import clause, count
from orchestrator.audience.takers import Events, Wrote
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError, InputError
from orchestrator.store.engine import Store
from orchestrator.store.tables import address, consent, event, suppression, users

ROOT = Path(__file__).parents[2]
USERS = {"columns": {"external_id": "id", "name": "name"}}
EVENTS = {
    "columns": {
        "user": "who",
        "name": {"value": "order_paid"},
        "at": {"column": "date", "format": "%Y%m%d", "zone": "Asia/Shanghai"},
        "properties": {"amount": {"column": "amount", "type": "float"}},
    }
}
CDNOW = {
    "delimiter": "whitespace",
    "header": ["master", "customer", "date", "cds", "dollars"],
    "columns": {
        "user": "customer",
        "name": {"value": "order_paid"},
        "at": {"column": "date", "format": "%Y%m%d"},
        "properties": {"cds": {"column": "cds", "type": "int"}, "amount": {"column": "dollars", "type": "float"}},
    },
}


class Desk:
    """Imports texts, and looks at what came of it."""

    def __init__(self, store: Store, clock: ManualClock, folder: Path) -> None:
        self.store, self.clock, self.path = store, clock, folder / "in.csv"

    def take(self, kind: str, content: str | bytes, mapping: dict[str, Any], **more: Any) -> Imported:
        self.path.write_bytes(content.encode() if isinstance(content, str) else content)
        return import_file(self.store, kind, self.path, mapping, self.clock, **more)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        with self.store.read() as connection:
            return [dict(row) for row in connection.execute(select(table).order_by(table.c.id)).mappings()]

    def names(self) -> dict[str, str]:
        return {row["external_id"]: row["name"] for row in self.rows(users)}

    def rejects(self) -> list[tuple[str, str, str]]:
        with (self.path.parent / "in.csv.rejected.csv").open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        assert head == ["line", "reason", "row"]
        return [(line, reason, row) for line, reason, row in rows]


@pytest.fixture
def desk(store: Store, clock: ManualClock, tmp_path: Path) -> Desk:
    return Desk(store, clock, tmp_path)


def counts(done: Imported) -> tuple[int, int, int, int]:
    assert done.read == done.written + done.unchanged + done.rejected
    return done.read, done.written, done.unchanged, done.rejected


# --- the same again --------------------------------------------------------------------------------------------------

AGAIN: list[tuple[str, str, dict[str, Any], Table]] = [
    ("users", "id,name\na,A\nb,\n", USERS, users),
    ("events", "who,date,amount\na,20261101,1.5\na,20261101,1.5\nb,20261102,2\n", EVENTS, event),
    (
        "addresses",
        (
            "user,channel,value,at\na,push,tok,2026-11-01\nb,push,tok,2026-11-02\n"
            "a,sms,+49 151 23456789,\nb,sms,+4915123456789,\n"
        ),
        {"columns": {"user": "user", "channel": "channel", "value": "value", "at": "at"}},
        address,
    ),
    (
        "consents",
        "user,yes,at\na,true,2026-11-01\na,no,2026-11-05\na,1,2026-11-03\nb,是,\n",
        {
            "columns": {
                "user": "user",
                "channel": {"value": "push"},
                "topic": {"value": "t"},
                "granted": "yes",
                "at": "at",
            }
        },
        consent,
    ),
    (
        "suppressions",
        "mail,user,at\nA@x.org,,2026-11-01\n,u,\na@x.org,,2026-11-02\n",
        {"columns": {"channel": {"value": "email"}, "address": "mail", "user": "user", "at": "at"}},
        suppression,
    ),
]


@pytest.mark.on("postgresql")
def test_events_of_a_transaction_that_is_begun_again_are_those_of_users_there_are(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failures = Events.write, iter([True])

    def written_in_vain_once(self: Events, connection: Connection, values: Any, now: datetime) -> Wrote:
        done = write(self, connection, values, now)
        if next(failures, False):
            raise OperationalError("INSERT", None, DeadlockDetected())
        return done

    monkeypatch.setattr(Events, "write", written_in_vain_once)
    assert counts(desk.take("events", "who,date,amount\na,20261101,1.5\nb,20261102,2\n", EVENTS)) == (2, 2, 0, 0)
    assert [row["user_id"] for row in desk.rows(event)] == [row["id"] for row in desk.rows(users)]


@pytest.mark.parametrize(("kind", "text", "mapping", "table"), AGAIN)
def test_importing_again_changes_nothing(
    desk: Desk, kind: str, text: str, mapping: dict[str, Any], table: Table
) -> None:
    first = desk.take(kind, text, mapping)
    assert first.written > 0
    assert first.rejected == 0
    before = desk.rows(table), desk.rows(users)
    desk.clock.advance(timedelta(days=1))
    again = desk.take(kind, text, mapping)
    assert (again.written, again.unchanged) == (0, first.read)
    assert (desk.rows(table), desk.rows(users)) == before


def test_equal_rows_of_one_file_are_two_events_whatever_stands_between(desk: Desk) -> None:
    lines = [f"u{n},20261101,{n}" for n in range(1500)]
    text = "who,date,amount\n" + "\n".join([*lines, *lines[:10], "u0,20261101,0"]) + "\n"
    assert counts(desk.take("events", text, EVENTS)) == (1511, 1511, 0, 0)
    shuffled = random.Random(1).sample([*lines, *lines[:10], "u0,20261101,0"], 1511)
    assert counts(desk.take("events", "\n".join(["who,date,amount", *shuffled]), EVENTS)) == (1511, 0, 1511, 0)
    assert {row["at"] for row in desk.rows(event)} == {datetime(2026, 10, 31, 16, tzinfo=UTC)}


def test_real_purchases(desk: Desk) -> None:
    """Checked against the file itself, read by hand."""
    source = ROOT / "data/cdnow/CDNOW_sample.txt"
    done = import_file(desk.store, "events", source, CDNOW, desk.clock, rejects=desk.path.with_name("r.csv"))
    assert counts(done) == (6919, 6919, 0, 0)
    again = import_file(desk.store, "events", source, CDNOW, desk.clock, rejects=desk.path.with_name("r.csv"))
    assert counts(again) == (6919, 0, 6919, 0)
    as_of, bought = datetime(1998, 6, 30, tzinfo=UTC), dict[str, list[datetime]]()
    for line in source.read_text().splitlines():
        _, customer, day, *_ = line.split()
        bought.setdefault(customer, []).append(datetime.strptime(f"{day}+0000", "%Y%m%d%z"))
    dormant = sum(len(days) >= 2 and max(days) <= as_of - timedelta(days=30) for days in bought.values())
    where = {"all": [{"did": "order_paid", "at_least": 2}, {"did_not": "order_paid", "within": "30d"}]}
    with desk.store.read() as connection:
        segment = clause("s", {"s": {"name": "s", "where": where}})
        assert count(connection, segment, as_of) == dormant > 500


# --- files as they come ----------------------------------------------------------------------------------------------


def test_a_mark_at_the_start_and_mixed_line_ends(desk: Desk) -> None:
    text = '\ufeffid,name\r\na,A\nb,"B\r\nB"\r\nc,C\rd,D\n\n\r\ne,"E, ""e"""'
    assert counts(desk.take("users", text, USERS)) == (5, 5, 0, 0)
    assert desk.names() == {"a": "A", "b": "B\r\nB", "c": "C", "d": "D", "e": 'E, "e"'}


def test_another_encoding_for_the_file_or_for_some_lines(desk: Desk) -> None:
    chinese = "id,name\na,联通\nb,李雷\n"
    assert counts(desk.take("users", chinese.encode("gb18030"), {**USERS, "encoding": "gb18030"})) == (2, 2, 0, 0)
    mixed = "id,name\nc,韩梅梅\n".encode() + "d,李雷\n".encode("gb18030")
    assert counts(desk.take("users", mixed, {**USERS, "fallback": "gb18030"})) == (2, 2, 0, 0)
    assert desk.names() == {"a": "联通", "b": "李雷", "c": "韩梅梅", "d": "李雷"}
    assert counts(desk.take("users", mixed, USERS)) == (2, 0, 1, 1)
    line, reason, _row = desk.rejects()[0]
    assert line == "3"
    assert reason.startswith("is not utf-8 text; `fallback: gb18030`")


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("size", [70_000, 200_000, 1_000_000, 10_000_000])
def test_a_huge_cell_costs_its_own_row_alone(desk: Desk, size: int, quote: str) -> None:
    text = f"id,name\na,A\nb,{quote}{'x' * size}{quote}\nc,C\n"
    assert counts(desk.take("users", text, USERS)) == (3, 2, 0, 1)
    assert desk.names() == {"a": "A", "c": "C"}
    ((line, reason, row),) = desk.rejects()
    assert line == "3"
    assert "longer than" in reason
    assert len(row) <= 500


def test_a_stray_quote_costs_its_own_row_alone(desk: Desk) -> None:
    rows = "\n".join(f"u{n},N{n}" for n in range(3000))
    text = f'id,name\na,"A\nb,B\nc,"C"\nd,"D" d\ne,5" pipe\n{rows}\nf,"F\ng,G\n'
    assert counts(desk.take("users", text, USERS)) == (3007, 3004, 0, 3)
    assert {key: name for key, name in desk.names().items() if key in "abcdefg"} == {
        "b": "B", "c": "C", "e": '5" pipe', "g": "G",
    }  # fmt: skip
    assert [(line, row) for line, _, row in desk.rejects()] == [("2", 'a,"A'), ("5", 'd,"D" d'), ("3007", 'f,"F')]


def test_a_quote_that_never_closes_in_a_long_file(desk: Desk) -> None:
    rows = "\n".join(f"u{n},{'n' * 90}" for n in range(3000))
    assert counts(desk.take("users", f'id,name\na,"A\n{rows}\n', USERS)) == (3001, 3000, 0, 1)
    assert desk.rejects()[0][:2] == ("2", "a quote opens here and does not close soon enough")


def test_rows_that_cannot_be_taken_in_are_told_with_line_and_reason(desk: Desk) -> None:
    text = "who,date,amount\na,20261301,1\n,20261101,1\na,20261101\na,20261101,=1+1\na,,1\na,20261101,\x00\n"
    text += "a,20261101,nan\nok,20261101,\n=HYPERLINK(),1,1\n"
    assert counts(desk.take("events", text, EVENTS)) == (9, 1, 0, 8)
    assert [(line, reason) for line, reason, _ in desk.rejects()] == [
        ("2", "date: '20261301' is not an instant like %Y%m%d"),
        ("3", "who: is blank"),
        ("4", "has 2 cells where the header has 3"),
        ("5", "amount: '=1+1' is not a number"),
        ("6", "at: is blank"),
        ("7", "has a NUL character in it"),
        ("8", "amount: 'nan' is not a number"),
        ("10", "date: '1' is not an instant like %Y%m%d"),
    ]
    assert desk.rejects()[-1][2].startswith("'="), "a spreadsheet would run it"
    assert desk.rows(event)[0]["properties"] is None


def test_an_address_is_not_repeated_in_the_reason(desk: Desk) -> None:
    mapping = {"columns": {"user": "u", "channel": "c", "value": "v", "region": {"value": "DE"}}}
    text = "u,c,v\na,sms,12\nb,fax,1\nc,email,nobody\nd,sms,0151 23456789\ne,email,D@X.org\n"
    assert counts(desk.take("addresses", text, mapping)) == (5, 2, 0, 3)
    assert [reason for _, reason, _ in desk.rejects()] == [
        "the address is not a phone number: it has too few or too many digits",
        "unknown channel 'fax' (known: email, inbox, push, sms, webhook)",
        "the address is not a mailbox",
    ]
    assert [row["value"] for row in desk.rows(address)] == ["+4915123456789", "d@x.org"]
    assert [row["country"] for row in desk.rows(users)] == ["DE", None]


def test_the_side_file_of_an_earlier_import_goes_away(desk: Desk) -> None:
    assert desk.take("users", "id,name\n,A\n", USERS).rejects == desk.path.with_name("in.csv.rejected.csv")
    assert desk.take("users", "id,name\na,A\n", USERS).rejects is None
    assert not desk.path.with_name("in.csv.rejected.csv").exists()


@pytest.mark.parametrize("content", [b"", b"\n\n", "id,name\n".encode("utf-16"), b'id,"na\n', b"id,id\n"])
def test_a_file_without_a_header_is_refused(desk: Desk, content: bytes) -> None:
    with pytest.raises(InputError, match=r"in\.csv"):
        desk.take("users", content, USERS)


def test_attributes_have_their_types(desk: Desk) -> None:
    mapping = {"columns": {"external_id": "id", "attributes": {
        "n": {"column": "n", "type": "int"}, "b": {"column": "b", "type": "bool"}, "t": "t", "app": {"value": 7},
    }}}  # fmt: skip
    text = "id,n,b,t\na,12,yes,007\nb,,,\nc,1.5,yes,x\nd,99999999999999999999,no,x\n"
    assert counts(desk.take("users", text, mapping)) == (4, 2, 0, 2)
    assert [row["attributes"] for row in desk.rows(users)] == [{"n": 12, "b": True, "t": "007", "app": 7}, {"app": 7}]


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("iso", "2026-03-01T10:00:00+08:00", "2026-03-01T02:00:00+00:00"),
        ("iso", "2026-03-01 10:00", "2026-03-01T09:00:00+00:00"),
        ("unix", "1772330400", "2026-03-01T02:00:00+00:00"),
        ("unix_ms", "1772330400123", "2026-03-01T02:00:00.123000+00:00"),
    ],
)
def test_instants(desk: Desk, form: str, text: str, expected: str) -> None:
    columns = {"user": "u", "name": {"value": "e"}, "at": {"column": "at", "format": form, "zone": "Europe/Berlin"}}
    desk.take("events", f"u,at\na,{text}\n", {"columns": columns})
    assert desk.rows(event)[0]["at"].isoformat() == expected


# --- mapping files ---------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_with_a_mapping_is_told_at_once(desk: Desk) -> None:
    mapping = {
        "encodng": "utf-8",
        "columns": {
            "user": {"colum": "u"},
            "nme": "x",
            "at": {"column": "d", "zone": "Europe/Berln"},
            "properties": {"amount": {"column": "a", "type": "flot"}},
        },
    }
    with pytest.raises(ConfigError) as caught:
        desk.take("events", "u\n1\n", mapping)
    assert {str(problem).removeprefix("mapping: ") for problem in caught.value.problems} == {
        "encodng: unknown field (did you mean 'encoding'?)",
        "columns.user.colum: unknown field (did you mean 'column'?)",
        "columns.name: is missing",
        "columns.nme: unknown field (did you mean 'name'?)",
        "columns.at.zone: unknown time zone 'Europe/Berln' (did you mean 'Europe/Berlin'?)",
        "columns.properties.amount.type: unknown word 'flot' (did you mean 'float'?)",
    }


def test_columns_that_the_file_does_not_have_are_named(desk: Desk) -> None:
    with pytest.raises(ConfigError) as caught:
        desk.take(
            "users", "id,nane\n1,A\n", {"columns": {"external_id": "id", "name": "name", "attributes": {"a": "b"}}}
        )
    assert [str(problem) for problem in caught.value.problems] == [
        "mapping: columns.name: the file has no column 'name' (did you mean 'nane'?)",
        "mapping: columns.attributes.a: the file has no column 'b' (known: id, nane)",
    ]


# --- how it is done --------------------------------------------------------------------------------------------------


def test_progress_adds_up_to_the_file(desk: Desk) -> None:
    told: list[int] = []
    text = "id,name\n" + "".join(f"u{n},{'n' * 50}\n" for n in range(8000))
    desk.take("users", text, USERS, progress=told.append)
    assert sum(told) == len(text)
    assert len(told) >= 5


def test_memory_stays_the_same_however_long_the_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six times the rows: what keeps them all takes about six times as much, whatever else is going on."""
    monkeypatch.setattr(importing, "SLOW", math.inf)  # a busy machine would make chunks smaller, now and then

    def peak(rows: int) -> int:
        text = "who,date,amount\n" + "".join(f"u{n % 50},20261101,{n}\n" for n in range(rows))
        desk.path.write_text(text)
        tracemalloc.start()
        import_file(desk.store, "events", desk.path, EVENTS, desk.clock)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(1_000)
    assert peak(24_000) < 3 * peak(4_000)  # one chunk is read while another is written: seldom at the worst of moments


def test_what_was_committed_before_an_interruption_stays_and_the_rest_follows(desk: Desk) -> None:
    def stop(_size: int) -> None:
        raise KeyboardInterrupt

    text = "who,date,amount\n" + "".join(f"u{n % 9},20261101,{n % 700}\n" for n in range(2500))
    with pytest.raises(KeyboardInterrupt):
        desk.take("events", text, EVENTS, progress=stop)
    with desk.store.read() as connection:
        done = connection.execute(select(func.count()).select_from(event)).scalar_one()
    assert done == 1000
    assert counts(desk.take("events", text, EVENTS)) == (2500, 1500, 1000, 0)
