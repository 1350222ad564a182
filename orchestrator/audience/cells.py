"""Cells: from what stands in a row to checked values, by functions made once for each column.

A blank cell says nothing, and reads as None. CSV has texts; the values of JSON and Parquet have types of their
own, which they keep where the mapping names none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any

from orchestrator.audience.mapping import Cell, TimeCell
from orchestrator.audience.whereabouts import zone
from orchestrator.clock import EPOCH, to_micros

Reader = Callable[[Sequence[Any]], Any]
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
    own_type = "type" not in cell.model_fields_set

    def read(cells: Sequence[Any]) -> Any:
        value = cells[place]
        if not isinstance(value, str):
            if value is None or own_type:
                return None if value is None else _plain(value, column)
            value = spelled(value, column)
        text = value.strip()
        if not text:
            return None
        try:
            return convert(text)
        except ValueError:
            raise CellError(f"{column}: {text[:_SHOWN]!r} is not {_WORDS[cell.type]}") from None

    return read


def _plain(value: Any, column: str) -> Any:
    """A value of JSON or Parquet as JSON has it; None for a number that is none."""
    match value:
        case bool() | int():
            if abs(value) >= _LARGEST:
                raise CellError(f"{column}: is too large a number")
            return value
        case float():
            return value if math.isfinite(value) else None
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case date():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            raise CellError(f"{column}: is not a single value")


def spelled(value: Any, column: str) -> str:
    """A value as CSV would have it: ``17`` for 17.0, which is what a column of ids with gaps becomes."""
    if isinstance(value, str):
        return value
    plain = _plain(value, column)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return str(int(plain)) if isinstance(plain, float) and plain.is_integer() else "" if plain is None else str(plain)


def readers(cells: Mapping[str, Cell], header: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """What reads several cells into a dict, leaving out the blank ones."""
    each = [(name, reader(cell, header)) for name, cell in cells.items()]

    def read(row: Sequence[Any]) -> dict[str, Any]:
        return {name: value for name, one in each if (value := one(row)) is not None}

    return read


def needed(cell: Cell, header: Sequence[str], name: str) -> Reader:
    """What reads a value that has to be there, as text."""
    read, column = reader(cell, header), cell.column or name

    def found(cells: Sequence[Any]) -> str:
        value = read(cells)
        if value is None:
            raise CellError(f"{column}: is blank")
        return value if isinstance(value, str) else spelled(value, column)

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

    def read(cells: Sequence[Any]) -> datetime | None:
        value = cells[place]
        if isinstance(value, date):
            return _dated(value, here)
        text = value.strip() if isinstance(value, str) else "" if value is None else spelled(value, column)
        return parse(text) if text else None

    return read


def _dated(value: date, here: tzinfo) -> datetime:
    """A date of Parquet begins at its midnight, where the mapping says."""
    at = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001
    return (at if at.tzinfo is not None else at.replace(tzinfo=here)).astimezone(UTC)


def _instant(text: str, form: str, here: tzinfo) -> datetime:
    if form == "unix":
        return EPOCH + timedelta(seconds=float(text))
    if form == "unix_ms":
        return EPOCH + timedelta(milliseconds=int(text))
    found = datetime.fromisoformat(text) if form == "iso" else datetime.strptime(text, form)  # noqa: DTZ007  # below
    return (found if found.tzinfo is not None else found.replace(tzinfo=here)).astimezone(UTC)
