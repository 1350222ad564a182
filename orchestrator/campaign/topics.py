"""The topics people may agree to, as they read them: ``campaigns/topics.yaml``.

    promotions:
      title: {en: Offers and coupons, zh: 优惠和红包}
      text: {en: At most two a week, zh: 每周最多两条}
      double_opt_in: [email]

``double_opt_in`` names the channels on which an agreement counts once the person has confirmed it (by mail, so that
it can be email alone). A topic without an entry is shown under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from orchestrator.audience.opt_in import Asks
from orchestrator.campaign.reading import read_document
from orchestrator.errors import ConfigError, Problem

FILE: Final = "topics.yaml"


class _TopicForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    title: dict[str, str]
    text: dict[str, str] = {}
    double_opt_in: tuple[Literal["email"], ...] = ()


FIELDS: Final = tuple(_TopicForm.model_fields)


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic, in the words people read."""

    name: str
    title: Mapping[str, str] = field(default_factory=dict)
    text: Mapping[str, str] = field(default_factory=dict)
    double_opt_in: tuple[str, ...] = ()

    def titled(self, language: str) -> str:
        """Its title in a language, else in English, else its own name."""
        own = self.name.replace("_", " ").replace("-", " ").capitalize()
        return self.title.get(language) or self.title.get("en") or next(iter(self.title.values()), own)

    def told(self, language: str) -> str:
        """The line below it, if there is one in this language."""
        return self.text.get(language, "")


def topics_in(campaigns: Path) -> dict[str, Topic]:
    """The topics that ``campaigns/topics.yaml`` describes; none when there is no such file.

    Raises:
        ConfigError: with all that is wrong in it.
    """
    path = campaigns / FILE
    try:
        known = path.stat()
    except OSError:
        return {}
    return _read(path, known.st_mtime_ns, known.st_size)


def double_opt_in(topics: Mapping[str, Topic]) -> Asks:
    """Which of these topics ask for double opt-in, and where."""
    wanted = {(channel, name) for name, topic in topics.items() for channel in topic.double_opt_in}
    return lambda channel, topic: (channel, topic) in wanted


def check_topics(campaigns: Path) -> Sequence[Problem]:
    """What is wrong with the file, if it is there."""
    try:
        topics_in(campaigns)
    except ConfigError as error:
        return error.problems
    return ()


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> dict[str, Topic]:
    del changed, size  # a page is shown more often than the file is edited
    document = read_document(path)
    if document.problems:
        raise ConfigError(document.problems)
    try:
        forms = TypeAdapter(dict[str, _TopicForm]).validate_python(document.data)
    except ValidationError as error:
        raise ConfigError([_problem(path, one["loc"], one["msg"]) for one in error.errors()]) from None
    return {name: Topic(name, form.title, form.text, form.double_opt_in) for name, form in forms.items()}


def _problem(path: Path, place: tuple[int | str, ...], words: str) -> Problem:
    asked = "double_opt_in" in place
    hint = "a list that may name email" if asked else "a topic has a title and a text, each by language"
    return Problem(str(path), 0, ".".join(map(str, place)), words, hint)
