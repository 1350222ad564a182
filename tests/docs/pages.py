"""Reading the documents: tables, headings, code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_CELL = re.compile(r"(?<!\\)\|")


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one that is not deeper."""
    level = heading.split(" ", 1)[0]
    found = re.search(rf"^{re.escape(heading)}$\n(.*?)(?=^#{{1,{len(level)}}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def rows(text: str) -> Iterator[list[str]]:
    """The rows of all tables, without their heads' rules."""
    for line in text.splitlines():
        if line.startswith("|"):
            cells = [cell.strip() for cell in _CELL.split(line)[1:-1]]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                yield cells


def documented(text: str) -> dict[str, str]:
    """The names in code style that open a table's rows, each with the row's last cell."""
    return {found[1]: cells[-1] for cells in rows(text) if (found := re.fullmatch(r"`([^`]+)`", cells[0]))}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
