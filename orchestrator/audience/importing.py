"""Importing a CSV file: read with constant memory, committed a thousand rows at a time, harmless to repeat.

What cannot be taken in goes to a side file, with its line and the reason; everything else is taken in.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from orchestrator.audience.cells import CellError
from orchestrator.audience.csv_file import Rejected, Row, read_rows
from orchestrator.audience.fault import Document, Plain
from orchestrator.audience.mapping import CsvMapping, Kind, check_columns, read_mapping
from orchestrator.audience.numbering import Numbering
from orchestrator.audience.takers import Events, Taker, taker
from orchestrator.clock import Clock
from orchestrator.errors import InputError
from orchestrator.store.engine import Store

CHUNK = 1_000
"""Rows of one transaction, at most: where they take longer than ``SLOW``, half as many."""
LEAST = 125
SLOW = 0.03
"""Seconds; nobody else writes meanwhile, and 50 ms is what others may be kept waiting."""
_SHOWN = 500
_FORMULA = ("=", "+", "-", "@", "\t")


@dataclass(slots=True)
class Imported:
    """Rows by what became of them; ``read`` is their sum. ``rejects`` is the side file, if one was needed."""

    kind: str
    read: int = 0
    written: int = 0
    unchanged: int = 0
    rejected: int = 0
    zones_unknown: int = 0
    countries_unknown: int = 0
    rejects: Path | None = None

    def as_dict(self) -> dict[str, Any]:
        """For a machine to read."""
        counts = ("kind", "read", "written", "unchanged", "rejected", "zones_unknown", "countries_unknown")
        return {
            **{name: getattr(self, name) for name in counts},
            "rejects": str(self.rejects) if self.rejects else None,
        }


def rejects_of(path: Path) -> Path:
    """The side file of an input file."""
    return path.with_name(f"{path.name}.rejected.csv")


def import_file(
    store: Store,
    kind: Kind | str,
    path: Path,
    mapping: Document | Mapping[str, Any],
    clock: Clock,
    progress: Callable[[int], None] = lambda _bytes: None,
    rejects: Path | None = None,
) -> Imported:
    """Take in a file; ``progress`` is told the bytes read since it was last told.

    Raises:
        ConfigError: the mapping is wrong, or names columns that the file does not have.
        InputError: the file cannot be read, or has no header.
    """
    document = Plain("mapping", dict(mapping)) if isinstance(mapping, Mapping) else mapping
    read = read_mapping(Kind(kind), document)
    result = Imported(str(Kind(kind)))
    with (
        _opened(path) as raw,
        TextIOWrapper(raw, read.encoding, "surrogateescape", newline="") as file,
        _Rejects(rejects or rejects_of(path)) as side,
        closing(Numbering()) as numbering,
    ):
        rows = read_rows(file, read)
        header = _header(rows, read, path)
        check_columns(read, header, document)
        work = _Import(store, taker(read.cells, header), numbering, clock, result, side)
        told = 0
        for _ in work.chunks(rows, len(header)):
            progress(raw.tell() - told)
            told = raw.tell()
    result.rejects = side.path if result.rejected else None
    return result


def _opened(path: Path) -> BufferedReader:
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


@dataclass(slots=True)
class _Import:
    store: Store
    taker: Taker
    numbering: Numbering
    clock: Clock
    result: Imported
    side: _Rejects
    values: list[Any] = field(default_factory=list)
    size: int = CHUNK

    def chunks(self, rows: Iterator[Row | Rejected], width: int) -> Iterator[None]:
        """Take in the rows; yields after each chunk."""
        pending = 0
        for row in rows:
            self._take(row, width)
            pending += 1
            if pending >= self.size:
                self._commit()
                pending = 0
                yield
        self._commit()
        yield

    def _take(self, row: Row | Rejected, width: int) -> None:
        self.result.read += 1
        if isinstance(row, Rejected):
            self._reject(row)
        elif len(row.cells) != width:
            counts = f"has {len(row.cells)} cells where the header has {width}"
            self._reject(Rejected(row.line, counts, ",".join(row.cells)))
        else:
            try:
                self.values.append(self.taker.read(row.cells))
            except CellError as error:
                self._reject(Rejected(row.line, str(error), ",".join(row.cells)))

    def _reject(self, row: Rejected) -> None:
        self.result.rejected += 1
        self.side.write(row)

    def _commit(self) -> None:
        if not self.values:
            return
        values: Sequence[Any] = self.values
        if isinstance(self.taker, Events):
            values = self.taker.number(values, self.numbering)
        begun = self.clock.monotonic()
        with self.store.write() as connection:
            wrote = self.taker.write(connection, values, self.clock.now())
        slow = self.clock.monotonic() - begun > SLOW
        self.size = max(LEAST, self.size // 2) if slow else min(CHUNK, self.size + LEAST)
        self.result.written += wrote.written
        self.result.unchanged += len(values) - wrote.written
        self.result.zones_unknown += wrote.zones_unknown
        self.result.countries_unknown += wrote.countries_unknown
        self.values = []


class _Rejects:
    """The side file: begun with the first rejected row; the one of an earlier import goes away."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, row: Rejected) -> None:
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
            csv.writer(self._file).writerow(("line", "reason", "row"))
        text = row.text.rstrip("\r\n")[:_SHOWN]
        guarded = f"'{text}" if text.startswith(_FORMULA) else text  # a spreadsheet must not run it
        csv.writer(self._file).writerow((row.line, row.reason, guarded))
