"""Days of the week as people type them: ``mon-fri``, ``mon,wed``, ``sat-mon``, ``every``."""

from __future__ import annotations

from orchestrator.errors import InputError, did_you_mean

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = frozenset(range(7))


def parse_days(text: str) -> frozenset[int]:
    """Weekdays, 0 is Monday (as ``date.weekday()``, and unlike cron).

    Raises:
        InputError: a word is no weekday.
    """
    words = text.strip().lower()[:100]
    if words in {"every", "daily"}:
        return EVERY_DAY
    found: set[int] = set()
    for piece in words.split(","):
        first, dash, last = (part.strip() for part in piece.partition("-"))
        begin = _weekday(first)
        length = (_weekday(last) - begin) % 7 if dash else 0
        found.update((begin + step) % 7 for step in range(length + 1))
    return frozenset(found)


def _weekday(word: str) -> int:
    if word not in WEEKDAYS:
        hint = did_you_mean(word, (*WEEKDAYS, "every"))
        raise InputError(f"{word!r} is no weekday", hint=f'{hint}; write days like "mon-fri", "mon,wed" or "every"')
    return WEEKDAYS.index(word)
