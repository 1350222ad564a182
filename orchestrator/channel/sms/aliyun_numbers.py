"""Phone numbers as Aliyun writes them: eleven digits in mainland China, country code and number elsewhere, no plus."""

from __future__ import annotations

import re

_CHINESE = re.compile(r"1[3-9]\d{9}", re.ASCII)
_DIGITS = re.compile(r"\d{7,15}", re.ASCII)


def to_aliyun(number: str) -> str:
    """``+8613800138000`` as ``13800138000``, ``+85251234567`` as ``85251234567``."""
    digits = number.removeprefix("+")
    home = digits.removeprefix("86")
    return home if digits.startswith("86") and _CHINESE.fullmatch(home) else digits


def from_aliyun(number: str) -> str:
    """The same in E.164; empty for what is no number.

    Eleven digits from 13 to 19 are taken for Chinese: people write back, and carriers report by number, there alone.
    """
    digits = number.strip().removeprefix("+").removeprefix("00")
    if _CHINESE.fullmatch(digits):
        return f"+86{digits}"
    return f"+{digits}" if _DIGITS.fullmatch(digits) else ""
