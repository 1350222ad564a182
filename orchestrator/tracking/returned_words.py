"""The words of ``returned.yaml``: how bounces, delays and automatic answers are worded, as data."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict
from ruamel.yaml import YAML

BUILT_IN: Final = Path(__file__).with_name("returned.yaml")


def _either(words: object) -> object:
    if not isinstance(words, list) or not words:
        raise ValueError("needs a list of regular expressions")
    return re.compile("|".join(f"(?:{word})" for word in words), re.IGNORECASE)


Words = Annotated[re.Pattern[str], BeforeValidator(_either)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reason(_Strict):
    """What a text comes to that has one of these words. ``status`` is an enhanced code of RFC 3463."""

    status: str
    words: Words


class Wording(_Strict):
    """The words, as the file has them; what each list is for stands in the file."""

    daemon: Words
    failure: Words
    delay: Words
    answer: Words
    quoted: Words
    reasons: tuple[Reason, ...]


@cache
def wording() -> Wording:
    """The words that come with the program."""
    return Wording.model_validate(YAML(typ="safe").load(BUILT_IN.read_text(encoding="utf-8")))
