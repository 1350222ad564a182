"""The provider's words, fit for ledger and log: without address, token, or any of what we sent."""

from __future__ import annotations

import re
from collections.abc import Iterable

LIMIT = 300
_READ = 2000
_MASK = "…"
_NUMBER = re.compile(r"\+?\d[\d\s().\-]{5,}\d")
_WORD = re.compile(r"\w+")
_MASKS = re.compile(rf"{_MASK}(?:\W*{_MASK})+")
_LONGEST_WORD = 24  # longer is a token or an id, not a word
_SHORTEST_SECRET = 4


def redact(text: str, private: Iterable[str]) -> str:
    """At most 300 characters of ``text``; what could come from ``private`` is masked.

    Providers quote what they complain about, often in part. So every word that also stands in a private text goes, and
    every word that is not plain ASCII, or looks like a number or a token.
    """
    secrets = [secret for secret in private if secret]
    text = text[:_READ]
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    words = {word for secret in secrets for word in _WORD.findall(secret.lower())}
    kept = " ".join(_masked(word, words) for word in _NUMBER.sub(_MASK, text).split())
    return _MASKS.sub(_MASK, kept)[:LIMIT]


def _masked(word: str, private: set[str]) -> str:
    """The word, or the mask."""
    if not word.isascii() or not word.isprintable() or "@" in word or "://" in word:
        return _MASK
    parts = _WORD.findall(word.lower())
    if any(len(part) > _LONGEST_WORD or _quotes(part, private) for part in parts):
        return _MASK
    return word


def _quotes(part: str, private: set[str]) -> bool:
    """Whether ``part`` is a private word, or a piece of one."""
    return len(part) >= _SHORTEST_SECRET and any(part in word for word in private)
