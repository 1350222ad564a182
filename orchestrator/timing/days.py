"""Days of the week as people type them: ``mon-fri``, ``mon,wed`` or ``mon/wed``, ``sat-mon``, ``every``."""

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
    for piece in words.replace("/", ",").split(","):
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


def days_text(days: frozenset[int]) -> str:
    """Weekdays as they are written: ``mon-fri``, ``mon/wed``, ``every``; :func:`parse_days` reads it back."""
    if days == EVERY_DAY:
        return "every"
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return "/".join(WEEKDAYS[run[0]] + (f"-{WEEKDAYS[run[-1]]}" if len(run) > 1 else "") for run in runs)
