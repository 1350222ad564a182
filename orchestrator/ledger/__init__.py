"""The ledger: who is owed what, and what became of it. The only room that changes a message's state."""
