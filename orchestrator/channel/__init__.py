"""Channels: one file per provider behind one protocol (base), opened by entry point (plugins), over one transport.

Each provider's codes stand in a table of its own (``*_errors``); ``rules`` judges what is in no table.
"""
