"""How many parts a text message is billed as.

GSM 03.38: 160 septets in one part, 153 in each of several; the characters of the extension table take two. A text with
any other character goes as UCS-2: 70 UTF-16 code units, or 67. Neither an escape pair nor a surrogate pair is split
over two parts, so parts are packed greedily, not divided. National shift tables are ignored: such text counts as UCS-2.

Gateways within China count otherwise: every character is one, 70 in one part, 67 in each of several.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from orchestrator.channel.base import SmsPayload

Encoding = Literal["GSM-7", "UCS-2"]

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = frozenset("\f^{}\\[~]|€")
_GSM = BASIC | EXTENSION
_LAST_OF_ONE_UNIT = 0xFFFF


@dataclass(frozen=True, slots=True)
class SmsCount:
    """``units`` are septets (GSM-7) or UTF-16 code units (UCS-2). No text, no parts."""

    encoding: Encoding
    units: int
    parts: int


def count(text: str) -> SmsCount:
    """What a text is billed as, signature and opt-out words included: count after rendering."""
    if _GSM.issuperset(text):
        pairs = 0 if EXTENSION.isdisjoint(text) else sum(1 for char in text if char in EXTENSION)
        units = len(text) + pairs
        parts = _parts((1 + (char in EXTENSION) for char in text), units, pairs, single=160, each=153)
        return SmsCount("GSM-7", units, parts)
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    pairs = units - len(text)
    sizes = (1 + (ord(char) > _LAST_OF_ONE_UNIT) for char in text)
    return SmsCount("UCS-2", units, _parts(sizes, units, pairs, single=70, each=67))


def domestic_parts(text: str) -> int:
    """What a gateway within China bills a text as, 【signature】 and opt-out words included.

    Source: Aliyun, "billing of SMS": up to 70 characters are one, a longer text is billed by 67.
    """
    return min(len(text), 1) if len(text) <= 70 else -(-len(text) // 67)  # noqa: PLR2004


def billed_parts(payload: SmsPayload, phone: str = "") -> int:
    """What an SMS is billed as. Approved templates go through gateways within China, unless the number is elsewhere."""
    domestic = payload.approved and (not phone or phone.startswith("+86"))
    return domestic_parts(payload.body) if domestic else count(payload.body).parts


def foreign(text: str) -> list[str]:
    """The characters that keep a text from being GSM-7, in order, each once: what to replace to pay for fewer parts."""
    return [char for char in dict.fromkeys(text) if char not in _GSM]


def _parts(sizes: Iterable[int], units: int, pairs: int, *, single: int, each: int) -> int:
    if units <= single:
        return min(units, 1)
    return _packed(sizes, each) if pairs else -(-units // each)


def _packed(sizes: Iterable[int], room: int) -> int:
    parts, used = 1, 0
    for size in sizes:
        if used + size > room:
            parts, used = parts + 1, 0
        used += size
    return parts
