"""``defaults.yaml``: what stands in for a fact that a user does not have, by locale where it matters.

    user.name: {en: there, zh: 朋友}
    user.points: 0

The file nearest to the message wins, fact by fact; within it the nearest locale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from orchestrator.content.budget import MAX_SOURCE_BYTES
from orchestrator.content.files import DEFAULTS, normal
from orchestrator.content.survey import ROOTS
from orchestrator.errors import Problem

Value = str | int | float | bool
Values = Mapping[str, Mapping[str, Value]]
"""By fact, then by locale ("" for any)."""
_LONGEST_NUMBER = 20
_REMEMBERED = 64
"""Files kept read: a folder's stands for all campaigns below it, and for each of their versions."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """The declared defaults of one message, nearest file first: fact → locale ("" for any) → value."""

    layers: tuple[Values, ...]

    def of(self, fact: str, locales: Sequence[str]) -> Value | None:
        """The default of a fact: the nearest file's, for the first of the locales it has, or for any."""
        for layer in self.layers:
            for locale in (*locales, ""):
                value = layer.get(fact, {}).get(locale)
                if value is not None:
                    return value
        return None


def defaults_for(message: str, files: Mapping[str, Values]) -> Defaults:
    """Those of a message's folder, its parent's, and so on; ``files`` by the path of their folder."""
    folders = [folder for folder in (*_up(message), "") if folder in files]
    return Defaults(tuple(files[folder] for folder in folders))


def _up(message: str) -> list[str]:
    pieces = message.split("/") if message else []
    return ["/".join(pieces[:end]) for end in range(len(pieces), 0, -1)]


def folder_of(path: str) -> str | None:
    """The folder whose defaults a path holds; None when it is another kind of file."""
    folder, _, name = path.rpartition("/")
    return folder if name == DEFAULTS else None


@lru_cache(maxsize=_REMEMBERED)
def read_defaults(path: str, source: str) -> tuple[Values, Sequence[Problem]]:
    """The facts of one file, and all that is wrong with it."""
    if len(source.encode(errors="replace")) > MAX_SOURCE_BYTES:
        return {}, [Problem(path, 0, "", f"is larger than {MAX_SOURCE_BYTES // 1024} KB")]
    try:
        # Composed, not constructed: nodes know their line, and nothing is built from what the text says.
        root = YAML(typ="safe", pure=True).compose(source)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        return {}, [Problem(path, line, "", f"is no YAML: {error.problem}")]
    except (YAMLError, RecursionError, ValueError) as error:
        return {}, [Problem(path, 0, "", f"is no YAML ({type(error).__name__})")]
    return _read(path, root) if root is not None else ({}, [])


def _read(path: str, root: Node) -> tuple[Values, Sequence[Problem]]:
    values: dict[str, dict[str, Value]] = {}
    problems: list[Problem] = []
    if not isinstance(root, MappingNode):
        return {}, [Problem(path, 1, "", "has lines like 'user.name: there'")]
    for key, node in root.value:
        fact = str(key.value)
        found = _problem(path, fact, key, node, fact in values)
        problems += found
        if not found:
            values[fact] = dict(_by_locale(node))
    return values, problems


def _problem(path: str, fact: str, key: Node, node: Node, twice: bool) -> list[Problem]:  # noqa: FBT001
    def wrong(message: str, hint: str = "", at: Node = key) -> list[Problem]:
        return [Problem(path, at.start_mark.line + 1, fact, message, hint)]

    pieces = fact.split(".")
    if pieces[0] not in ROOTS or len(pieces) == 1 or not all(pieces):
        return wrong("is no fact", "facts are written user.name, campaign.title or trigger.item")
    if twice:
        return wrong("stands twice in the file", "keep one of them")
    if not isinstance(node, MappingNode):
        return (
            [] if _scalar(node) is not None else wrong("has no value", "give a text or number that is not blank", node)
        )
    for locale, value in node.value:
        if not normal(str(locale.value)):
            return wrong(f"{locale.value!r} is no locale", "like en or zh-CN", locale)
        if _scalar(value) is None:
            return wrong(f"has no value for {locale.value}", "give a text or number that is not blank", value)
    return []


def _by_locale(node: Node) -> Iterator[tuple[str, Value]]:
    pairs: list[tuple[str, Node]] = [("", node)]
    if isinstance(node, MappingNode):
        pairs = [(normal(str(key.value)), value) for key, value in node.value]
    for locale, value in pairs:
        scalar = _scalar(value)
        if scalar is not None:
            yield locale, scalar


def _scalar(node: Node) -> Value | None:
    if not isinstance(node, ScalarNode):
        return None
    text = str(node.value)
    kind = str(node.tag).rpartition(":")[2]
    if kind == "bool":
        return text.lower() == "true"
    if kind in {"int", "float"} and len(text) <= _LONGEST_NUMBER:
        return _number(text)
    return text if kind == "str" and text.strip() else None


def _number(text: str) -> Value | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def filled(facts: dict[str, Any], fills: Sequence[tuple[tuple[str, ...], Value]]) -> dict[str, Any]:
    """Facts with defaults where a value is missing, None or blank; the facts given are not changed."""
    for path, value in fills:
        if _blank(facts, path):
            facts = _with(facts, path, value)
    return facts


def _blank(facts: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    node: Any = facts
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node is None or (isinstance(node, str) and not node.strip())


def _with(facts: Mapping[str, Any], path: tuple[str, ...], value: Value) -> dict[str, Any]:
    name, *rest = path
    if not rest:
        return {**facts, name: value}
    inner = facts.get(name)
    return {**facts, name: _with(inner if isinstance(inner, dict) else {}, tuple(rest), value)}
