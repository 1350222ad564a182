"""Which files a message has, what their names mean, and how a push file is laid out.

``lunch-winback/dish/push.zh-CN.j2`` is message ``lunch-winback/dish``, channel ``push``, locale ``zh-cn``. An SMS file
is its text. A push file begins with header lines (``title: …``, ``link: …``, ``image: …``), then a blank line, then the
body; ``{# comments #}`` may stand among the headers. An email file has ``subject: …`` and ``preheader: …``, and MJML or
HTML as its body; ``email.zh-CN.txt.j2`` beside it is its text part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.content.budget import MAX_SOURCE_BYTES
from orchestrator.errors import ConfigError, Problem, did_you_mean

DEFAULTS: Final = "defaults.yaml"
CHANNELS: Final = ("push", "sms", "email")
HEADERS: Final = ("title", "link", "image")
MAIL_HEADERS: Final = ("subject", "preheader")
_LAYOUTS: Final = {"push": (HEADERS, "title"), "email": (MAIL_HEADERS, "subject")}
"""Per channel whose files have header lines: which there are, and the one that has to be."""
_TEXT = "txt"
_SUFFIX = ".j2"
_MESSAGE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_HEADER = re.compile(r"([A-Za-z][\w.-]*)[ \t]*:[ \t]*(.*)")
_COMMENT = re.compile(r"\s*\{#.*#\}\s*")
_LONGEST_LOCALE = 35


@dataclass(frozen=True, slots=True)
class Place:
    """What a template's path says. ``locale`` is lower case with hyphens, "" for any."""

    message: str
    channel: str
    locale: str
    text: bool = False
    """The text part of a mail, beside its HTML: ``email.en.txt.j2``."""


@dataclass(frozen=True, slots=True)
class Part:
    """One text of a file: a header's value, or the body. ``lines_before`` stand above it."""

    name: str
    text: str
    lines_before: int


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


def normal(locale: str) -> str:
    """``zh_CN`` as ``zh-cn``; "" for what is no locale."""
    fits = len(locale) <= _LONGEST_LOCALE and _LOCALE.fullmatch(locale)
    return locale.replace("_", "-").lower() if fits else ""


def chain(locale: str) -> list[str]:
    """``zh-hans-cn``, ``zh-hans``, ``zh``: from the nearest to the widest."""
    pieces = locale.split("-") if locale else []
    return ["-".join(pieces[:end]) for end in range(len(pieces), 0, -1)]


def parts_of(path: str, place: Place, source: str) -> tuple[list[Part], list[Problem]]:
    """The texts of a file, and what is wrong with its layout."""
    if len(source) > MAX_SOURCE_BYTES or len(source.encode(errors="replace")) > MAX_SOURCE_BYTES:
        return [], [Problem(path, 0, "", f"is larger than {MAX_SOURCE_BYTES // 1024} KB")]
    source = source.removeprefix("\ufeff").replace("\r\n", "\n")
    if not source.strip():
        return [], [Problem(path, 0, "", "is empty", "a message needs a text")]
    if place.text or place.channel not in _LAYOUTS:
        return [Part("body", source, 0)], []
    return _with_headers(path, place.channel, source.split("\n"))


def _with_headers(path: str, channel: str, lines: list[str]) -> tuple[list[Part], list[Problem]]:
    parts: list[Part] = []
    problems: list[Problem] = []
    number = 0
    for number, line in enumerate(lines):
        if not line.strip() and parts:
            break
        if not line.strip() or _COMMENT.fullmatch(line):
            continue
        part = _header(path, channel, number, line, {part.name for part in parts})
        if isinstance(part, Problem):
            problems.append(part)
            if not _HEADER.fullmatch(line):
                return parts, problems
        else:
            parts.append(part)
    parts.append(Part("body", "\n".join(lines[number + 1 :]), number + 1))
    needed = _LAYOUTS[channel][1]
    if not problems and all(part.name != needed for part in parts):
        article = "an" if channel == "email" else "a"
        hint = f"begin the file with a line '{needed}: …'"
        problems.append(Problem(path, 1, needed, f"{article} {channel} needs a {needed}", hint))
    return parts, problems


def _header(path: str, channel: str, number: int, line: str, given: set[str]) -> Part | Problem:
    match = _HEADER.fullmatch(line)
    if match is None:
        hint = f"write '{_LAYOUTS[channel][1]}: …' lines, a blank line, then the body"
        return Problem(path, number + 1, "", "is no header line, and no blank line came before it", hint)
    name = match[1].lower()
    known = _LAYOUTS[channel][0]
    if name not in known:
        return Problem(path, number + 1, name, "unknown header", did_you_mean(name, known))
    if name in given:
        return Problem(path, number + 1, name, "stands twice in the file", "keep one of them")
    return Part(name, match[2], number)


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
