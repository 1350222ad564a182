"""Claim → compose → admit → mark → send → settle: the way of a message from the ledger to a provider and back."""
