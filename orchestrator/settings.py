"""What a deployment sets: one YAML file, overridden by ``ORCHESTRATOR_…`` in the environment.

Read by the daemon, the web and the CLI alone; everything below gets plain values. Secrets stand in files or in the
environment, never in this file: an account names the file (``…_file``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from typing_extensions import override

from orchestrator.errors import ConfigError, Problem

DEFAULT_FILE = "orchestrator.yaml"


class AccountSettings(BaseModel):
    """One set of credentials at one provider. What the provider needs beside these stands in ``options``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: Literal["push", "sms", "email", "inbox", "webhook"]
    provider: str = Field(description="name of the provider's plugin: fcm, apns, twilio, smtp, …, or one you installed")
    rate: Annotated[float, Field(gt=0)] = Field(
        default=100.0, description="messages per second, of this process for now"
    )
    burst: Annotated[int, Field(ge=1)] = Field(default=10, description="how many may leave at once")
    ramp: timedelta = Field(default=timedelta(seconds=60), description="from a tenth of the rate to all of it")
    connections: Annotated[int, Field(ge=1, le=1000)] = Field(default=32, description="requests in flight")
    options: dict[str, Any] = Field(default_factory=dict, description="the provider's own settings")

    @field_validator("options", mode="after")
    @classmethod
    def _from_environment(cls, options: dict[str, Any]) -> dict[str, Any]:
        """``NAME_env: VARIABLE`` becomes ``NAME`` with what the variable holds, which is never printed."""
        return dict(_resolved(name, value) for name, value in options.items())


def _resolved(name: str, value: Any) -> tuple[str, Any]:
    if not name.endswith("_env"):
        return name, value
    if not isinstance(value, str) or not (secret := os.environ.get(value, "").strip()):
        raise ValueError(f"{name}: the environment has no variable {value!r}, or it is empty")
    return name.removesuffix("_env"), SecretStr(secret)


class AlertSettings(BaseModel):
    """Where operators hear of what needs them, and from when on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    webhook: SecretStr | None = Field(default=None, description="an https address that alerts are posted to")
    webhook_file: Path | None = Field(default=None, description="a file with that address, where it is a secret")
    secret_file: Path | None = Field(default=None, description="a file with the signing secret, whsec_…")
    mailbox: str | None = Field(default=None, description="a mailbox that alerts are sent to")
    account: str | None = Field(default=None, description="the email account they leave by")
    unknown: Annotated[int, Field(ge=1)] = Field(default=100, description="messages in doubt, more than so many")
    stuck_after: timedelta = Field(default=timedelta(minutes=15), description="due for so long and not claimed")
    unsubscribes: Annotated[float, Field(gt=0, le=1)] = Field(default=0.005, description="share of a run's messages")
    complaints: Annotated[float, Field(gt=0, le=1)] = Field(default=0.001, description="share of a run's messages")

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if self.webhook is not None and self.webhook_file is not None:
            raise ValueError("give webhook or webhook_file, not both")
        if self.webhook is None and self.webhook_file is None and self.mailbox is None:
            raise ValueError("needs a webhook, a webhook_file or a mailbox")
        if (self.mailbox is None) != (self.account is None):
            raise ValueError("mailbox and account (of channel email) go together")
        return self


class ClockSettings(BaseModel):
    """An accelerated business clock: for demonstrations against the sandbox alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: datetime
    origin: datetime
    speed: Annotated[float, Field(gt=0, le=100_000)]


class Settings(BaseSettings):
    """Everything a deployment can set."""

    model_config = SettingsConfigDict(
        env_prefix="ORCHESTRATOR_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    database: str = Field(default="orchestrator.db", description="a SQLite file, or a postgresql:// address")
    campaigns: Path = Field(default=Path("campaigns"), description="campaign files; segments in its folder segments/")
    templates: Path = Field(default=Path("templates"), description="one folder per message")
    accounts: dict[str, AccountSettings] = Field(default_factory=dict, description="accounts at providers, by name")
    host: str = Field(default="127.0.0.1", description="address the API listens on")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8080, description="port the API listens on")
    public_url: str = Field(
        default="", description="where providers and apps reach the API; signatures are checked on it"
    )
    links_key_file: Path | None = Field(
        default=None, description="what signs the links of messages; made beside the database if not set"
    )
    api_keys: list[SecretStr] = Field(default_factory=list, description="keys that may send events")
    lease: timedelta = Field(default=timedelta(seconds=60), description="how long a silent worker keeps its messages")
    quiet_hours: Path | None = Field(default=None, description="your own quiet hours instead of the built-in file")
    only_to: list[str] | None = Field(
        default=None, description="staging: send to these users and addresses, and to nobody else"
    )
    seeds: list[str] = Field(default_factory=list, description="users who get a copy of every arm of every run")
    alerts: AlertSettings | None = Field(default=None, description="where operators hear of what needs them")
    clock: ClockSettings | None = Field(default=None, description="an accelerated clock; sandbox only")

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read(config_file()))


def config_file() -> Path:
    """The settings file: ``ORCHESTRATOR_CONFIG``, else ``orchestrator.yaml`` here."""
    return Path(os.environ.get("ORCHESTRATOR_CONFIG", DEFAULT_FILE))


def load_settings(**given: Any) -> Settings:
    """Settings from file and environment.

    Raises:
        ConfigError: with every field that is wrong.
    """
    if "ORCHESTRATOR_CONFIG" in os.environ and not config_file().is_file():
        raise ConfigError([Problem(str(config_file()), 0, "", "no such settings file", "ORCHESTRATOR_CONFIG names it")])
    try:
        return Settings(**given)
    except ValidationError as error:
        raise ConfigError([_problem(details) for details in error.errors()]) from None


def _read(path: Path) -> dict[str, Any]:
    """The settings file's fields; none when there is no file."""
    if not path.is_file():
        return {}
    try:
        found = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 0
        raise ConfigError([Problem(str(path), line, "", "is not YAML", "check quotes and indentation there")]) from None
    if not isinstance(found, dict):
        raise ConfigError([Problem(str(path), 1, "", "has no settings", "write them as `name: value`")])
    return found


def _problem(details: Mapping[str, Any]) -> Problem:
    field = ".".join(str(part) for part in details["loc"])
    return Problem(str(config_file()), 0, field, details["msg"], "see docs/reference/settings.md")
