"""A template file as a person of some locale gets it: facts in, a payload out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.channel.base import EmailPayload, Payload, PushPayload, SmsPayload
from orchestrator.content.budget import Budget
from orchestrator.content.clean import clean, single_line
from orchestrator.content.defaults import Value, filled
from orchestrator.content.links import Links, Tracked, Tracking
from orchestrator.content.markup import is_address, links_in
from orchestrator.content.plain import tidy
from orchestrator.content.skeleton import Shapes, drawn, fill, html_skeleton, text_skeleton
from orchestrator.content.source import Source
from orchestrator.content.survey import ALONE
from orchestrator.errors import RenderError

MAX_PARAMETER: Final = 500
"""Characters of what fills an approved template: as many as a whole SMS may have in China."""
_LINK = re.compile(r"(?!(?:javascript|data|file|vbscript):)[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"]+")


@dataclass(frozen=True, slots=True)
class Outline:
    """What a mail template's chunks are told apart by, and the skeletons found so far."""

    html_constants: frozenset[str]
    text_constants: frozenset[str]
    html: Shapes = field(default_factory=lambda: Shapes(html_skeleton, tabs=True))
    text: Shapes = field(default_factory=lambda: Shapes(text_skeleton))

    def fill(self, html: Sequence[str], text: Sequence[str], subject: str, tracking: Tracking) -> Tracked | None:
        """The mail, where both its parts have a skeleton."""
        rich, plain = drawn(html, self.html_constants), drawn(text, self.text_constants)
        bones, text_bones = self.html.of(rich.shape), self.text.of(plain.shape)
        if bones is None or text_bones is None:
            return None
        return fill((bones, rich), (text_bones, plain), subject, tracking)


@dataclass(frozen=True, slots=True)
class Ready:
    """A file chosen for a locale, with the defaults that may have to stand in."""

    source: Source
    locale: str
    fills: tuple[tuple[tuple[str, ...], Value], ...]
    outline: Outline | None = None
    """Of a mail."""

    def payload(self, facts: dict[str, Any]) -> Payload:
        """The words for these facts; raises what :meth:`TemplateSet.render` does."""
        facts = filled(facts, self.fills)
        budget = Budget()
        texts = {name: program.run(facts, self.locale, budget) for name, program in self.source.programs.items()}
        match self.source.place.channel:
            case "sms":
                return self._sms(texts)
            case "email":
                return self._email(texts, _own_addresses(facts))
            case _:
                return self._push(texts)

    def tracked(self, facts: dict[str, Any], links: Links, message_id: int) -> Tracked:
        """The payload with its links replaced: a mail by its skeleton where it has one."""
        if self.outline is None:
            return links.track(self.payload(facts), message_id)
        facts = filled(facts, self.fills)
        budget = Budget()
        chunks = {name: program.chunks(facts, self.locale, budget) for name, program in self.source.programs.items()}
        subject = single_line("".join(chunks["subject"]))
        made = (
            self.outline.fill(chunks["html"], chunks["text"], subject, Tracking(links, message_id)) if subject else None
        )
        if made is not None:
            return made
        texts = {name: "".join(pieces) for name, pieces in chunks.items()}
        return links.track(self._email(texts, _own_addresses(facts)), message_id)

    def _email(self, texts: Mapping[str, str], own: tuple[str, ...]) -> EmailPayload:
        subject, text = single_line(texts["subject"]), tidy(clean(texts["text"]))
        if not subject or not text:
            empty = "the message" if subject else "the subject"
            hint = 'write {{ skip("reason") }} to leave it out'
            raise RenderError(f"{self.source.path}: {empty} is empty", hint=hint)
        html = clean(texts["html"])
        if not all(is_address(link) or link.startswith(own) for link in links_in(html)):
            hint = "https, or an app's own scheme; pass facts in it through |urlencode"
            raise RenderError(f"{self.source.path}: a link has to be a whole address", hint=hint)
        return EmailPayload(subject, text, html)

    def _sms(self, texts: Mapping[str, str]) -> SmsPayload:
        body = clean(texts["body"])
        if not body:
            raise RenderError(
                f"{self.source.path}: the message is empty", hint='write {{ skip("reason") }} to leave it out'
            )
        parameters = {name: single_line(text) for name, text in _family("parameter", texts)}
        for name, value in parameters.items():
            if not 0 < len(value) <= MAX_PARAMETER:
                wrong = f"is longer than {MAX_PARAMETER} characters" if value else "is empty"
                raise RenderError(f"{self.source.path}: parameter.{name} {wrong}", hint="use default, or truncate")
        return SmsPayload(body, single_line(texts.get("approved", "")), parameters)

    def _push(self, texts: Mapping[str, str]) -> PushPayload:
        title, body = single_line(texts.get("title", "")), clean(texts["body"])
        if not title and not body:
            raise RenderError(
                f"{self.source.path}: the message is empty", hint='write {{ skip("reason") }} to leave it out'
            )
        data = {name: value for name, text in _family("data", texts) if (value := clean(text))}
        return PushPayload(title, body, link=self._link("link", texts), image=self._link("image", texts), data=data)

    def _link(self, name: str, texts: Mapping[str, str]) -> str:
        link = single_line(texts.get(name, ""))
        secure = name == "link" or link.startswith("https://")
        if link and not (secure and _LINK.fullmatch(link)):
            wanted = "a whole address such as app://menu" if name == "link" else "an https:// address"
            hint = "pass facts in it through |urlencode"
            raise RenderError(f"{self.source.path}: {name} has to be {wanted}", hint=hint)
        return link


def _own_addresses(facts: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(facts[name]) for name in ALONE if name in facts)


def _family(name: str, texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The headers ``NAME.x``, by their x."""
    return ((key.partition(".")[2], text) for key, text in texts.items() if key.startswith(f"{name}."))
