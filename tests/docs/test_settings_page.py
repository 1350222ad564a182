"""Every setting and every option is documented with its default, and nothing is that does not exist."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from orchestrator.settings import (
    AccountSettings,
    AlertSettings,
    BestTimeSettings,
    ClockSettings,
    RouteSettings,
    Settings,
)
from tests.docs.options import model_of
from tests.docs.pages import blocks, documented, page, rows

SETTINGS = page("reference/settings.md")
WORDS = {"none", "built in", "host and port", "needed"}
"""What stands for a default that is no value."""


def defaults() -> dict[str, str]:
    shown = [(cells[0].strip("`"), cells[1].strip("`")) for cells in rows(SETTINGS) if cells[0].startswith("`")]
    return dict(reversed(shown))  # options of providers come later, and may share a name


def fields() -> dict[str, FieldInfo]:
    nested: Mapping[str, type[BaseModel]] = {
        "accounts.NAME": AccountSettings,
        "accounts.NAME.route": RouteSettings,
        "alerts": AlertSettings,
        "best_time": BestTimeSettings,
        "clock": ClockSettings,
    }
    inner = {
        f"{prefix}.{name}": field for prefix, model in nested.items() for name, field in model.model_fields.items()
    }
    return {**Settings.model_fields, **inner}


def same(shown: str, default: Any) -> bool:
    """Whether the page's words are this default."""
    if isinstance(default, timedelta):
        return bool(TypeAdapter(timedelta).validate_python(shown) == default)
    return shown in {str(default), f"{default:g}" if isinstance(default, float) else str(default)}


@pytest.mark.parametrize("name", fields())
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    assert len(documented(SETTINGS).get(name, "")) > 5
    field, shown = fields()[name], defaults()[name]
    if field.is_required():
        assert shown == "needed"
    else:
        assert shown in WORDS or same(shown, field.default)


def test_nothing_is_documented_that_does_not_exist() -> None:
    assert set(defaults()) <= set(fields())


def test_the_example_is_read() -> None:
    (example,) = blocks(SETTINGS, "yaml")
    read = Settings(**YAML(typ="safe").load(StringIO(example)))
    assert {account.provider for account in read.accounts.values()} == {"fcm", "twilio"}
    for account in read.accounts.values():
        model_of(account.provider).model_validate(account.options)
