"""Fixtures: a ledger, empty and filled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.report.launched import of_campaign
from orchestrator.report.values import Launched
from orchestrator.store import Store
from orchestrator.store.tables import metadata
from tests.report.book import Book, campaign, fill


@pytest.fixture
def launched() -> Launched:
    return of_campaign(campaign())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "ledger.db"))
    metadata.create_all(opened.writer_engine)
    yield opened
    opened.close()


@pytest.fixture
def book(store: Store) -> Book:
    return Book(store)


@pytest.fixture
def filled(store: Store) -> Store:
    """The realistic ledger, written."""
    fill(store)
    return store
