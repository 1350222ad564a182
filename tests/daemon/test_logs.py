"""What the log says of a database's fault: what and where, and not whose row it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError

from orchestrator.daemon.logs import configure

SAID = """duplicate key value violates unique constraint "uq_address_current"
DETAIL:  Key (channel, value)=(sms, +4915112345678) already exists."""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize("json", [True, False])
def test_a_traceback_does_not_repeat_the_row(capsys: pytest.CaptureFixture[str], *, json: bool) -> None:
    configure(json=json)
    try:
        try:
            raise psycopg.errors.UniqueViolation(SAID)
        except psycopg.Error as error:
            raise IntegrityError("INSERT INTO address", {}, error, hide_parameters=True) from error
    except IntegrityError:
        logging.getLogger("orchestrator.test").exception("tick_failed")
    said = capsys.readouterr().err
    assert "tick_failed" in said
    assert "SQLSTATE 23505" in said
    assert "test_logs.py" in said
    assert "INSERT INTO address" in said
    assert "4915112345678" not in said
    assert "DETAIL" not in said
