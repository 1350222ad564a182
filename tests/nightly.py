"""How large a test is: the short form on every run, the full size with ``NIGHTLY=1`` (``make nightly``)."""

from __future__ import annotations

import os

FULL = os.environ.get("NIGHTLY") == "1"


def size(short: int, full: int) -> int:
    """``short`` on every run, ``full`` at night."""
    return full if FULL else short
