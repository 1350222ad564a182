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

from orchestrator.channel.email.smtp import SmtpOptions
from orchestrator.channel.log import LogOptions
from orchestrator.channel.plugins import providers
from orchestrator.channel.push.fcm import FcmOptions
from orchestrator.channel.sms.twilio import TwilioOptions
from orchestrator.settings import AccountSettings, AlertSettings, ClockSettings, Settings
from tests.docs.pages import blocks, documented, page, rows, section

SETTINGS = page("reference/settings.md")
OPTIONS: Mapping[str, type[BaseModel]] = {
    "fcm": FcmOptions,
    "twilio": TwilioOptions,
    "smtp": SmtpOptions,
    "log": LogOptions,
}
WORDS = {
    "none",
    "built in",
    "host and port",
    "FCM's own",
    "Twilio's own",
    "the auth token",
    "by tls",
    "the system's",
    "the sender's domain",
    "",
    "needed",
}
"""What stands for a default that is no value."""


def defaults() -> dict[str, str]:
    shown = [(cells[0].strip("`"), cells[1].strip("`")) for cells in rows(SETTINGS) if cells[0].startswith("`")]
    return dict(reversed(shown))  # options of providers come later, and may share a name


def fields() -> dict[str, FieldInfo]:
    nested: Mapping[str, type[BaseModel]] = {
        "accounts.NAME": AccountSettings,
        "alerts": AlertSettings,
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


@pytest.mark.parametrize("provider", OPTIONS)
def test_every_option_is_documented_with_its_default(provider: str) -> None:
    table = {cells[0].strip("`"): cells for cells in rows(section(SETTINGS, f"### Options of `{provider}`"))}
    table.pop("option")
    model = OPTIONS[provider].model_fields
    assert set(table) == {field.alias or name for name, field in model.items()}
    for name, field in model.items():
        shown = table[field.alias or name][1].strip("`")
        assert (shown == "needed") == field.is_required()
        assert shown in WORDS or same(shown, field.default)


def test_every_provider_has_its_options() -> None:
    assert set(providers()) == set(OPTIONS)


def test_nothing_is_documented_that_does_not_exist() -> None:
    options = {field.alias or name for model in OPTIONS.values() for name, field in model.model_fields.items()}
    assert set(defaults()) <= {*fields(), *options}


def test_the_example_is_read() -> None:
    (example,) = blocks(SETTINGS, "yaml")
    read = Settings(**YAML(typ="safe").load(StringIO(example)))
    assert {account.provider for account in read.accounts.values()} == {"fcm", "twilio"}
    for account in read.accounts.values():
        OPTIONS[account.provider].model_validate(account.options)
