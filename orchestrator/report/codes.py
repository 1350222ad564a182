"""Providers' codes in words: data, in ``codes.yaml``; and how a code is looked up there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydantic import TypeAdapter
from ruamel.yaml import YAML

FILE = "codes.yaml"
ANY = "any"
RECEIPT = " receipt"
"""After a provider's name: the codes of its receipts, where they differ from those of its answers."""

_HTTP = re.compile(r"http[ _-]*(\d{3})", re.IGNORECASE)
_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3})\.\d{1,3}(?![\d.])")
_IDENTIFIER = "cid_"  # JPush: the failure came as the push's identifier was fetched
_TELLING = 5  # characters of a code that hardly anybody else uses, as gateways may use "31"
_STAGE = re.compile(r"_(connect|mail|rcpt|data|dot)$")  # how far a mail had come


@dataclass(frozen=True, slots=True)
class Phrase:
    """The same thing said in both languages."""

    en: str
    zh: str

    def in_(self, locale: str) -> str:
        """The sentence for a locale; ``zh-CN`` counts as ``zh``, everything else as English."""
        return self.zh if locale.lower().startswith("zh") else self.en


@cache
def codes() -> Mapping[str, Mapping[str, Phrase]]:
    """Provider → code → words."""
    text = files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return TypeAdapter(dict[str, dict[str, Phrase]]).validate_python(YAML(typ="safe", pure=True).load(text))


def phrase_of(code: str, provider: str = "") -> Phrase | None:
    """What a code means: at its provider, else anywhere; None when nobody knows.

    ``provider`` may end in ``RECEIPT``. Without one, a long code that a single provider has is that provider's.
    """
    book = codes()
    names = dict.fromkeys((provider, provider.removesuffix(RECEIPT), ANY))
    for spelling in _spellings(code):
        for name in names:
            if phrase := book.get(name, {}).get(spelling):
                return phrase
    return None if provider or len(code) < _TELLING else _only(code)


def _only(code: str) -> Phrase | None:
    found = {phrases[code] for phrases in codes().values() if code in phrases}
    return found.pop() if len(found) == 1 else None


def _spellings(code: str) -> Iterator[str]:
    """What a code may stand under, the nearest first: ``550 5.1.1``, ``5.1.1``, ``5.1.*``, ``550``."""
    yield code
    if http := _HTTP.fullmatch(code):
        yield http[1]
    words = code.split()
    shorter = [" ".join(words[:count]) for count in range(len(words) - 1, 0, -1)]
    found = _ENHANCED.search(code)
    enhanced = [found[0], f"{found[1]}.*"] if found else []
    yield from [*enhanced, *shorter] if code[:1].isdigit() else [*shorter, *enhanced]  # ``Permanent.NoEmail 5.1.1``
    yield code.removeprefix(_IDENTIFIER)
    yield _STAGE.sub("", code)
    yield from (code.partition(mark)[0] for mark in ":." if not code[:1].isdigit())  # ``Throttling.User``
