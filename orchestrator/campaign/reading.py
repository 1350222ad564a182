"""YAML text → :class:`Document`.

Built from the parser's events on a stack of our own, so that nothing recurses however deep a file nests. Aliases are
refused (a few lines of them can stand for gigabytes), and so are tags, duplicate keys and what JSON cannot say. Dates
stay text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)
from ruamel.yaml.nodes import ScalarNode

from orchestrator.campaign.document import Document, Place, dotted, shown
from orchestrator.errors import ConfigError, Problem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_VALUES = 20_000
_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({"str", "timestamp", "merge", "value", "binary"})


def read_document(path: Path) -> Document:
    """The document in a file.

    Raises:
        ConfigError: the file cannot be read, is too big, or is not the YAML we take.
    """
    file = str(path)
    try:
        size = path.stat().st_size
        raw = b"" if size > MAX_BYTES else path.read_bytes()
    except OSError as error:
        raise ConfigError([Problem(file, 0, "", f"cannot be read: {error.strerror}")]) from None
    if size > MAX_BYTES:
        limit = f"{size:,} bytes is too big: such a file has at most {MAX_BYTES:,}"
        raise ConfigError([Problem(file, 0, "", limit, "something long was pasted into it?")])
    try:
        return parse_document(raw.decode("utf-8-sig"), file)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(file, line, "", "is not UTF-8 text", "save it with the encoding UTF-8")]) from None


def parse_document(text: str, file: str) -> Document:
    """The document in a text; ``file`` is what problems call it.

    Raises:
        ConfigError: the parser cannot go on; with every problem up to there.
    """
    builder = _Builder(file)
    try:
        for event in builder.yaml.parse(text):
            builder.take(event)
    except _StopReading:
        pass
    except MarkedYAMLError as error:
        unclosed = "end of stream" in str(error.problem) or "stream end" in str(error.problem)
        mark = (error.context_mark if unclosed else error.problem_mark) or error.problem_mark or error.context_mark
        message = f"is not YAML: {' '.join(filter(None, (error.problem, error.context)))}"
        last = max(1, len(text.splitlines()))
        builder.complain(min(mark.line + 1, last) if mark else 0, message, "look at this line and the one before it")
        builder.broken = True
    except (YAMLError, ValueError) as error:  # a character YAML does not allow: it tells a position, no line
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 0
        builder.complain(line, "is not YAML: it has a control character or one that YAML does not allow")
        builder.broken = True
    return builder.document()


class _StopReading(Exception):  # noqa: N818  # a way out of the parser's loop; the problem is already noted
    """Nothing after this can be trusted."""


@dataclass(slots=True)
class _Open:
    """A mapping or list that is still being read; ``key`` waits for its value."""

    value: dict[str, Any] | list[Any]
    place: Place
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    file: str
    yaml: Any = field(default_factory=lambda: YAML(typ="safe", pure=True))
    problems: list[Problem] = field(default_factory=list)
    lines: dict[Place, int] = field(default_factory=dict)
    stack: list[_Open] = field(default_factory=list)
    root: Any = None
    documents: int = 0
    broken: bool = False

    def complain(self, line: int, message: str, hint: str = "", place: Place = ()) -> None:
        self.problems.append(Problem(self.file, line, dotted(place), message, hint))

    def stop(self, line: int, message: str, hint: str = "") -> None:
        self.complain(line, message, hint)
        self.broken = True
        raise _StopReading

    def document(self) -> Document:
        if not self.broken and not isinstance(self.root, dict):
            self.broken = True
            self.complain(1, "is empty" if self.root is None else "has to be fields, one a line: `name: …`")
        if self.broken:
            raise ConfigError(self.problems)
        return Document(self.file, self.root, self.lines, tuple(self.problems))

    def take(self, event: Event) -> None:
        line = event.start_mark.line + 1
        match event:
            case DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    self.stop(line, "has a second document after `---`", "one file, one document")
            case ScalarEvent() if self._wants_key():
                self._key(event.value, line)
            case AliasEvent():
                self._alias(event, line)
            case ScalarEvent():
                self._place(self._scalar(event, line), line)
            case CollectionStartEvent():
                self._open(event, line)
            case CollectionEndEvent():
                self.stack.pop()
            case _:
                pass

    def _wants_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None

    def _key(self, key: str, line: int) -> None:
        top = self.stack[-1]
        place = (*top.place, key)
        if key in top.value:
            hint = f"first on line {self.lines[place]}: remove one of the two"
            self.complain(line, "this field is there twice", hint, place)
        top.key = self._clean(key, line, top.place)
        self.lines[place] = line

    def _next_place(self) -> Place:
        if not self.stack:
            return ()
        top = self.stack[-1]
        last = len(top.value) if isinstance(top.value, list) else top.key
        return (*top.place, last if last is not None else "")

    def _place(self, value: object, line: int) -> None:
        place = self._next_place()
        self.lines.setdefault(place, line)
        if len(self.lines) > MAX_VALUES:
            self.stop(line, f"has more than {MAX_VALUES:,} values")
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        else:
            top.value[str(top.key)] = value
            top.key = None

    def _open(self, event: CollectionStartEvent, line: int) -> None:
        if self._wants_key():
            self.stop(line, "a field's name has to be text, not a list or a mapping", "brackets or a `?` too many?")
        if len(self.stack) >= MAX_DEPTH:
            self.stop(line, f"nests deeper than {MAX_DEPTH} levels")
        place = self._next_place()
        if event.tag is not None and not str(event.tag).startswith(_TAG):
            self.complain(line, f"the tag {shown(event.tag)!r} is not supported", "remove it", place)
        value: dict[str, Any] | list[Any] = {} if isinstance(event, MappingStartEvent) else []
        self._place(value, line)
        self.stack.append(_Open(value, place))

    def _alias(self, event: AliasEvent, line: int) -> None:
        if self._wants_key():
            self.stop(line, "an alias cannot be a field's name")
        hint = "write the value out"
        self.complain(line, f"the alias *{shown(event.anchor)} is not supported", hint, self._next_place())
        self._place(None, line)

    def _scalar(self, event: ScalarEvent, line: int) -> object:
        tag = str(event.tag or self.yaml.resolver.resolve(ScalarNode, event.value, event.implicit))
        kind = "str" if tag == "!" else tag.removeprefix(_TAG)
        if kind in _TEXT_TAGS:
            return self._clean(event.value, line, self._next_place())
        if kind not in {"null", "bool", "int", "float"}:
            self.complain(line, f"the tag {shown(tag)!r} is not supported", "remove it", self._next_place())
            return None
        return self._plain(ScalarNode(tag, event.value), line)

    def _plain(self, node: ScalarNode, line: int) -> object:
        try:
            value = self.yaml.constructor.construct_object(node)
        except (YAMLError, ValueError, LookupError):
            value = math.nan
        fits = not isinstance(value, int | float) or (math.isfinite(value) and abs(value) < 2**63)
        if not fits:
            message = f"{shown(node.value)!r} is not a number that can be used"
            self.complain(line, message, "put it in quotes if it is text", self._next_place())
        return value if fits else None

    def _clean(self, text: str, line: int, place: Place) -> str:
        if any((ch < " " and ch not in "\n\t") or "\x7f" <= ch <= "\x9f" or "\ud800" <= ch <= "\udfff" for ch in text):
            self.complain(line, "has a control character in it", "remove it", place)
            return ""
        return text
