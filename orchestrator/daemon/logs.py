"""Structured logs: one JSON object a line for machines, colours for a terminal. Never an address, a token or a body."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import structlog


def configure(*, json: bool, level: int = logging.INFO) -> None:
    """Send every log line of the process to standard error through structlog."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.types.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _traceback,
            last,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("apscheduler", "uvicorn", "alembic", "twilio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _traceback(logger: object, name: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """A traceback without what PostgreSQL says of a fault: its DETAIL and CONTEXT quote the rows, addresses too."""
    found = event.get("exc_info")
    error = found[1] if isinstance(found, tuple) else found if isinstance(found, BaseException) else sys.exception()
    event = dict(structlog.processors.format_exc_info(logger, name, event))
    for one in _chain(error):
        state = getattr(one, "sqlstate", None)
        if state is not None and "exception" in event and str(one):
            event["exception"] = event["exception"].replace(str(one), f"SQLSTATE {state}")
    return event


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__]
