"""The text part of a mail from its HTML: what a person reads, with addresses behind the words that link to them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

from typing_extensions import override

_SILENT: Final = frozenset({"head", "style", "script", "title"})
_BLOCKS: Final = frozenset({
    "address", "article", "blockquote", "div", "dl", "dt", "dd", "footer", "form", "header", "main", "ol", "p",
    "section", "table", "tr", "ul",
})  # fmt: skip
_HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_SPACES = re.compile(r"[ \t\r\n\f]+")
_AROUND = re.compile(r" *\n *")
_GAPS = re.compile(r"\n{3,}")
_RULE = "-" * 40


def text_of(html: str, tag_word: str = "") -> str:
    """The text of a HTML document. Comments that begin with ``tag_word`` stay: they are tags (see :mod:`mask`)."""
    reader = _Reader(tag_word)
    reader.feed(html)
    reader.close()
    return tidy("".join(reader.out))


def untidy(text: str) -> bool:
    """Whether there is anything to tidy, but at its ends: a search for the expressions takes as long as rendering."""
    return " \n" in text or "\n " in text or "\n\n\n" in text


def tidy(text: str) -> str:
    """No spaces at line ends, no more than one empty line at a time."""
    return (_GAPS.sub("\n\n", _AROUND.sub("\n", text)) if untidy(text) else text).strip()


class _Reader(HTMLParser):
    def __init__(self, tag_word: str) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._tag_word = tag_word
        self._silent = 0
        self._links: list[tuple[str, int]] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _SILENT:
            self._silent += 1
        elif tag == "a":
            self._links.append((given.get("href") or "", len(self.out)))
        elif tag == "img":
            self._add(given.get("alt") or "")
        elif tag in {"br", "hr", "li"}:
            self._add({"br": "\n", "hr": f"\n{_RULE}\n", "li": "\n- "}[tag])
        elif tag in _BLOCKS | _HEADINGS:
            self._add("\n\n" if tag in _HEADINGS | {"p"} else "\n")
        elif tag in {"td", "th"}:
            self._add(" ")

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag == "a" and self._links:
            self._close_link()
        elif tag in _BLOCKS | _HEADINGS:
            self._add("\n\n" if tag in _HEADINGS | {"p"} else "\n")

    def _close_link(self) -> None:
        target, start = self._links.pop()
        words = "".join(self.out[start:]).strip()
        if target and not target.startswith("#") and target.removeprefix("mailto:") != words:
            self._add(f" ({target})" if words else target)

    @override
    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.out.append(_SPACES.sub(" ", data.replace("\xa0", " ")))

    @override
    def handle_comment(self, data: str) -> None:
        if self._tag_word and data.startswith(self._tag_word) and not self._silent:
            self.out.append(f"<!--{data}-->")

    def _add(self, text: str) -> None:
        if not self._silent:
            self.out.append(text)
