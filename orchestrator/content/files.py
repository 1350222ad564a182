"""Which files a message has, and what their names mean.

``lunch-winback/dish/push.zh-CN.j2`` is message ``lunch-winback/dish``, channel ``push``, locale ``zh-cn``;
``email.zh-CN.txt.j2`` is the text part of the mail ``email.zh-CN.j2``. What stands in a file: :mod:`.layout`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from orchestrator.content.budget import MAX_SOURCE_BYTES
from orchestrator.errors import ConfigError, Problem, did_you_mean

DEFAULTS: Final = "defaults.yaml"
CHANNELS: Final = ("push", "sms", "email", "inbox", "webhook")
_TEXT = "txt"
_SUFFIX = ".j2"
_MESSAGE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_LONGEST_LOCALE = 35


@dataclass(frozen=True, slots=True)
class Place:
    """What a template's path says. ``locale`` is lower case with hyphens, "" for any."""

    message: str
    channel: str
    locale: str
    text: bool = False
    """The text part of a mail, beside its HTML: ``email.en.txt.j2``."""


def place_of(path: str) -> Place | Problem:
    """What a path within the templates folder means."""
    message, _, name = path.rpartition("/")
    channel, _, locale = name.removesuffix(_SUFFIX).partition(".")
    text = channel == "email" and (locale == _TEXT or locale.endswith(f".{_TEXT}"))
    if text:
        locale = locale.removesuffix(_TEXT).removesuffix(".")
    if not name.endswith(_SUFFIX):
        return Problem(path, 0, "", "is no template", "templates end in .j2, defaults stand in defaults.yaml")
    if channel not in CHANNELS:
        return Problem(path, 0, "", f"unknown channel {channel!r}", did_you_mean(channel, CHANNELS))
    if locale and not _LOCALE.fullmatch(locale):
        return Problem(path, 0, "", f"{locale!r} is no locale", f"like {channel}.en.j2 or {channel}.zh-CN.j2")
    return Place(message, channel, normal(locale), text)


@lru_cache(maxsize=4096)  # asked for every batch
def channel_of(path: str) -> str | None:
    """The channel of a template's path; None for what is not a template."""
    place = place_of(path)
    return None if isinstance(place, Problem) else place.channel


@lru_cache(maxsize=1024)  # asked for every message, and there are few
def normal(locale: str) -> str:
    """``zh_CN`` as ``zh-cn``; "" for what is no locale."""
    fits = len(locale) <= _LONGEST_LOCALE and _LOCALE.fullmatch(locale)
    return locale.replace("_", "-").lower() if fits else ""


def chain(locale: str) -> list[str]:
    """``zh-hans-cn``, ``zh-hans``, ``zh``: from the nearest to the widest."""
    pieces = locale.split("-") if locale else []
    return ["-".join(pieces[:end]) for end in range(len(pieces), 0, -1)]


def read_folder(root: Path, message: str) -> dict[str, str]:
    """The templates of a message's folder, and the ``defaults.yaml`` of it and its parents; by path under ``root``.

    Raises:
        ConfigError: no such folder, a file that cannot be read, or one that leads out of ``root``.
    """
    folder = root / message
    if not _MESSAGE.fullmatch(message):
        raise ConfigError(
            [Problem(str(root), 0, "template", f"{message!r} is no message folder", "like lunch-winback/dish")]
        )
    if not folder.is_dir():
        near = did_you_mean(message, _messages(root))
        raise ConfigError([Problem(str(folder), 0, "template", "no such message folder", near)])
    paths = sorted(folder.glob(f"*{_SUFFIX}")) + list(_defaults(root, folder))
    texts = [(path, _read(root, path)) for path in paths]
    if problems := [text for _, text in texts if isinstance(text, Problem)]:
        raise ConfigError(problems)
    return {path.relative_to(root).as_posix(): text for path, text in texts if isinstance(text, str)}


def _defaults(root: Path, folder: Path) -> Iterator[Path]:
    for place in (folder, *folder.parents):
        if (place / DEFAULTS).is_file():
            yield place / DEFAULTS
        if place == root:
            return


def _messages(root: Path) -> set[str]:
    return {path.parent.relative_to(root).as_posix() for path in root.rglob(f"*{_SUFFIX}")}


def _read(root: Path, path: Path) -> str | Problem:
    if not path.resolve().is_relative_to(root.resolve()):
        return Problem(str(path), 0, "", "leads out of the templates folder", "put a copy there instead of a link")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SOURCE_BYTES + 1)
        if len(data) > MAX_SOURCE_BYTES:
            return Problem(str(path), 0, "", f"is larger than {MAX_SOURCE_BYTES // 1024} KB")
        return data.decode("utf-8-sig")
    except OSError as error:
        return Problem(str(path), 0, "", f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return Problem(str(path), line, "", "is not UTF-8 text", "save it with encoding UTF-8")
