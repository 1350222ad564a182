"""Cells: from the text of a row to checked values, by functions made once for each column.

A blank cell says nothing, and reads as None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

from orchestrator.audience.mapping import Cell, TimeCell
from orchestrator.audience.whereabouts import zone
from orchestrator.clock import EPOCH, to_micros

Reader = Callable[[Sequence[str]], Any]
"""Takes a row's cells, gives a value or None."""

_TRUE = frozenset({"true", "t", "yes", "y", "1", "是"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "否"})
_SHOWN = 40
_LARGEST = 1 << 63


class CellError(ValueError):
    """Why a row cannot be taken in."""


def reader(cell: Cell | None, header: Sequence[str]) -> Reader:
    """What reads a cell's value out of a row."""
    if cell is None or cell.column is None:
        constant = None if cell is None else cell.value
        return lambda _cells: constant
    place, column, convert = header.index(cell.column), cell.column, _CONVERT[cell.type]

    def read(cells: Sequence[str]) -> Any:
        text = cells[place].strip()
        if not text:
            return None
        try:
            return convert(text)
        except ValueError:
            raise CellError(f"{column}: {text[:_SHOWN]!r} is not {_WORDS[cell.type]}") from None

    return read if convert is not str else _text_reader(place)


def _text_reader(place: int) -> Reader:
    return lambda cells: cells[place].strip() or None


def readers(cells: Mapping[str, Cell], header: Sequence[str]) -> Callable[[Sequence[str]], dict[str, Any]]:
    """What reads several cells into a dict, leaving out the blank ones."""
    each = [(name, reader(cell, header)) for name, cell in cells.items()]

    def read(row: Sequence[str]) -> dict[str, Any]:
        return {name: value for name, one in each if (value := one(row)) is not None}

    return read


def needed(cell: Cell, header: Sequence[str], name: str) -> Reader:
    """What reads a value that has to be there, as text."""
    read, column = reader(cell, header), cell.column or name

    def found(cells: Sequence[str]) -> str:
        value = read(cells)
        if value is None:
            raise CellError(f"{column}: is blank")
        return value if isinstance(value, str) else str(value)

    return found


def _int(text: str) -> int:
    value = int(text)
    if not -_LARGEST <= value < _LARGEST:
        raise ValueError(text)
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _bool(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE and word not in _FALSE:
        raise ValueError(text)
    return word in _TRUE


def truth(value: object) -> bool:
    """A value of whatever type as yes or no."""
    try:
        return value if isinstance(value, bool) else _bool(str(value))
    except ValueError:
        raise CellError(f"{str(value)[:_SHOWN]!r} is not {_WORDS['bool']}") from None


_CONVERT: Mapping[str, Callable[[str], Any]] = {"text": str, "int": _int, "float": _float, "bool": _bool}
_WORDS = {"text": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}


def instant_reader(cell: TimeCell | None, header: Sequence[str]) -> Reader:
    """What reads an instant; rows of a day share most of their texts, so the latest few thousand are remembered."""
    if cell is None:
        return lambda _cells: None
    place, column, here = header.index(cell.column), cell.column, zone(cell.zone)

    @lru_cache(maxsize=4096)
    def parse(text: str) -> datetime:
        try:
            found = _instant(text, cell.format, here)
            to_micros(found)
        except (ValueError, OverflowError):
            like = "an ISO 8601 instant" if cell.format == "iso" else f"an instant like {cell.format}"
            raise CellError(f"{column}: {text[:_SHOWN]!r} is not {like}") from None
        return found

    def read(cells: Sequence[str]) -> datetime | None:
        text = cells[place].strip()
        return parse(text) if text else None

    return read


def _instant(text: str, form: str, here: tzinfo) -> datetime:
    if form == "unix":
        return EPOCH + timedelta(seconds=float(text))
    if form == "unix_ms":
        return EPOCH + timedelta(milliseconds=int(text))
    found = datetime.fromisoformat(text) if form == "iso" else datetime.strptime(text, form)  # noqa: DTZ007  # below
    return (found if found.tzinfo is not None else found.replace(tzinfo=here)).astimezone(UTC)
