"""The JSON Schema and the reference name every field; so does the list of what is not supported yet."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from orchestrator.campaign.complaints import PLANNED
from orchestrator.campaign.reading import read_document
from orchestrator.campaign.schema import json_schema, segment_schema
from orchestrator.content.files import CHANNELS
from orchestrator.policy.cues import WORDS
from tests.campaign.project import ROOT, Project

REFERENCE = (ROOT / "docs/reference/campaign-file.md").read_text(encoding="utf-8")
SCHEMA = json_schema()


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema behind references, optional values and lists."""
    for inner in (schema, schema.get("items", {}), *schema.get("anyOf", [])):
        if "$ref" in inner:
            return resolved(SCHEMA["$defs"][inner["$ref"].rpartition("/")[2]])
    items = [inner["items"] for inner in schema.get("anyOf", []) if "items" in inner]
    return resolved(items[0]) if items else schema


def paths(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, inner in resolved(schema).get("properties", {}).items():
        yield f"{prefix}{name}"
        if not re.search(r"(steps|arms)\.(window|best_time)$", f"{prefix}{name}"):  # their fields are documented once
            yield from paths(inner, f"{prefix}{name}.")


def test_every_field_is_in_the_reference_with_a_sentence() -> None:
    found = list(paths(SCHEMA))
    assert {"name", "schedule.from", "steps.when.not", "experiment.arms.weight", "goal.conversion.value"} <= set(found)
    rows = dict(re.findall(r"^\| `([a-z_.]+)` \|[^|]*\| (.+) \|$", REFERENCE, re.MULTILINE))
    assert [path for path in found if len(rows.get(path, "")) < 10] == []
    assert [path for path in rows if path not in found and path not in WORDS] == []


def test_every_field_has_a_description_in_the_schema() -> None:
    for name, definition in {**SCHEMA["$defs"], "campaign": SCHEMA}.items():
        for field, schema in definition.get("properties", {}).items():
            assert schema.get("description"), f"{name}.{field}"


def test_every_field_not_supported_yet_is_in_the_reference() -> None:
    section = REFERENCE.partition("## Not supported yet")[2]
    assert set(PLANNED) == {name.rpartition(".")[2] for name in re.findall(r"`([a-z_.]+)`", section)}


def test_the_schema_has_what_editors_need(project: Project) -> None:
    assert SCHEMA["additionalProperties"] is False
    assert set(SCHEMA["required"]) == {"name", "topic", "audience", "schedule", "steps"}
    assert set(read_document(project.campaign).data) <= set(SCHEMA["properties"])
    assert SCHEMA["$defs"]["StepForm"]["properties"]["channel"]["enum"] == [*CHANNELS]
    assert re.search(SCHEMA["properties"]["name"]["pattern"], "lunch-winback")
    assert "where" in segment_schema()["properties"]
