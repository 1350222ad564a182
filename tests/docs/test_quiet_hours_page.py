"""The page of quiet hours: its example is read, and every field of a row is told."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.timing.quiet import QuietHours, QuietRow
from tests.docs.pages import blocks, page, rows

PAGE = page("reference/quiet-hours.md")


def test_the_example_is_read(tmp_path: Path) -> None:
    (example,) = blocks(PAGE, "yaml")
    path = tmp_path / "quiet.yaml"
    path.write_text(example)
    assert QuietHours.load(path).divided(["sms"]) == {"US"}


def test_every_field_of_a_row_is_told() -> None:
    told = {word for cells in rows(PAGE) for word in re.findall(r"`([^`]+)`", cells[0])}
    assert told == {field.alias or name for name, field in QuietRow.model_fields.items()}
