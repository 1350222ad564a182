"""Tables as files: CSV that no spreadsheet runs, and Parquet for a warehouse.

A cell that begins like a formula is written with an apostrophe before it, as spreadsheets ask for (OWASP, CSV
injection): external ids, zone names and reasons are other people's text.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

from orchestrator.errors import InputError

ROW_GROUP = 20_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def cell(value: Any) -> Any:
    """A value as it stands in a CSV file: instants in ISO 8601, nothing for None, text that is no formula."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
        case _:
            return value


def write_csv(out: IO[str], columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> int:
    """Write a table; how many rows it has."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow([cell(value) for value in row])
        count += 1
    return count


def write_parquet(out: IO[bytes], columns: Mapping[str, type], rows: Iterable[tuple[Any, ...]]) -> int:
    """Write a table, a row group at a time; how many rows it has."""
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds.get(kind, pa.timestamp("us", tz="UTC"))) for name, kind in columns.items()])
    count, left = 0, iter(rows)
    with parquet.ParquetWriter(out, schema) as writer:
        while some := list(islice(left, ROW_GROUP)):
            values = zip(*some, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(some)
    return count


@contextmanager
def replacing(path: Path, *, excel: bool = False) -> Iterator[IO[bytes]]:
    """A file that appears whole or not at all. ``excel``: begin with the mark by which Excel knows UTF-8.

    Raises:
        InputError: it cannot be written there.
    """
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as out:
            if excel:
                out.write(b"\xef\xbb\xbf")
            try:
                yield out
                out.flush()
                Path(out.name).chmod(0o644)
                Path(out.name).replace(path)
            except BaseException:
                Path(out.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}", hint="give a file in a folder that exists") from None
