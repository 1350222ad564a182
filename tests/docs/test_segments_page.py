"""Every condition and comparison is documented; every example is one."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from pydantic import TypeAdapter
from ruamel.yaml import YAML

from orchestrator.audience.condition import KINDS, Condition, PropertyIs, SegmentFile
from orchestrator.audience.fault import Plain
from orchestrator.audience.segment import problems_of
from tests.docs.pages import blocks, documented, page, rows, section

SEGMENTS = page("reference/segments.md")
CONDITION: TypeAdapter[Any] = TypeAdapter(Condition)
COMPARISONS = {field.alias or name for name, field in PropertyIs.model_fields.items()} - {"property"}


def load(text: str) -> Any:
    return YAML(typ="safe").load(StringIO(text))


@pytest.mark.parametrize("kind", KINDS)
def test_every_condition_has_an_example_that_is_one(kind: str) -> None:
    (example,) = blocks(section(SEGMENTS, f"### `{kind}`"), "yaml")
    assert type(CONDITION.validate_python(load(example))) is KINDS[kind]


@pytest.mark.parametrize("kind", ["did", "did_not", "last"])
def test_every_field_of_a_condition_over_events_is_documented(kind: str) -> None:
    assert set(documented(section(SEGMENTS, f"### `{kind}`"))) == set(KINDS[kind].model_fields)


def test_no_condition_is_documented_that_does_not_exist() -> None:
    assert set(re.findall(r"^### `(\w+)`$", SEGMENTS, re.MULTILINE)) == set(KINDS)


def test_every_comparison_is_documented_with_an_example_that_is_one() -> None:
    table = {cells[0].strip("`"): cells[1].strip("`") for cells in rows(section(SEGMENTS, "## Comparisons"))}
    table.pop("comparison")
    assert set(table) == COMPARISONS
    for name, example in table.items():
        read = load(example)
        parsed = PropertyIs.model_validate(read) if "property" in read else CONDITION.validate_python(read)
        assert parsed.comparison[0].rstrip("_") == name


def test_the_file_on_the_page_is_a_segment() -> None:
    example = load(blocks(SEGMENTS, "yaml")[0])
    assert set(example) == set(SegmentFile.model_fields)
    assert problems_of(Plain("page", example)) == []
