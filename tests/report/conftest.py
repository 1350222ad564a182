"""Fixtures: a ledger, empty and filled."""

from __future__ import annotations

import pytest

from orchestrator.report.launched import of_campaign
from orchestrator.report.values import Launched
from orchestrator.store import Store
from tests.report.book import Book, campaign, fill


@pytest.fixture
def launched() -> Launched:
    return of_campaign(campaign())


@pytest.fixture
def book(store: Store) -> Book:
    return Book(store)


@pytest.fixture
def filled(store: Store) -> Store:
    """The realistic ledger, written."""
    fill(store)
    return store
