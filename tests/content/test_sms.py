"""SMS parts: the published vectors, and an independent packer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.channel.base import SmsPayload
from orchestrator.content.sms import billed_parts, count, domestic_parts, foreign

# GSM 03.38 in code order, 0x00 to 0x7F; ESC (0x1B) is no character of its own.
_GSM_TABLE = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_ESCAPED = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}

VECTORS = [
    ("a" * 160, "GSM-7", 160, 1),
    ("a" * 161, "GSM-7", 161, 2),
    ("a" * 306, "GSM-7", 306, 2),
    ("a" * 307, "GSM-7", 307, 3),
    ("a" * 459, "GSM-7", 459, 3),
    ("a" * 460, "GSM-7", 460, 4),
    ("€" * 80, "GSM-7", 160, 1),
    ("€" * 81, "GSM-7", 162, 2),
    ("a" * 159 + "€", "GSM-7", 161, 2),
    ("a" * 158 + "€", "GSM-7", 160, 1),
    ("a" * 152 + "€" + "a" * 152, "GSM-7", 306, 3),
    ("a" * 152 + "€" + "a" * 151, "GSM-7", 305, 2),
    ("你" * 70, "UCS-2", 70, 1),
    ("你" * 71, "UCS-2", 71, 2),
    ("你" * 134, "UCS-2", 134, 2),
    ("你" * 135, "UCS-2", 135, 3),
    ("😀" * 35, "UCS-2", 70, 1),
    ("😀" * 36, "UCS-2", 72, 2),
    ("你" * 66 + "😀" + "你" * 66, "UCS-2", 134, 3),
    ("你" * 66 + "😀" + "你" * 65, "UCS-2", 133, 2),
    ("’" + "a" * 69, "UCS-2", 70, 1),
    ("’" + "a" * 70, "UCS-2", 71, 2),
    ("👨‍👩‍👧‍👦", "UCS-2", 11, 1),
    ("🇨🇳", "UCS-2", 4, 1),
    ("👍🏽", "UCS-2", 4, 1),
    ("1️⃣", "UCS-2", 3, 1),
    ("", "GSM-7", 0, 0),
]


@pytest.mark.parametrize(("text", "encoding", "units", "parts"), VECTORS)
def test_published_vectors(text: str, encoding: str, units: int, parts: int) -> None:
    counted = count(text)
    assert (counted.encoding, counted.units, counted.parts) == (encoding, units, parts)


@pytest.mark.parametrize("char", "ÇåéèùìòàñöüäøæßΔΩ€^{}\\[~]|\f\n\r@_")
def test_in_the_alphabet(char: str) -> None:
    assert count(char).encoding == "GSM-7"


@pytest.mark.parametrize("char", "çáâêíóúãõőű`´’“”–—…™\u00a0\t\x1b你")
def test_not_in_the_alphabet(char: str) -> None:
    assert count(char).encoding == "UCS-2"
    assert foreign(f"a{char}b{char}") == [char]


def _atoms(text: str) -> tuple[int, int, list[int]]:
    """Sizes of what may not be split, from real encodings."""
    gsm: list[int] = []
    for char in text:
        if char in _ESCAPED:
            gsm.append(len(bytes([0x1B, _ESCAPED[char]])))
        elif char in _GSM_TABLE and char != "\x1b":
            gsm.append(len(bytes([_GSM_TABLE.index(char)])))
        else:
            return 70, 67, [len(one.encode("utf-16-be", "surrogatepass")) // 2 for one in text]
    return 160, 153, gsm


def _fewest_parts(text: str) -> int:
    """By dynamic programming over every way to cut between atoms."""
    single, each, sizes = _atoms(text)
    if sum(sizes) <= single:
        return 1 if sizes else 0
    fewest = [0] + [10**9] * len(sizes)
    for end in range(1, len(sizes) + 1):
        room = each
        for start in range(end - 1, -1, -1):
            room -= sizes[start]
            if room < 0:
                break
            fewest[end] = min(fewest[end], fewest[start] + 1)
    return fewest[-1]


_RUNS = st.lists(
    st.tuples(st.sampled_from(["a", "€", "你", "😀", "\n", "|", "é", "’", "👍🏽", "\ud83d"]), st.integers(1, 160)),
    max_size=6,
).map(lambda runs: "".join(text * times for text, times in runs))


@given(st.one_of(_RUNS, st.text(max_size=400), st.text("ab€[]{}", max_size=400)))
def test_against_a_packer_that_tries_every_cut(text: str) -> None:
    _, _, sizes = _atoms(text)
    assert (count(text).units, count(text).parts) == (sum(sizes), _fewest_parts(text))


@pytest.mark.parametrize(
    ("length", "parts"), [(0, 0), (1, 1), (70, 1), (71, 2), (134, 2), (135, 3), (201, 3), (202, 4), (500, 8)]
)
def test_within_china_every_character_is_one(length: int, parts: int) -> None:
    assert domestic_parts("a" * length) == domestic_parts("你" * length) == domestic_parts("😀" * length) == parts


@pytest.mark.parametrize(
    ("approved", "phone", "parts"),
    [
        ("", "", 1),
        ("", "+8613800138000", 1),
        ("SMS_1", "+8613800138000", 2),
        ("SMS_1", "", 2),
        ("SMS_1", "+4915112345678", 1),
    ],
)
def test_who_bills_as_within_china(approved: str, phone: str, parts: int) -> None:
    assert billed_parts(SmsPayload("a" * 100, approved), phone) == parts
