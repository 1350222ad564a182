"""Every provider has a page, with every option and its default; and nothing else is called an option there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from orchestrator.channel.options import FromEnvironment
from orchestrator.channel.plugins import providers
from tests.docs.options import model_of
from tests.docs.pages import page, rows

PAGES = Path("docs/reference/channels")
WORDS = {"none", "needed", "", "by tls", "the system's", "the sender's domain", "the auth token"}
"""What stands for a default that is no value; ``…'s own`` is a provider's address."""


def same(shown: str, default: Any) -> bool:
    if isinstance(default, timedelta):
        return bool(TypeAdapter(timedelta).validate_python(shown) == default)
    return shown in {str(default), f"{default:g}" if isinstance(default, float) else str(default)}


def options(provider: str) -> dict[str, list[str]]:
    """The rows of the first table of the page."""
    text = page(f"reference/channels/{provider}.md").partition("| option |")[2].partition("\n\n")[0]
    return {cells[0].strip("`"): cells for cells in rows(f"| option |{text}") if cells[0].startswith("`")}


@pytest.mark.parametrize("provider", providers())
def test_every_option_is_documented_with_its_default(provider: str) -> None:
    table, model = options(provider), model_of(provider).model_fields
    secrets = {name for name, field in model.items() if field.annotation == FromEnvironment}
    assert set(table) == {field.alias or name for name, field in model.items() if name not in secrets}
    for name, field in model.items():
        if name in secrets:  # NAME_env stands beside NAME_file
            assert f"`{name}_env`" in table[f"{name}_file"][2]
            continue
        shown = table[field.alias or name][1].strip("`")
        if name.removesuffix("_file") in secrets and shown == "none":  # one that an account can do without
            continue
        needed = field.is_required() or name.removesuffix("_file") in secrets
        assert shown == "needed" if needed else shown in WORDS or shown.endswith("'s own") or same(shown, field.default)


def test_every_page_is_of_a_provider_and_listed() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert pages == set(providers())
    listed = page("reference/channels/README.md")
    assert all(f"[{name}]({name}.md)" in listed for name in pages)
