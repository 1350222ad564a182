"""What a shell offers when Tab is pressed: names that are cheap to find. Whatever goes wrong, it offers nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps

from sqlalchemy import select

from orchestrator.campaign.load import campaign_names
from orchestrator.errors import OrchestratorError
from orchestrator.settings import load_settings
from orchestrator.store import Store
from orchestrator.store.tables import users as users_table

MOST = 50

Offer = Callable[[str], list[str]]


def _quiet(offer: Offer) -> Offer:
    """A broken settings file must not print into somebody's command line."""

    @wraps(offer)
    def safe(incomplete: str) -> list[str]:
        try:
            return offer(incomplete)
        except (OrchestratorError, OSError):
            return []

    return safe


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))[:MOST]


@_quiet
def campaigns(incomplete: str) -> list[str]:
    """Campaign files."""
    return _beginning(incomplete, campaign_names(load_settings().campaigns))


@_quiet
def segments(incomplete: str) -> list[str]:
    """Segment files."""
    return _beginning(incomplete, (path.stem for path in load_settings().campaigns.glob("segments/*.yaml")))


@_quiet
def accounts(incomplete: str) -> list[str]:
    """Accounts of the settings."""
    return _beginning(incomplete, load_settings().accounts)


@_quiet
def users(incomplete: str) -> list[str]:
    """Users whose id begins like this: read by the index of ids, and never by opening a remote database."""
    database = load_settings().database
    if not incomplete or "://" in database:
        return []
    store = Store(database, writer=False)
    try:
        name = users_table.c.external_id
        found = select(name).where(name >= incomplete, name < incomplete + "\U0010ffff").order_by(name).limit(MOST)
        with store.read() as connection:
            return list(connection.execute(found).scalars())
    finally:
        store.close()
