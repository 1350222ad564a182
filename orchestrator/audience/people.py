"""The one door to what is known of people: users, their addresses, consents and suppressions."""

from __future__ import annotations

from orchestrator.audience.addresses import (
    AddressRow,
    end_address,
    quarantine_address,
    revive_address,
    upsert_addresses,
)
from orchestrator.audience.consents import ConsentChange, set_consent, set_consents
from orchestrator.audience.opt_in import take_consents
from orchestrator.audience.suppressions import REASONS, Suppressed, lift, suppress, suppress_all
from orchestrator.audience.users import Upserted, UserRow, ensure_users, upsert_users, user_ids

__all__ = [
    "REASONS",
    "AddressRow",
    "ConsentChange",
    "Suppressed",
    "Upserted",
    "UserRow",
    "end_address",
    "ensure_users",
    "lift",
    "quarantine_address",
    "revive_address",
    "set_consent",
    "set_consents",
    "suppress",
    "suppress_all",
    "take_consents",
    "upsert_addresses",
    "upsert_users",
    "user_ids",
]
