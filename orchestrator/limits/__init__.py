"""Rates and breakers: how fast, and whether at all. Machine time, never accelerated."""
