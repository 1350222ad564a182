"""What all mails of one shape have in common, worked out once: where links are, and that nothing is to be cleaned.

A rendered template is a row of chunks: what it says to everybody, and what it says to one person. Mails with the same
first kind in the same places have one *shape*. For each shape that comes up again, a skeleton holds where links, their
addresses, and the end of the body are, so that only what is personal has to be looked at: cleaned, checked and tracked.

A skeleton is used only where the mail it makes is, letter for letter, what :meth:`Links.track` makes of the whole text;
where that is not certain from the constant parts, or a person's words are odd, there is none, and the text goes the
long way. The tests compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape, unescape
from typing import Final

from orchestrator.channel.base import EmailPayload
from orchestrator.content.clean import unwanted
from orchestrator.content.links import IN_TEXT, NO_LINK, TRAILING, Tracked, Tracking, end_of_body
from orchestrator.content.markup import ANCHOR, is_address
from orchestrator.content.plain import tidy, untidy

_SLOT: Final = "\0"
"""Where a person's words stand in a shape: a character that no template and no cleaned text has."""
_SLOTS = re.compile(_SLOT)
_TAG = re.compile(r"<([^>]*)")
_OTHER_TAG = re.compile(r"(?!(?:a|area)\s)[a-z][a-z0-9]*\s", re.IGNORECASE)
"""How a tag begins whose attributes never are an address: its name is whole, and not that of a link."""
_WORD = re.compile(rf"[^{NO_LINK}]+")
_MARKUP = re.compile("[<>\"']")
_SECURE: Final = "https://"
_MOST_SHAPES = 256
_MOST_CHARACTERS = 4 << 20
"""Of all skeletons of one text, their shapes counted in: a mail may be long, and in a different shape for everybody."""

Values = Sequence[str]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A rendered text by its chunks. ``shape``: each chunk that is the template's own, None for a person's words."""

    text: str
    shape: tuple[str | None, ...]
    values: Values


def drawn(chunks: Sequence[str], constants: frozenset[str]) -> Drawn:
    """Chunks as a template yields them. Escaped values are of a class of their own: from here on they are texts."""
    shape: list[str | None] = []
    values: list[str] = []
    for chunk in chunks:
        if chunk in constants:
            shape.append(chunk)
        else:
            shape.append(None)
            values.append(str.__str__(chunk))
    return Drawn("".join(chunks), tuple(shape), values)


@dataclass(frozen=True, slots=True)
class _Pixel:
    """What shows an open, and what only a machine follows."""

    def fill(self, values: Values, tracking: Tracking) -> str:
        del values
        return tracking.unseen()


@dataclass(frozen=True, slots=True)
class _Address:
    """The address of a link in HTML; ``url`` where it is the same for everybody."""

    pieces: tuple[str | int, ...]
    url: str = ""

    def fill(self, values: Values, tracking: Tracking) -> str | None:
        url = self.url
        if not url:
            url = unescape(_joined(self.pieces, values))
            if not is_address(url):
                return None
        return escape(tracking.of_html(url))


@dataclass(frozen=True, slots=True)
class _Link:
    """An address in a text part that is the same for everybody."""

    url: str

    def fill(self, values: Values, tracking: Tracking) -> str:
        del values
        return tracking.of_url(self.url)


@dataclass(frozen=True, slots=True)
class _Word:
    """Words without a space between them, in which an address stands, or may."""

    pieces: tuple[str | int, ...]

    def fill(self, values: Values, tracking: Tracking) -> str:
        word = _joined(self.pieces, values)
        return IN_TEXT.sub(tracking.of_text, word) if _SECURE in word else word


_Filler = int | _Pixel | _Address | _Link | _Word
"""A number: a person's words, as they are."""


def _joined(pieces: Sequence[str | int], values: Values) -> str:
    if len(pieces) == 1 and isinstance(pieces[0], int):
        return values[pieces[0]]
    return "".join([values[piece] if isinstance(piece, int) else piece for piece in pieces])


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A text: its constants, and what stands between them; there is one constant more."""

    constants: tuple[str, ...]
    fillers: tuple[_Filler, ...]
    edges: tuple[int, ...]
    """The persons' words that stand at an end, where spaces are trimmed."""

    def fill(self, values: Values, tracking: Tracking) -> tuple[str, ...] | None:
        """The text in pieces, of which each second is personal; None where a link leads nowhere good."""
        if any(not values[edge] or values[edge].strip() != values[edge] for edge in self.edges):
            return None
        personal = [
            values[filler] if isinstance(filler, int) else filler.fill(values, tracking) for filler in self.fillers
        ]
        if None in personal:
            return None
        pieces = [""] * (2 * len(personal) + 1)
        pieces[::2], pieces[1::2] = self.constants, personal  # type: ignore[assignment]  # no None is among them
        return tuple(pieces)


@dataclass(slots=True)
class Shapes:
    """The skeletons of one text of a template, by shape. A shape that came up once gets none: it may never again."""

    build: Callable[[str], Skeleton | None]
    tabs: bool = False
    """Whether they may simply become spaces, as in HTML; in a text part, spaces at line ends would go."""
    _known: dict[tuple[str | None, ...], Skeleton | bool] = field(default_factory=dict)
    """True: has been seen. False: has no skeleton."""
    _characters: int = 0

    def of(self, shape: tuple[str | None, ...]) -> Skeleton | None:
        """The skeleton of a shape, if it has one by now."""
        known = self._known.get(shape)
        if isinstance(known, Skeleton):
            return known
        if known is None:
            self._keep(shape, 8 * len(shape), found=True)
        elif known:
            made = self._made(shape)
            self._keep(shape, sum(map(len, made.constants)) if made else 0, found=made or False)
            return made
        return None

    def _keep(self, shape: tuple[str | None, ...], characters: int, *, found: Skeleton | bool) -> None:
        full = len(self._known) >= _MOST_SHAPES and shape not in self._known
        if full or self._characters + characters > _MOST_CHARACTERS:
            self._known.clear()
            self._characters = 0
        self._known[shape] = found
        self._characters += characters

    def _made(self, shape: tuple[str | None, ...]) -> Skeleton | None:
        own = [chunk.replace("\t", " ") if chunk and self.tabs else chunk for chunk in shape]
        if any(unwanted(chunk) for chunk in own if chunk is not None):
            return None
        text = "".join(_SLOT if chunk is None else chunk for chunk in own).strip()
        return self.build(text) if text else None


def fill(
    html: tuple[Skeleton, Drawn], text: tuple[Skeleton, Drawn], subject: str, tracking: Tracking
) -> Tracked | None:
    """A mail by its skeletons; None where what is personal in it needs a closer look."""
    values = "".join(html[1].values), "".join(text[1].values)
    if unwanted(values[0]) or unwanted(values[1]) or _MARKUP.search(values[0]):
        return None
    if not _firm(text[1].values) and untidy(text[1].text):
        return None
    rich = html[0].fill(html[1].values, tracking)
    plain = text[0].fill(text[1].values, tracking)
    if rich is None or plain is None:
        return None
    payload = EmailPayload(subject, "".join(plain), "".join(rich), tracking.unsubscribe(), (plain, rich))
    return Tracked(payload, tracking.targets)


def _firm(values: Values) -> bool:
    """Whether spaces before and behind each person's words are tidied as they would be without them."""
    words = _SLOT.join(("", *values, ""))
    return not ("\n" in words or _SLOT * 2 in words or f"{_SLOT} " in words or f" {_SLOT}" in words)


def html_skeleton(shape: str) -> Skeleton | None:
    """Of HTML; None where a person's words could make or move a link.

    They hold no ``<``, ``>`` or quote (:func:`fill` looks). So outside of tags they are nothing to ``ANCHOR``, nor in a
    tag that is no link; in an address they stay in it.
    """
    found = list(ANCHOR.finditer(shape))
    if any(_SLOT in match[1] or "<" in match[2] for match in found) or not _inert(_between(shape, found)):
        return None
    marks: list[tuple[int, int, _Filler]] = []
    count = _Counter(shape)
    for match in found:
        url = "" if _SLOT in match[2] else unescape(match[2])
        if not (_SLOT in match[2] or is_address(url)):
            return None
        marks.append((match.start(2), match.end(2), _Address(count.pieces(match.start(2), match.end(2)), url)))
    end = end_of_body(shape)
    marks.append((end, end, _Pixel()))
    taken = [(start, stop) for start, stop, _ in marks]
    marks += [
        (slot.start(), slot.end(), count.before(slot.start()))
        for slot in _SLOTS.finditer(shape)
        if not any(start <= slot.start() < stop for start, stop in taken)
    ]
    return _skeleton(shape, sorted(marks, key=lambda mark: mark[:2]))


def _between(shape: str, found: Sequence[re.Match[str]]) -> Iterator[str]:
    """What stands before, between and after links, from where a link could begin."""
    place = 0
    for match in found:
        yield shape[place : match.start()]
        place = match.end()
    yield shape[place:]


def _inert(texts: Iterator[str]) -> bool:
    """Whether no slot stands where it could belong to the beginning of a link, or to the end of the body."""
    tags = (match[1] for text in texts for match in _TAG.finditer(text))
    return all(_SLOT not in tag or _OTHER_TAG.match(tag) for tag in tags)


def text_skeleton(shape: str) -> Skeleton | None:
    """Of a text part: an address ends at a space or bracket at the latest, so words with none of them stand alone."""
    shape = tidy(shape)
    count = _Counter(shape)
    marks: list[tuple[int, int, _Filler]] = []
    for word in _WORD.finditer(shape):
        if _SLOT not in word[0] and _SECURE not in word[0]:
            continue
        start, stop = word.span()
        link = None if _SLOT in word[0] or not word[0].isascii() else IN_TEXT.search(word[0])
        if link is None:
            marks.append((start, stop, _Word(count.pieces(start, stop))))
        else:  # no linked Chinese goes on behind it
            url = link[0].rstrip(TRAILING)
            marks.append((start + link.start(), start + link.start() + len(url), _Link(url)))
    return _skeleton(shape, marks)


def _skeleton(shape: str, marks: Sequence[tuple[int, int, _Filler]]) -> Skeleton:
    constants, place = [], 0
    for start, stop, _ in marks:
        constants.append(shape[place:start])
        place = stop
    edges = ([0] if shape[0] == _SLOT else []) + ([shape.count(_SLOT) - 1] if shape[-1] == _SLOT else [])
    return Skeleton((*constants, shape[place:]), tuple(filler for _, _, filler in marks), tuple(edges))


@dataclass(frozen=True, slots=True)
class _Counter:
    """Slots of a shape by number."""

    shape: str

    def before(self, place: int) -> int:
        return self.shape.count(_SLOT, 0, place)

    def pieces(self, start: int, stop: int) -> tuple[str | int, ...]:
        number, found = self.before(start), list[str | int]()
        for index, piece in enumerate(self.shape[start:stop].split(_SLOT)):
            found += ([number + index - 1] if index else []) + ([piece] if piece else [])
        return tuple(found)
