"""Microseconds to render the sample templates: bounded and sandboxed, against jinja2's own ``render()``.

Run as ``python -m bench.render COUNT``; prints one JSON object.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template

from orchestrator.content.files import read_folder
from orchestrator.content.templates import TemplateSet

ROOT = Path(__file__).parents[1] / "templates"
MESSAGES = ("lunch-winback/dish", "lunch-winback/coupon")
FACTS = {
    "user": {"id": "u1", "name": "Katherine", "locale": "en", "country": "DE", "orders": 3, "favourite": "ramen"},
    "campaign": {"name": "lunch-winback", "title": "Lunch"},
}
CASES = [(message, channel, locale) for message in MESSAGES for channel in ("push", "sms") for locale in ("en", "zh")]


def _skip(reason: str) -> str:
    raise RuntimeError(reason)


def _plain(files: dict[str, str]) -> list[Template]:
    """The same files as jinja2 takes them: header and body in one text, checked by nobody."""
    environment = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
    environment.filters["truncate"] = lambda value, width, end="…": (
        value if len(value) <= width else value[: width - len(end)] + end
    )
    environment.globals["skip"] = _skip
    return [environment.from_string(files[f"{message}/{channel}.{locale}.j2"]) for message, channel, locale in CASES]


def measure(rounds: int) -> dict[str, object]:
    """Every sample template in turn, ``rounds`` times, three times over; the medians."""
    files = {path: text for message in MESSAGES for path, text in read_folder(ROOT, message).items()}
    samples, plain = TemplateSet(files), _plain(files)

    def ours() -> None:
        for message, channel, locale in CASES:
            samples.render(message, channel, locale, FACTS)

    def theirs() -> None:
        for template in plain:
            template.render(FACTS)

    mine, reference = _microseconds(ours, rounds), _microseconds(theirs, rounds)
    return {
        "templates": len(CASES),
        "microseconds": round(mine, 1),
        "jinja2_microseconds": round(reference, 1),
        "ratio": round(mine / reference, 2),
    }


def _microseconds(work: Callable[[], None], rounds: int) -> float:
    work()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(rounds):
            work()
        times.append((time.perf_counter() - began) / rounds / len(CASES) * 1e6)
    return statistics.median(times)


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
