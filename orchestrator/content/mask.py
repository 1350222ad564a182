"""Template tags out of the way while a mail's markup is compiled, and back in their places afterwards.

MJML is compiled and CSS inlined once per template, not once per person: every tag stands as a word that markup tools
carry along unread. A block between elements stands as a comment, which is allowed where text is not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from jinja2 import Environment

_ENDS = {"variable_begin": "variable_end", "block_begin": "block_end", "raw_begin": "raw_end"}


@dataclass(frozen=True, slots=True)
class Masked:
    """A text whose tags are words. ``tags``: each tag as it was written, and its line (from 0)."""

    text: str
    word: str
    tags: tuple[tuple[str, int], ...]

    def lost(self, text: str) -> list[int]:
        """The lines of tags that are no longer in a text made of this one."""
        there = set(re.findall(f"{self.word}([0-9]+)z", text))
        return [line for number, (_, line) in enumerate(self.tags) if str(number) not in there]

    def restore(self, text: str) -> tuple[str, tuple[int, ...]]:
        """The text with its tags back, each on a line of its own, and the line it came from of every line.

        The line feed stands inside the tag, where it is no output: so a fault while rendering still finds its line.
        """
        lines, chunks, place, current = [0], [], 0, 0
        word = self.word
        for match in re.finditer(f'<!--{word}([0-9]+)z-->|{word}([0-9]+)z(?:="")?', text):
            tag, current = self.tags[int(match[1] or match[2])]
            before = text[place : match.start()]
            lines += [lines[-1]] * before.count("\n")
            own = _broken(tag)
            lines += [current] * own.count("\n")
            chunks += [before, own]
            place = match.end()
        chunks.append(text[place:])
        lines += [current] * text[place:].count("\n")
        return "".join(chunks), tuple(lines)


def _broken(tag: str) -> str:
    if tag.startswith(("{{", "{%")) and "raw" not in tag[:12]:
        head = 3 if tag[2:3] in {"-", "+"} else 2
        return f"{tag[:head]}\n{tag[head:]}"
    return tag


def mask(source: str, environment: Environment) -> Masked:
    """The text with words for tags; comments are left out. The text has been parsed before, so it can be."""
    word = next(word for word in (f"qz{number}jx" for number in count()) if word not in source.lower())
    chunks: list[str] = []
    tags: list[tuple[str, int]] = []
    for kind, text, line in _pieces(source, environment):
        if kind == "data":
            chunks.append(text)
            continue
        if kind == "comment_begin":
            continue
        name = f"{word}{len(tags)}z"
        between = kind == "block_begin" and not _within_tag(chunks)
        chunks.append(f"<!--{name}-->" if between else name)
        tags.append((text, line - 1))
    return Masked("".join(chunks), word, tuple(tags))


def _pieces(source: str, environment: Environment) -> list[tuple[str, str, int]]:
    """Data and whole tags, each with its line."""
    pieces: list[tuple[str, str, int]] = []
    opened, inside, start = "", [], 0
    for line, kind, value in environment.lex(source):
        if opened:
            inside.append(value)
            if kind in {_ENDS.get(opened), "comment_end"}:
                pieces.append((opened, "".join(inside), start))
                opened = ""
        elif kind in _ENDS or kind == "comment_begin":
            opened, inside, start = kind, [value], line
        else:
            pieces.append(("data", value, line))
    return pieces


def _within_tag(chunks: Sequence[str]) -> bool:
    for chunk in reversed(chunks):
        opened, closed = chunk.rfind("<"), chunk.rfind(">")
        if opened != closed:
            return opened > closed
    return False
