"""Importing a file: read with constant memory, committed a thousand rows at a time, harmless to repeat.

What cannot be taken in goes to a side file, with its line and the reason; everything else is taken in.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from sqlalchemy import Connection

from orchestrator.audience.attribute_indexes import sync_if_small
from orchestrator.audience.attributes import NONE, Declarations
from orchestrator.audience.cells import CellError
from orchestrator.audience.csv_file import Rejected, Row
from orchestrator.audience.fault import Document, Plain
from orchestrator.audience.mapping import Kind, UserColumns, read_mapping
from orchestrator.audience.numbering import Numbering
from orchestrator.audience.opt_in import Asks, never_asks
from orchestrator.audience.sources import opened
from orchestrator.audience.takers import Events, Taker, Wrote, taker
from orchestrator.clock import Clock
from orchestrator.store.counts import MANY, count_anew
from orchestrator.store.engine import Store

CHUNK = 1_000
"""Rows of one transaction, at most: where they take longer than ``SLOW``, half as many."""
AT_ONCE = 2_000
"""The same where others write meanwhile: PostgreSQL."""
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


def import_file(  # noqa: PLR0913  # one value each
    store: Store,
    kind: Kind | str,
    path: Path,
    mapping: Document | Mapping[str, Any],
    clock: Clock,
    progress: Callable[[int], None] = lambda _bytes: None,
    rejects: Path | None = None,
    declared: Declarations = NONE,
    asks: Asks = never_asks,
) -> Imported:
    """Take in a file; ``progress`` is told the bytes read since it was last told.

    Raises:
        ConfigError: the mapping is wrong, or names columns that the file does not have.
        InputError: the file cannot be read, or has no header.
    """
    document = Plain("mapping", dict(mapping)) if isinstance(mapping, Mapping) else mapping
    read = read_mapping(Kind(kind), document)
    result = Imported(str(Kind(kind)))
    if isinstance(read.cells, UserColumns):
        sync_if_small(store, declared)
    with (
        opened(path, read, document) as source,
        _Rejects(rejects or rejects_of(path)) as side,
        closing(Numbering()) as numbering,
        store.bulk(),
        ThreadPoolExecutor(1, "import-writer") as writer,
    ):
        taken = taker(read.cells, source.header, declared, asks)
        work = _Import(store, taken, numbering, clock, result, side, writer)
        told = 0
        for _ in work.chunks(source.rows, len(source.header)):
            read_so_far = source.position()
            progress(read_so_far - told)
            told = read_so_far
    if result.written >= MANY:
        count_anew(store)
    result.rejects = side.path if result.rejected else None
    return result


@dataclass(slots=True)
class _Import:
    """Reads a chunk while the one before is written: reading takes a processor, writing mostly waits for the disk."""

    store: Store
    taker: Taker
    numbering: Numbering
    clock: Clock
    result: Imported
    side: _Rejects
    writer: Executor
    values: list[Any] = field(default_factory=list)
    size: int = CHUNK
    writing: Future[tuple[int, Wrote]] | None = None

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
        self._wait()
        yield

    def _take(self, row: Row | Rejected, width: int) -> None:
        self.result.read += 1
        if isinstance(row, Rejected):
            self._reject(row)
        elif len(row.cells) != width:
            counts = f"has {len(row.cells)} cells where the header has {width}"
            self._reject(Rejected(row.line, counts, _joined(row.cells)))
        else:
            try:
                self.values.append(self.taker.read(row.cells))
            except CellError as error:
                self._reject(Rejected(row.line, str(error), _joined(row.cells)))

    def _reject(self, row: Rejected) -> None:
        self.result.rejected += 1
        self.side.write(row)

    def _commit(self) -> None:
        if not self.values:
            return
        values: Sequence[Any] = self.values
        if isinstance(self.taker, Events):
            values = self.taker.number(values, self.numbering)
        self._wait()
        self.writing = self.writer.submit(self._write, values)
        self.values = []

    def _write(self, values: Sequence[Any]) -> tuple[int, Wrote]:
        def write(connection: Connection) -> tuple[float, Wrote]:
            begun = self.clock.monotonic()  # not before it is our turn
            return begun, self.taker.write(connection, values, self.clock.now())

        begun, wrote = self.store.again(write)
        slow = self.clock.monotonic() - begun > SLOW
        if self.store.path is None:
            self.size = AT_ONCE
            return len(values), wrote
        self.size = max(LEAST, self.size // 2) if slow else min(CHUNK, self.size + LEAST)
        return len(values), wrote

    def _wait(self) -> None:
        """Until what is being written is written, and count it."""
        if self.writing is None:
            return
        rows, wrote = self.writing.result()
        self.writing = None
        self.result.written += wrote.written
        self.result.unchanged += rows - wrote.written
        self.result.zones_unknown += wrote.zones_unknown
        self.result.countries_unknown += wrote.countries_unknown


def _joined(cells: Sequence[Any]) -> str:
    return ",".join("" if cell is None else str(cell) for cell in cells)


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
            self.path.touch(0o600)  # it repeats people's rows
            self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
            csv.writer(self._file).writerow(("line", "reason", "row"))
        text = row.text.rstrip("\r\n")[:_SHOWN]
        guarded = f"'{text}" if text.startswith(_FORMULA) else text  # a spreadsheet must not run it
        csv.writer(self._file).writerow((row.line, row.reason, guarded))
