"""Allocation to arms and holdout: a stable hash, the same in Python and in SQL."""
