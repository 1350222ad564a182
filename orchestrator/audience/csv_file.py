"""CSV files as people export them: a byte-order mark, mixed line ends, a stray quote, a cell of ten megabytes.

Whatever is wrong with a row, the rows around it are read. A quote that opens and does not close as it should costs its
own line and no more; memory stays bounded whatever the file holds.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Any

from typing_extensions import override

from orchestrator.audience.mapping import CsvMapping

MAX_CELL = 64 * 1024
"""Characters of one cell, at most."""
MAX_LINE = 1024 * 1024
"""Characters of one line that are looked at; of a longer one only the end is looked for."""
MAX_ROW_LINES = 2_000
_BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class Row:
    """A row's cells: texts of CSV, values of JSON and Parquet. ``line`` is the 1-based one it begins on."""

    line: int
    cells: list[Any]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be taken in, why, and the beginning of what it says."""

    line: int
    reason: str
    text: str = ""


class _TooLongError(Exception):
    """The quoted cell that began on a line goes on for too long to be one."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file, and what is wrong with it as text."""

    number: int
    text: str
    fault: str = ""


class Lines(Iterator[str]):
    """Lines of a file for the csv module, which takes as many as a row has; ``taken`` remembers which."""

    def __init__(self, file: TextIOWrapper, mapping: CsvMapping) -> None:
        self.file = file
        self.mapping = mapping
        self.number = 0
        self.taken: list[Line] = []
        self.size = 0
        self.waiting: list[Line] = []

    def next_line(self) -> Line | None:
        """The next line: one that was given back, else one of the file; None at its end."""
        if self.waiting:
            return self.waiting.pop()
        text = self.file.readline(MAX_LINE)
        if not text:
            return None
        self.number += 1
        if len(text) == MAX_LINE and not text.endswith(("\n", "\r")):
            self._skip_rest()
            return Line(self.number, text[:200], f"a line is longer than {MAX_LINE:,} characters")
        return self._decoded(Line(self.number, text.removeprefix(_BOM) if self.number == 1 else text))

    def _skip_rest(self) -> None:
        while (piece := self.file.readline(MAX_LINE)) and not piece.endswith(("\n", "\r")):
            pass

    def _decoded(self, line: Line) -> Line:
        """What could not be decoded came through as surrogates: the fallback has its turn, line by line."""
        text = line.text
        if "\0" in text:
            return Line(line.number, text.replace("\0", "\ufffd"), "has a NUL character in it")
        if text.isascii() or not _has_surrogate(text):
            return line
        raw = text.encode(self.mapping.encoding, "surrogateescape")
        try:
            return Line(line.number, raw.decode(self.mapping.fallback or "ascii"))
        except UnicodeDecodeError:
            words = f"is not {self.mapping.encoding} text" + (
                f", nor {self.mapping.fallback}"
                if self.mapping.fallback
                else "; `fallback: gb18030` (or windows-1252) in the mapping may read it"
            )
            return Line(line.number, raw.decode("ascii", "replace"), words)

    @override
    def __next__(self) -> str:
        """For the csv module: the next line of the row it is reading."""
        line = self.next_line()
        if line is None:
            raise StopIteration
        self.taken.append(line)
        self.size += len(line.text)
        if line.fault or self.size > 2 * MAX_LINE or len(self.taken) > MAX_ROW_LINES or self._too_long():
            raise _TooLongError
        return line.text

    def _too_long(self) -> bool:
        return len(self.taken) > 1 and self.size - len(self.taken[0].text) > MAX_CELL

    def give_back(self) -> Line:
        """All lines taken for a row that was none, but the first, are read again; that first one."""
        first, *rest = self.taken
        self.waiting += reversed(rest)
        return first


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def read_rows(file: TextIOWrapper, mapping: CsvMapping) -> Iterator[Row | Rejected]:
    """The rows of a file, blank lines left out.

    ``file`` is open with ``newline=""`` and ``errors="surrogateescape"``.
    """
    lines = Lines(file, mapping)
    spaced = mapping.delimiter == "whitespace"
    while (line := lines.next_line()) is not None:
        if line.fault:
            yield Rejected(line.number, line.fault, line.text)
        elif '"' in line.text and not spaced:
            lines.waiting.append(line)
            yield _quoted(lines)
        elif text := line.text.rstrip("\r\n"):
            cells = text.split() if spaced else text.split(mapping.delimiter)
            if cells:
                yield _checked(line.number, cells, text)


def _quoted(lines: Lines) -> Row | Rejected:
    lines.taken, lines.size = [], 0
    try:
        cells = next(csv.reader(lines, delimiter=lines.mapping.delimiter, strict=True))
    except _TooLongError:
        first = lines.give_back()
        return Rejected(first.number, "a quote opens here and does not close soon enough", first.text)
    except (csv.Error, StopIteration) as error:
        first = lines.give_back()
        return Rejected(first.number, _why(error, first), first.text)
    return _checked(lines.taken[0].number, cells, lines.taken[0].text)


def _why(error: Exception, line: Line) -> str:
    if "field limit" in str(error) or len(line.text) > MAX_CELL:
        return f"a cell is longer than {MAX_CELL:,} characters"
    return "a quote is not closed, or something stands after the closing one"


def _checked(number: int, cells: list[str], text: str) -> Row | Rejected:
    if len(text) > MAX_CELL and max(map(len, cells)) > MAX_CELL:
        return Rejected(number, f"a cell is longer than {MAX_CELL:,} characters", text)
    return Row(number, cells)
