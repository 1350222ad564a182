"""Many rows at once into PostgreSQL, through ``COPY``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

WORTH_IT = 200
"""From so many rows on it takes less than a statement for each."""


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> int:
    """Add rows, leaving out those that a unique index has already; how many were added. PostgreSQL alone.

    ``COPY`` knows no conflicts: the rows come into a table of this transaction's, and from there. Nothing outlives the
    transaction, so that it may pass through PgBouncer.

    Raises:
        DBAPIError: as of any statement; it does not show the rows.
    """
    names = ", ".join(columns)
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0")
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(f"COPY incoming ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    except driver.Error as error:
        error.args = (error.diag.message_primary or type(error).__name__,)  # the rest shows the row
        raise DBAPIError(f"COPY {table}", None, error, hide_parameters=True) from None
    sql = f"INSERT INTO {table} ({names}) SELECT {names} FROM incoming ON CONFLICT DO NOTHING"
    added = connection.exec_driver_sql(sql).rowcount
    connection.exec_driver_sql("DROP TABLE incoming")
    return added
