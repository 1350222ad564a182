"""Files that are imported, whatever their format: a header, rows one after the other, and how far one has read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Any, Literal

import orjson

from orchestrator.audience.csv_file import MAX_CELL, Lines, Rejected, Row, read_rows
from orchestrator.audience.fault import Document
from orchestrator.audience.mapping import CsvMapping, check_columns, columns_of
from orchestrator.errors import InputError

Format = Literal["csv", "jsonl", "parquet"]
SUFFIXES: Mapping[str, Format] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet"}


@dataclass(frozen=True, slots=True)
class Source:
    """An open file. ``position`` is how many of its bytes were read, for a progress bar."""

    header: list[str]
    rows: Iterator[Row | Rejected]
    position: Callable[[], int]


def opened(path: Path, mapping: CsvMapping, document: Document) -> AbstractContextManager[Source]:
    """Open a file that the mapping fits; memory stays bounded whatever it holds.

    Raises:
        ConfigError: the mapping names columns that the file does not have.
        InputError: the file cannot be read, or has no header.
    """
    match mapping.format or SUFFIXES.get(path.suffix.lower(), "csv"):
        case "csv":
            return _csv(path, mapping, document)
        case "jsonl":
            return _jsonl(path, mapping)
        case "parquet":
            from orchestrator.audience.parquet_file import parquet

            return parquet(path, mapping, document)


@contextmanager
def _csv(path: Path, mapping: CsvMapping, document: Document) -> Iterator[Source]:
    with _bytes(path) as raw, TextIOWrapper(raw, mapping.encoding, "surrogateescape", newline="") as file:
        rows = read_rows(file, mapping)
        header = _header(rows, mapping, path)
        check_columns(mapping, header, document)
        yield Source(header, rows, raw.tell)


def _bytes(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None


def _header(rows: Iterator[Row | Rejected], mapping: CsvMapping, path: Path) -> list[str]:
    if mapping.header is not None:
        return mapping.header
    first = next(rows, None)
    if not isinstance(first, Row):
        why = first.reason if first is not None else "the file is empty"
        raise InputError(f"{path}: no header: {why}", hint="save it as CSV in UTF-8, with the columns' names on top")
    header = [cell.strip() for cell in first.cells]
    twice = next((name for place, name in enumerate(header) if name in header[:place]), None)
    if twice is not None:
        raise InputError(f"{path}:{first.line}: two columns are called {twice[:64]!r}", hint="rename one of them")
    return header


@contextmanager
def _jsonl(path: Path, mapping: CsvMapping) -> Iterator[Source]:
    """One JSON object a line; a key that a line does not have is a blank there."""
    names = columns_of(mapping)
    with _bytes(path) as raw, TextIOWrapper(raw, mapping.encoding, "surrogateescape", newline="") as file:
        yield Source(names, _records(Lines(file, mapping), names), raw.tell)


def _records(lines: Lines, names: list[str]) -> Iterator[Row | Rejected]:
    while (line := lines.next_line()) is not None:
        if line.fault:
            yield Rejected(line.number, line.fault, line.text)
        elif not line.text.isspace():
            yield _record(line.number, line.text, names)


def _record(number: int, text: str, names: list[str]) -> Row | Rejected:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return Rejected(number, "is not JSON", text)
    if not isinstance(found, dict):
        return Rejected(number, "is not a JSON object", text)
    cells = [value_at(found, name) for name in names]
    if len(text) > MAX_CELL and any(isinstance(cell, str) and len(cell) > MAX_CELL for cell in cells):
        return Rejected(number, f"a value is longer than {MAX_CELL:,} characters", text)
    return Row(number, cells)


def value_at(record: Any, name: str) -> Any:
    """The value under a key, or under a dotted path of keys; None where there is none."""
    if not isinstance(record, dict):
        return None
    if name in record or "." not in name:
        return record.get(name)
    head, _, rest = name.partition(".")
    return value_at(record.get(head), rest)
