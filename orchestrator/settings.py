"""What a deployment sets: one YAML file, overridden by ``ORCHESTRATOR_…`` in the environment.

Accounts may stand in a second file beside it (``channels.yaml``). Read by the daemon, the web and the CLI alone;
everything below gets plain values. Secrets stand in files or in the environment, never in these files: an account names
the file (``…_file``) or the variable (``…_env``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from typing_extensions import override

from orchestrator.errors import ConfigError, Problem, did_you_mean

DEFAULT_FILE = "orchestrator.yaml"


def _per_second(value: Any) -> Any:
    """``20/s``, ``600/min`` or ``100/hour`` as a number a second; a number stays."""
    if not isinstance(value, str) or "/" not in value:
        return value
    count, _, unit = (part.strip() for part in value.partition("/"))
    if unit not in _SECONDS:
        raise ValueError(f"{unit[:20]!r} is no unit of a rate: write 20/s, 600/min or 100/hour")
    return float(count) / _SECONDS[unit]


_SECONDS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600}


class RouteSettings(BaseModel):
    """Which messages of its channel an account takes; what is left out is all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    countries: list[Annotated[str, Field(pattern="^[A-Z]{2}$")]] = Field(
        default_factory=list, description="countries, ISO 3166 alpha-2: of the phone number, else of the user"
    )
    platforms: list[Literal["android", "ios", "web", "harmony"]] = Field(
        default_factory=list, description="platforms of the address"
    )
    share: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="its part of the users, by weight, among accounts that name as much"
    )


class AccountSettings(BaseModel):
    """One set of credentials at one provider. What the provider needs beside these stands in ``options``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: Literal["push", "sms", "email", "inbox", "webhook"]
    provider: str = Field(description="name of the provider's plugin: fcm, apns, twilio, smtp, …, or one you installed")
    rate: Annotated[float, Field(gt=0)] = Field(
        default=100.0, description="messages per second; with redis of all processes together, else of each"
    )
    burst: Annotated[int, Field(ge=1)] = Field(default=10, description="how many may leave at once")
    ramp: timedelta = Field(default=timedelta(seconds=60), description="from a tenth of the rate to all of it")
    connections: Annotated[int, Field(ge=1, le=1000)] = Field(default=32, description="requests in flight")
    domains: dict[str, Annotated[float, Field(gt=0), BeforeValidator(_per_second)]] = Field(
        default_factory=dict, description="mails a second to single domains: 20, 20/s or 600/min"
    )
    warm_up: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list, description="messages within 24 hours on the account's first day, its second, …"
    )
    route: RouteSettings | None = Field(default=None, description="which of the channel's messages it takes")
    options: dict[str, Any] = Field(default_factory=dict, description="the provider's own settings", repr=False)

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


class BestTimeSettings(BaseModel):
    """How users' best hours are learned, for campaigns with ``best_time``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        default="app_open", description="the app's event that is an open"
    )
    half_life: Annotated[timedelta, Field(ge=timedelta(days=1), le=timedelta(days=365))] = Field(
        default=timedelta(days=28), description="after how long an open counts half"
    )
    least_history: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=5, description="opens within 180 days that a user needs; else the population's hours count"
    )
    pseudo: Annotated[float, Field(gt=0, le=10_000)] = Field(
        default=20.0, description="how many opens the population's hours weigh beside a user's own"
    )
    explore: Annotated[float, Field(ge=0, le=0.9)] = Field(
        default=0.1, description="the share that gets any hour of the window, where a campaign does not say"
    )


LEAST_KEPT = timedelta(days=100)
"""Caps and back-off look back 90 days at the most."""
LEAST_EVENTS = timedelta(days=400)
"""A year of habits, and a month to compare it with."""


LEAST_LEASE = timedelta(seconds=10)
"""A worker renews its lease after a third of it, and may wait five seconds for the database then."""


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
    channels: Path = Field(default=Path("channels.yaml"), description="a file beside this one with more accounts")
    host: str = Field(default="127.0.0.1", description="address the API listens on")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8080, description="port the API listens on")
    metrics_address: Annotated[str, Field(pattern=r"^\S+:\d{1,5}$")] | None = Field(
        default=None, description="HOST:PORT that /metrics is served on instead of the API's; needs one a process"
    )
    traces: str | None = Field(
        default=None, description="an OpenTelemetry collector, http://localhost:4318; else OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    public_url: str = Field(
        default="", description="where providers and apps reach the API; signatures are checked on it"
    )
    links_key_file: Path | None = Field(
        default=None, description="what signs the links of messages; made beside the database if not set"
    )
    erasure_key_file: Path | None = Field(
        default=None, description="what hashes opt-outs of erased people; never replaced; links_key_file's if not set"
    )
    api_keys: list[SecretStr] = Field(default_factory=list, description="keys that may send events")
    lease: timedelta = Field(default=timedelta(seconds=60), description="how long a silent worker keeps its messages")
    keep_messages: Annotated[timedelta, Field(ge=LEAST_KEPT)] | None = Field(
        default=None, description="how long members and messages of runs that are over are kept; none: for ever"
    )
    keep_events: Annotated[timedelta, Field(ge=LEAST_EVENTS)] | None = Field(
        default=None, description="how long events are kept; none: for ever"
    )
    quiet_hours: Path | None = Field(default=None, description="your own quiet hours instead of the built-in file")
    confirm_above: Annotated[int, Field(ge=0)] = Field(
        default=10_000, description="launching to more people than so many asks first"
    )
    only_to: list[str] | None = Field(
        default=None, description="staging: send to these users and addresses, and to nobody else"
    )
    seeds: list[str] = Field(default_factory=list, description="users who get a copy of every arm of every run")
    alerts: AlertSettings | None = Field(default=None, description="where operators hear of what needs them")
    redis: SecretStr | None = Field(
        default=None, description="Redis or Valkey, for rates shared by all processes: redis://host:6379/0"
    )
    redis_file: Path | None = Field(default=None, description="a file with that address, where it holds a password")
    redis_name: Annotated[str, Field(pattern="^[a-z0-9-]{1,40}$")] = Field(
        default="orchestrator", description="what this deployment's keys there begin with"
    )
    best_time: BestTimeSettings = Field(default=BestTimeSettings(), description="how users' best hours are learned")
    clock: ClockSettings | None = Field(default=None, description="an accelerated clock; sandbox only")

    @field_validator("lease")
    @classmethod
    def _lasting(cls, lease: timedelta) -> timedelta:
        if lease < LEAST_LEASE:
            said = "a worker that waits for the database would lose it under ordinary load"
            raise ValueError(f"{said}: give PT10S or more, or leave it out for a minute")
        return lease

    @model_validator(mode="after")
    def _one_redis(self) -> Self:
        if self.redis is not None and self.redis_file is not None:
            raise ValueError("give redis or redis_file, not both")
        return self

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
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read_all()[0])


def traces_endpoint(settings: Settings) -> str:
    """Where spans go: as set, else where OpenTelemetry's own variable says; "" is nowhere."""
    return settings.traces or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")


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
        made = Settings(**given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise ConfigError([_problem(details) for details in found]) from None
    written = [name for name in _read_all()[1] if name in made.accounts]
    order = dict.fromkeys([*written, *made.accounts])  # the files' own: what the environment adds to one moves it not
    return made.model_copy(update={"accounts": {name: made.accounts[name] for name in order}})


def file_of(account: str) -> str:
    """The file in which an account is written."""
    return str(_read_all()[1].get(account, config_file()))


def _read_all() -> tuple[dict[str, Any], dict[str, Path]]:
    """The fields of both files, and where each account is written.

    Raises:
        ConfigError: one cannot be read, or an account stands in both.
    """
    main = config_file()
    data = _read(main)
    named = os.environ.get("ORCHESTRATOR_CHANNELS") or data.get("channels")
    own = data.get("accounts") or {}
    if not isinstance(own, dict) or not isinstance(named, str | None):
        return data, {}  # the model says what is wrong
    more = main.parent / (named or Settings.model_fields["channels"].default)
    if named and not more.is_file():
        raise ConfigError([Problem(str(main), 0, "channels", f"no such file: {more}", "remove it, or write the file")])
    others = _accounts_in(more)
    if both := [name for name in others if name in own]:
        raise ConfigError([_twice(name, main, more) for name in both])
    if others:
        data = {**data, "accounts": {**own, **others}}
    return data, {**dict.fromkeys(own, main), **dict.fromkeys(others, more)}


def _accounts_in(path: Path) -> dict[str, Any]:
    """What a file of accounts holds; nothing when there is none."""
    found = _read(path)
    accounts = found.get("accounts", {})
    if wrong := [str(name) for name in found if name != "accounts"]:
        hint = "begin it with `accounts:`; all else stands in the settings file"
        raise ConfigError([Problem(str(path), 0, name, "this file holds accounts alone", hint) for name in wrong])
    if not isinstance(accounts, dict):
        raise ConfigError([Problem(str(path), 0, "accounts", "is not accounts by their names", "write `NAME:` first")])
    return accounts


def _twice(name: str, one: Path, other: Path) -> Problem:
    said = f"the same account stands in {one} and in {other}"
    return Problem(str(other), 0, f"accounts.{name}", said, "remove one of them, or give it another name")


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
    place = [str(part) for part in details["loc"]]
    in_account = len(place) > 1 and place[0] == "accounts"
    file = file_of(place[1]) if in_account else str(config_file())
    said, hint = details["msg"].removeprefix("Value error, "), "see docs/reference/settings.md"
    if details["type"] == "extra_forbidden":
        said, hint = "unknown field", did_you_mean(place[-1], _model_at(place).model_fields)
    return Problem(file, 0, ".".join(place), said, hint)


def _model_at(place: list[str]) -> type[BaseModel]:
    """The model that the last word of a place is a field of."""
    match place:
        case ["accounts", _, "route", _]:
            return RouteSettings
        case ["accounts", _, _]:
            return AccountSettings
        case ["alerts", _]:
            return AlertSettings
        case ["best_time", _]:
            return BestTimeSettings
        case ["clock", _]:
            return ClockSettings
        case _:
            return Settings
