"""Reading an account's options: what is wrong is named ``accounts.NAME.options.FIELD``, with the nearest known word."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, InstanceOf, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.channel.transport import wrong_url
from orchestrator.errors import ConfigError, Problem, did_you_mean

_FILE = "settings"  # the file's own name is known to the settings alone

_LONGEST_NAME = 24  # longer looks like a secret; files have shorter names

Model = TypeVar("Model", bound=BaseModel)

FromEnvironment = InstanceOf[SecretStr] | None
"""A secret that the settings have read from the environment (``NAME_env``): text in the file is refused."""


def read_options(model: type[Model], account: str, options: Mapping[str, Any]) -> Model:
    """The options as ``model``.

    Raises:
        ConfigError: with every field that is wrong.
    """
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        raise ConfigError([_problem(model, account, detail) for detail in details]) from None


def _problem(model: type[BaseModel], account: str, detail: ErrorDetails) -> Problem:
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        *outer, word = detail["loc"]
        return problem(account, path, "unknown option", did_you_mean(str(word), _known(model, outer)))
    if detail["type"] == "is_instance_of":
        name = path.split(".")[0]
        return problem(account, name, "a secret does not stand in this file", f"write {name}_file or {name}_env")
    if detail["type"] == "missing":
        return problem(account, path, "is required")
    return problem(account, path, detail["msg"])


def _known(model: type[BaseModel], outer: Sequence[int | str]) -> list[str]:
    """The options that there are where ``outer`` leads to, in ``model`` or in a model within it."""
    for part in outer:
        inner = [field.annotation for name, field in model.model_fields.items() if part in {name, field.alias}]
        found = next((each for annotation in inner for each in _models(annotation)), None)
        model = found or model  # the position in a list leads to no other model
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in ``Spec | None`` or ``list[Spec]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def problem(account: str, field: str, message: str, hint: str = "") -> Problem:
    """A problem of one option of one account."""
    name = f"accounts.{account}.options.{field}" if field else f"accounts.{account}.options"
    return Problem(_FILE, 0, name, message, hint)


def read_file(account: str, field: str, path: Path) -> bytes:
    """The content of a file that an option names."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError([problem(account, field, f"cannot read {_shown(path)}: {error.strerror}")]) from None


def read_certificates(account: str, field: str, path: Path | None) -> bytes | None:
    """The certificate authorities that an option names, in PEM; None for the system's."""
    if path is None:
        return None
    pem = read_file(account, field, path).decode("ascii", "ignore")  # what is not ASCII stands between certificates
    try:
        ssl.create_default_context(cadata=pem or "none")  # of nothing it would take the system's
    except (ssl.SSLError, ValueError):
        raise ConfigError([problem(account, field, f"{_shown(path)} holds no certificates in PEM")]) from None
    return pem.encode()


def _shown(path: Path) -> str:
    """The path, unless it may be the secret itself, written where its file's name belongs."""
    plausible = len(path.name) <= _LONGEST_NAME and os.path.isdir(path.parent)  # noqa: PTH112  # raises nothing
    return str(path) if plausible else "the file that it names"


def read_secret(account: str, field: str, path: Path) -> str:
    """A secret that stands alone in a file; white space around it does not belong to it."""
    try:
        secret = read_file(account, field, path).decode("ascii").strip()
    except UnicodeDecodeError:
        secret = ""
    if not secret or any(character.isspace() for character in secret):
        raise ConfigError([problem(account, field, f"{path} must hold one secret and nothing else")])
    return secret


def secret_of(account: str, given: BaseModel, name: str) -> str:
    """The secret ``name``: from the environment (``name``), else from the file ``name_file``.

    Raises:
        ConfigError: neither is given, or the file does not hold one.
    """
    value: SecretStr | None = getattr(given, name)
    path: Path | None = getattr(given, f"{name}_file")
    if (value is None) == (path is None):
        raise ConfigError([problem(account, f"{name}_file", f"one of {name}_file and {name}_env is required")])
    return value.get_secret_value() if value is not None else read_secret(account, f"{name}_file", path or Path())


def safe_url(account: str, field: str, url: str) -> str:
    """``url`` without its last slash, when it may be sent to."""
    if reason := wrong_url(url):
        raise ConfigError([problem(account, field, reason)])
    return url.rstrip("/")
