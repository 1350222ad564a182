"""How a template file is laid out: header lines (``title: …``), a blank line, then the body.

``{# comments #}`` may stand among the headers. Some headers are families: ``data.dish: …`` in a push, ``parameter.name:
…`` in an SMS. An SMS needs no headers at all: it has some only when its first lines name an approved template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from orchestrator.content.budget import MAX_SOURCE_BYTES
from orchestrator.content.push import reserved
from orchestrator.errors import Problem, did_you_mean

HEADERS: Final = ("title", "link", "image", "data.NAME")
MAIL_HEADERS: Final = ("subject", "preheader")
SMS_HEADERS: Final = ("approved", "parameter.NAME")
_HEADER = re.compile(r"([A-Za-z][\w.-]*)[ \t]*:[ \t]*(.*)")
_COMMENT = re.compile(r"\s*\{#.*#\}\s*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_NEAR = 0.8
"""How alike a word and ``approved`` have to be for a typing error: an SMS may well begin with "Reminder: …"."""


@dataclass(frozen=True, slots=True)
class Part:
    """One text of a file: a header's value, or the body. ``lines_before`` stand above it."""

    name: str
    text: str
    lines_before: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """The headers of a channel's files; ``needed`` is the one that has to be."""

    headers: tuple[str, ...]
    needed: str

    @property
    def families(self) -> frozenset[str]:
        return frozenset(name.partition(".")[0] for name in self.headers if "." in name)


_NOTICE = _Layout(HEADERS, "title")
_SMS = _Layout(SMS_HEADERS, "approved")
_LAYOUTS: Mapping[str, _Layout] = {
    "push": _NOTICE,
    "inbox": _NOTICE,
    "webhook": _NOTICE,
    "email": _Layout(MAIL_HEADERS, "subject"),
    "sms": _SMS,
}


def parts_of(path: str, channel: str, source: str, *, text: bool = False) -> tuple[list[Part], list[Problem]]:
    """The texts of a file, and what is wrong with its layout. ``text``: it is the text part of a mail."""
    if len(source) > MAX_SOURCE_BYTES or len(source.encode(errors="replace")) > MAX_SOURCE_BYTES:
        return [], [Problem(path, 0, "", f"is larger than {MAX_SOURCE_BYTES // 1024} KB")]
    source = source.removeprefix("\ufeff").replace("\r\n", "\n")
    if not source.strip():
        return [], [Problem(path, 0, "", "is empty", "a message needs a text")]
    lines = source.split("\n")
    layout = _LAYOUTS[channel]
    if text or (layout is _SMS and not _names_approved(lines)):
        return [Part("body", source, 0)], []
    return _with_headers(path, channel, layout, lines)


def _names_approved(lines: Sequence[str]) -> bool:
    """Whether an SMS begins with headers: its first lines, each of them one, name an approved template or nearly so."""
    names: list[str] = []
    for line in lines:
        if _COMMENT.fullmatch(line) or (not line.strip() and not names):
            continue
        found = _HEADER.fullmatch(line)
        if found is None:
            break
        names.append(found[1].lower())
    first = names[0] if names else ""
    known = any(name == _SMS.needed or name.partition(".")[0] in _SMS.families for name in names)
    return bool(first) and (known or bool(get_close_matches(first, [_SMS.needed], cutoff=_NEAR)))


def _with_headers(path: str, channel: str, layout: _Layout, lines: Sequence[str]) -> tuple[list[Part], list[Problem]]:
    parts: list[Part] = []
    problems: list[Problem] = []
    number = 0
    for number, line in enumerate(lines):
        if not line.strip() and (parts or problems):
            break
        if not line.strip() or _COMMENT.fullmatch(line):
            continue
        part = _header(path, layout, number, line, {part.name for part in parts})
        if isinstance(part, Problem):
            problems.append(part)
            if not _HEADER.fullmatch(line):
                return parts, problems
        else:
            parts.append(part)
    parts.append(Part("body", "\n".join(lines[number + 1 :]), number + 1))
    if not problems and all(part.name != layout.needed for part in parts):
        article = "an" if channel[0] in "aeiou" or layout is _SMS else "a"
        what = "SMS with parameters" if layout is _SMS else channel
        hint = f"begin the file with a line '{layout.needed}: …'"
        problems.append(Problem(path, 1, layout.needed, f"{article} {what} needs {_a(layout.needed)}", hint))
    return parts, problems


def _a(header: str) -> str:
    return "an approved template" if header == _SMS.needed else f"a {header}"


def _header(path: str, layout: _Layout, number: int, line: str, given: set[str]) -> Part | Problem:
    match = _HEADER.fullmatch(line)
    if match is None:
        hint = f"write '{layout.needed}: …' lines, a blank line, then the body"
        return Problem(path, number + 1, "", "is no header line, and no blank line came before it", hint)
    family, dot, own = match[1].partition(".")
    family = family.lower()
    name = f"{family}.{own}" if dot else family
    if dot and family in layout.families:
        wrong = _wrong_name(family, own)
    elif name in layout.headers:
        wrong = _wrong_code(match[2]) if name == _SMS.needed else None
    else:
        wrong = ("unknown header", did_you_mean(name, layout.headers))
    if wrong is None and name in given:
        wrong = ("stands twice in the file", "keep one of them")
    return Problem(path, number + 1, name, *wrong) if wrong else Part(name, match[2], number)


def _wrong_name(family: str, own: str) -> tuple[str, str] | None:
    if not _NAME.fullmatch(own):
        return "is no name", f"like {family}.dish: letters, digits and _, beginning with a letter"
    if family == "data" and reserved(own):
        return f"the name {own!r} is taken", "it is the provider's, or ours: choose another"
    return None


def _wrong_code(code: str) -> tuple[str, str] | None:
    return None if _CODE.fullmatch(code.strip()) else ("is no template's code", "like SMS_71390007, without tags")
