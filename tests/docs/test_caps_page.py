"""Every field of caps.yaml is documented with its default, and the examples are ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.campaign.caps import BackoffForm, CapsForm, RuleForm, caps_in
from tests.docs.pages import blocks, documented, page

CAPS = page("reference/caps.md")


def test_every_field_is_documented() -> None:
    inner = {f"caps.{name}" for name in RuleForm.model_fields} | {
        f"backoff.{name}" for name in BackoffForm.model_fields
    }
    assert set(documented(CAPS)) == set(CapsForm.model_fields) | inner


def test_every_field_has_a_description() -> None:
    for form in (CapsForm, RuleForm, BackoffForm):
        assert all(field.description for field in form.model_fields.values())


@pytest.mark.parametrize("name", ["reference/caps.md", "howto/caps.md"])
def test_the_example_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "caps.yaml").write_text(blocks(page(name), "yaml")[0], encoding="utf-8")
    caps = caps_in(tmp_path)
    assert caps.rules[0].label == "2 in 24h"
    assert caps.backoff is not None
    assert caps.exempt == {"transactional"}
