"""How a text is billed: GSM 03.38 or UCS-2, and how many parts. Source: providers §12.

An escape pair or a surrogate pair never straddles two parts, so parts are packed, not divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENDED = frozenset("\f^{}\\[~]|€")
LAST_OF_PLANE_0 = "\uffff"


class Billing(NamedTuple):
    """What a text comes to."""

    encoding: str
    units: int
    parts: int


def bill(text: str) -> Billing:
    """Encoding, units (septets or UTF-16 code units) and parts of a text."""
    if all(char in BASIC or char in EXTENDED for char in text):
        widths = [2 if char in EXTENDED else 1 for char in text]
        return Billing("GSM-7", sum(widths), _parts(widths, 160, 153))
    widths = [2 if char > LAST_OF_PLANE_0 else 1 for char in text]
    return Billing("UCS-2", sum(widths), _parts(widths, 70, 67))


def _parts(widths: Sequence[int], alone: int, chained: int) -> int:
    if sum(widths) <= alone:
        return 1 if widths else 0
    parts, room = 1, chained
    for width in widths:
        if width > room:
            parts, room = parts + 1, chained
        room -= width
    return parts
