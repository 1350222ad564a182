r"""What never belongs in a message: control characters, direction overrides, halves of characters.

A name like "gpj.exe\u202e" would turn the rest of a notification around; a lone surrogate cannot be encoded at all.
The joiner (U+200D) and variation selectors stay: emoji are made of them.
"""

from __future__ import annotations

import re

_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_UNWANTED = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f"  # controls, but for the line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # direction marks, embeddings, overrides, isolates
    "\ufeff\ud800-\udfff\u2028\u2029]"  # byte order mark, lone surrogates, the separators
)
_SPACES = re.compile(r"[\r\n\t]+")


def unwanted(text: str) -> bool:
    """Whether cleaning the text would take anything out, but for spaces at its ends."""
    return _UNWANTED.search(text) is not None


def clean(text: str) -> str:
    """Text without control and bidi characters. Line ends become LF, a tab a space; ends are trimmed, no more."""
    if unwanted(text):
        text = _UNWANTED.sub("", _LINE_ENDS.sub("\n", text).replace("\t", " "))
    return text.strip()


def single_line(text: str) -> str:
    """Cleaned text on one line: each run of line ends becomes one space."""
    return _SPACES.sub(" ", clean(text))
