"""The export: a row per member that adds up to the report, without addresses, and safe to open."""

from __future__ import annotations

import csv
import io
import tracemalloc
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from pyarrow import parquet

from orchestrator.errors import InputError
from orchestrator.ledger.states import State
from orchestrator.report.files import cell, replacing, write_csv, write_parquet
from orchestrator.report.outcomes import COLUMNS, outcomes
from orchestrator.report.tally import tally
from orchestrator.report.values import Launched
from orchestrator.store import Store
from tests import world
from tests.report.book import ANCHOR, NOW, Book, fill
from tests.report.test_tally import Person, ledgers, write


def exported(store: Store, launched: Launched, chunk: int = 2_000) -> list[dict[str, str]]:
    out = io.StringIO()
    with store.read() as connection:
        table = outcomes(connection, launched, chunk)
        count = write_csv(out, table.columns, table.rows)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert len(rows) == count
    return rows


@given(ledgers)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_ledgers_export_is_its_report(shared_store: Store, launched: Launched, people: list[Person]) -> None:
    world.wipe(shared_store)
    write(shared_store, people)
    with shared_store.read() as connection:
        found = tally(connection, launched, NOW)
    rows = exported(shared_store, launched, chunk=3)
    decided = Counter((row["decision"], row["reason"]) for row in rows)
    assert decided == {(one.name, one.reason): one.members for one in found.decisions}
    assert sum(bool(row["reopened_at"]) for row in rows) == sum(one.reopened for one in people)
    opened = {(row["run_id"], index) for index, row in enumerate(rows) if row["opened_by"] == "human"}
    assert len(opened) == sum(any(m and m.opened and m.sent for m in one.steps) for one in people)
    states = Counter(row[f"step{step}_state"] for row in rows for step in (1, 2) if row[f"step{step}_state"])
    assert states == Counter(str(m.state.value) for one in people for m in one.steps if m)


def test_a_row_says_who_what_when(filled: Store, launched: Launched) -> None:
    rows = exported(filled, launched)
    assert len(rows) == 1200
    assert [row["user"] for row in rows] == sorted(row["user"] for row in rows)
    one = next(row for row in rows if row["step2_state"] == State.DELIVERED)
    assert (one["campaign"], one["run_date"], one["held_out"]) == ("lunch-winback", "2026-12-01", "false")
    assert (one["step1_channel"], one["step2_channel"], one["decision"]) == ("push", "sms", "delivered")
    assert datetime.fromisoformat(one["step2_sent_at"]).tzinfo == UTC
    assert not any("token" in column or "address" in column for column in one)


def test_parquet_is_typed(filled: Store, launched: Launched, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.parquet"
    with filled.read() as connection, replacing(path) as out:
        table = outcomes(connection, launched)
        assert write_parquet(out, table.columns, table.rows) == 1200
    read = parquet.read_table(path)
    assert read.num_rows == 1200
    assert str(read.schema.field("reopened_at").type) == "timestamp[us, tz=UTC]"
    assert str(read.schema.field("conversion_value").type) == "double"
    assert sum(value is not None for value in read["reopened_at"].to_pylist()) == sum(
        bool(row["reopened_at"]) for row in exported(filled, launched)
    )
    assert read.column_names[: len(COLUMNS)] == list(COLUMNS)


@pytest.mark.parametrize("evil", ["=1+1", "+49", "-2", "@sum", "\t=1", "＝1"])
def test_text_is_never_a_formula(evil: str) -> None:
    assert cell(evil) == f"'{evil}"
    assert cell(-2) == -2
    assert cell("a=1") == "a=1"


def test_a_reason_is_no_formula_in_the_file(book: Book, store: Store, launched: Launched) -> None:
    book.run(1, audience=1)
    book.member(1, book.user(1), decision="skipped", reason='=HYPERLINK("x")')
    book.write()
    assert exported(store, launched)[0]["reason"] == '\'=HYPERLINK("x")'


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as out:
            out.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="cannot write"), replacing(tmp_path / "nowhere" / "x"):
        pass


def test_memory_does_not_grow_with_the_campaign(store: Store, launched: Launched) -> None:
    def peak(chunk: int) -> int:
        tracemalloc.start()
        with store.read() as connection:
            count = sum(1 for _ in outcomes(connection, launched, chunk).rows)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 3000
        return most

    fill(store, 3000)
    peak(100)  # warm
    assert peak(100) < peak(3000) / 4


def test_a_member_without_user_row_is_exported_too(book: Book, store: Store, launched: Launched) -> None:
    """An erased user's members stay; their name is gone."""
    book.run(1, audience=1)
    book.member(1, 1, anchor=ANCHOR)
    book.write()
    assert exported(store, launched)[0]["user"] == ""
