"""Parquet files, a batch of rows at a time.

pyarrow reads the system's zone data, which may be out of date, so it converts no zones here: an instant is the number
of microseconds that stands in the file, and a time without zone is read in the mapping's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.audience.csv_file import MAX_CELL, Rejected, Row
from orchestrator.audience.fault import Document
from orchestrator.audience.mapping import CsvMapping, check_columns, columns_of
from orchestrator.audience.sources import Source, value_at
from orchestrator.clock import EPOCH
from orchestrator.errors import InputError

BATCH = 2_000
_NAIVE = datetime(1970, 1, 1)  # noqa: DTZ001  # the mapping says which zone is meant
_FAULTS = (pa.ArrowException, OSError)


@contextmanager
def parquet(path: Path, mapping: CsvMapping, document: Document) -> Iterator[Source]:
    """Open a file; columns that the mapping does not name are not read."""
    try:
        file = pq.ParquetFile(path, pre_buffer=False)
    except _FAULTS:
        raise InputError(f"{path}: is not a Parquet file that can be read") from None
    with file:
        names = columns_of(mapping)
        check_columns(mapping, [*_leaves(file.schema_arrow), *file.schema_arrow.names], document)
        reading = _Reading(file, path, names)
        yield Source(names, reading.rows(), reading.position)


def _leaves(fields: Any, above: str = "") -> Iterator[str]:
    """The dotted names of all columns, those inside groups included."""
    for field in fields:
        yield f"{above}{field.name}"
        if pa.types.is_struct(field.type):
            yield from _leaves(field.type, f"{above}{field.name}.")


class _Reading:
    def __init__(self, file: pq.ParquetFile, path: Path, names: list[str]) -> None:
        self.file = file
        self.path = path
        self.names = names
        self.done = 0

    def position(self) -> int:
        """By rows: where the bytes of a row stand is nobody's business."""
        return self.path.stat().st_size * self.done // max(1, int(self.file.metadata.num_rows))

    def rows(self) -> Iterator[Row | Rejected]:
        """The rows of the file, numbered from 1."""
        there = set(self.file.schema_arrow.names)
        tops = list(dict.fromkeys(name if name in there else name.partition(".")[0] for name in self.names))
        try:
            for batch in self.file.iter_batches(BATCH, columns=tops, use_threads=False):
                columns = {top: _values(batch.column(batch.schema.get_field_index(top))) for top in tops}
                for place in range(batch.num_rows):
                    self.done += 1
                    yield self._row(place, columns)
        except _FAULTS:
            raise InputError(f"{self.path}: is damaged after row {self.done:,}") from None

    def _row(self, place: int, columns: dict[str, list[Any]]) -> Row | Rejected:
        record = {top: values[place] for top, values in columns.items()}
        cells = [value_at(record, name) for name in self.names]
        if any(isinstance(cell, str) and len(cell) > MAX_CELL for cell in cells):
            return Rejected(self.done, f"a value is longer than {MAX_CELL:,} characters")
        return Row(self.done, cells)


def _values(column: Any) -> list[Any]:
    """A column's values as Python has them."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        micros = column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()).to_pylist()
        return [_instant(value, aware=kind.tz is not None) for value in micros]
    if pa.types.is_struct(kind):
        fields = {field.name: _values(part) for field, part in zip(kind, column.flatten(), strict=True)}
        return [{name: values[place] for name, values in fields.items()} for place in range(len(column))]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [None if value is None else value.decode("utf-8", "replace") for value in column.to_pylist()]
    return list(column.to_pylist())


def _instant(micros: int | None, *, aware: bool) -> datetime | None:
    if micros is None:
        return None
    try:
        return (EPOCH if aware else _NAIVE) + timedelta(microseconds=micros)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)  # the row is rejected for it
