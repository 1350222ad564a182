"""The templates of a campaign: all that is wrong with them, and the one way they are rendered.

Preview, test send and real send all come through :meth:`TemplateSet.render`. A set is made from the texts of its files
(a launched version holds them), never changes, and may be used from many threads.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from orchestrator.channel.base import EmailPayload, Payload, PushPayload, SmsPayload
from orchestrator.content.budget import Budget
from orchestrator.content.clean import clean, single_line
from orchestrator.content.defaults import Value, defaults_for, filled, folder_of, read_defaults
from orchestrator.content.files import Place, chain, normal, place_of
from orchestrator.content.layout import Part, parts_of
from orchestrator.content.links import Links, Tracked, Tracking
from orchestrator.content.markup import CLIPPED_BYTES, compile_markup, is_address, links_in
from orchestrator.content.plain import tidy
from orchestrator.content.program import ENVIRONMENT, Program, compile_text
from orchestrator.content.skeleton import Shapes, drawn, fill, html_skeleton, text_skeleton
from orchestrator.content.survey import ADDRESSES, ALONE, CONFIRM_URL, Fault
from orchestrator.errors import Problem, RenderError, did_you_mean

CAMPAIGN_FACTS: Final = ("campaign.name", "campaign.title")
CONFIRMATION: Final = "_confirm"
"""The message that asks for the second step of double opt-in."""
_LINK = re.compile(r"(?!(?:javascript|data|file|vbscript):)[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"]+")
_REMEMBERED = 2048
MAX_PARAMETER: Final = 500
"""Characters of what fills an approved template: as many as a whole SMS may have in China."""
USUAL_PARAMETER: Final = 35
"""What most of them take (Aliyun's default, which it raises on request)."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One template file: its programs by part, or none of them when it has problems."""

    path: str
    place: Place
    programs: Mapping[str, Program]
    problems: tuple[Problem, ...]
    size: int = 0
    """Bytes of a mail's HTML, before any fact."""

    def facts(self) -> dict[str, int]:
        """Each fact used, with the line of its first use."""
        return self._lines((program, program.survey.facts) for program in self.programs.values())

    def required(self) -> dict[str, int]:
        """Those that nothing in the template stands in for."""
        return self._lines((program, program.survey.required) for program in self.programs.values())

    @staticmethod
    def _lines(found: Iterable[tuple[Program, Mapping[str, int]]]) -> dict[str, int]:
        lines: dict[str, int] = {}
        for program, facts in found:
            for fact, line in facts.items():
                lines.setdefault(fact, program.origin(line))
        return lines


@dataclass(frozen=True, slots=True)
class _Outline:
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
class _Ready:
    """A file chosen for a locale, with the defaults that may have to stand in."""

    source: _Source
    locale: str
    fills: tuple[tuple[tuple[str, ...], Value], ...]
    outline: _Outline | None = None
    """Of a mail."""

    def payload(self, facts: dict[str, Any]) -> Payload:
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


class TemplateSet:
    """The template files of a campaign, by path within the templates folder (``lunch-winback/dish/push.en.j2``).

    A user's ``zh-CN`` finds ``channel.zh-cn.j2``, then ``zh``, then the default locale, then ``channel.j2``, then
    the first there is. ``root`` is put before paths in problems.
    """

    def __init__(self, files: Mapping[str, str], *, default_locale: str = "en", root: str = "") -> None:
        self._root = root.rstrip("/") + "/" if root else ""
        self._default = normal(default_locale)
        self._problems: list[Problem] = []
        self._sources: dict[tuple[str, str], dict[str, _Source]] = {}
        self._ready: dict[tuple[str, str, str], _Ready] = {}
        self._named: dict[tuple[str, str], set[str]] = {}
        self._outlines: dict[str, _Outline] = {}
        self._defaults = self._read_defaults(files)
        self._texts: dict[tuple[str, str], _Source] = {}
        for path in sorted(files):
            if folder_of(path) is None:
                self._add(path, files[path])
        self._join_texts()

    def problems(self, known: Collection[str] | None = None) -> list[Problem]:
        """All that is wrong, by file and line. With the fact names there are, also names that nothing provides."""
        found = [*self._problems]
        for sources in self._sources.values():
            for source in sources.values():
                found += source.problems
                found += self._unprovided(source, known)
                found += _no_way_out(source)
        return sorted(found, key=lambda problem: (problem.file, problem.line))

    def notes(self) -> list[str]:
        """What is allowed, and yet will not look as it was meant."""
        return [
            f"{source.path}: {source.size // 1024} KB of HTML before any fact, Gmail shows {CLIPPED_BYTES // 1024} KB"
            for sources in self._sources.values()
            for source in sources.values()
            if source.size > CLIPPED_BYTES
        ]

    def render(self, template: str, channel: str, locale: str, facts: Mapping[str, Any]) -> Payload:
        """The payload for one person.

        Raises:
            RenderError: it cannot be composed; names template and line, never a fact's value.
            SkipMessage: the template decided against it.
        """
        return self._chosen(template, channel, normal(locale)).payload(dict(facts))

    def tracked(  # one value each
        self, template: str, channel: str, locale: str, facts: Mapping[str, Any], links: Links, message_id: int
    ) -> Tracked:
        """The payload for one person as :meth:`Links.track` leaves it; raises what :meth:`render` does."""
        return self._chosen(template, channel, normal(locale)).tracked(dict(facts), links, message_id)

    def names(self, template: str, channel: str) -> set[str]:
        """The dotted facts that a message uses on a channel, over all locales."""
        named = self._named.get((template, channel))
        if named is None:  # asked for every message
            sources = self._sources.get((template, channel), {})
            named = self._named[template, channel] = {fact for one in sources.values() for fact in one.facts()}
        return named

    def links_itself(self, template: str, channel: str) -> bool:
        """Whether a message names one of its own addresses: to unsubscribe, or to choose."""
        return not self.names(template, channel).isdisjoint(ADDRESSES)

    def of_user_alone(self, template: str, channel: str) -> bool:
        """Whether a message's words depend on its user and campaign, and on nothing else."""
        return all(name.startswith(("user.", "campaign.")) for name in self.names(template, channel))

    def approved(self, template: str) -> list[str]:
        """The codes of the approved templates that a message's SMS are sent with."""
        sources = self._sources.get((template, "sms"), {}).values()
        programs = (source.programs.get("approved") for source in sources)
        return sorted({single_line(program.run({}, "", Budget())) for program in programs if program is not None})

    def locales(self, template: str, channel: str) -> list[str]:
        """The locales a message is written in on a channel ("" for any); empty when there is no such message."""
        return sorted(self._sources.get((template, channel), {}))

    def missing(self, template: str, channel: str) -> tuple[str, str] | None:
        """What is wrong with naming this message on this channel, with a hint; None when it is there."""
        if (template, channel) in self._sources:
            return None
        channels = sorted(other for message, other in self._sources if message == template)
        if channels:
            return f"{template!r} has no {channel} template", f"it has {', '.join(channels)}; write {channel}.en.j2"
        return f"no message {template!r}", did_you_mean(template, {message for message, _ in self._sources})

    def _read_defaults(self, files: Mapping[str, str]) -> dict[str, dict[str, dict[str, Value]]]:
        folders: dict[str, dict[str, dict[str, Value]]] = {}
        for path, source in files.items():
            if (folder := folder_of(path)) is not None:
                folders[folder], problems = read_defaults(self._root + path, source)
                self._problems += problems
        return folders

    def _add(self, path: str, text: str) -> None:
        shown = self._root + path
        place = place_of(path)
        if isinstance(place, Problem):
            self._problems.append(Problem(shown, place.line, place.field, place.message, place.hint))
            return
        source = _compiled(shown, place, text)
        if place.text:
            self._texts[place.message, place.locale] = source
            return
        others = self._sources.setdefault((place.message, place.channel), {})
        if place.locale in others:
            hint = f"{others[place.locale].path} says the same"
            self._problems.append(Problem(shown, 0, "", "two files for one locale", hint))
        others[place.locale] = source

    def _join_texts(self) -> None:
        """Each text part goes to the mail of its locale, in the place of the one made from the HTML."""
        for (message, locale), text in self._texts.items():
            mails = self._sources.get((message, "email"), {})
            if locale not in mails:
                hint = f"write {text.path.rpartition('/')[2].replace('.txt', '')} with subject and HTML"
                self._problems.append(Problem(text.path, 0, "", "is a text part without its mail", hint))
                self._problems += text.problems
                continue
            programs = {**mails[locale].programs, **({"text": text.programs["body"]} if text.programs else {})}
            problems = (*mails[locale].problems, *text.problems)
            mails[locale] = replace(mails[locale], programs={} if problems else programs, problems=problems)

    def _unprovided(self, source: _Source, known: Collection[str] | None) -> list[Problem]:
        defaults, locales = defaults_for(source.place.message, self._defaults), self._locales(source.place.locale, "")
        provided = {*CAMPAIGN_FACTS, *_own_links(source), *(known or ())}
        return [
            Problem(source.path, line, "", f"no fact {fact!r}, and no default", did_you_mean(fact, provided))
            for fact, line in source.required().items()
            if (known is not None or not fact.startswith(("user.", "trigger.")))
            and fact not in provided
            and not any(prefix in provided for prefix in _prefixes(fact))
            and defaults.of(fact, locales) is None
        ]

    def _locales(self, written: str, wanted: str) -> list[str]:
        """Where to look for a default: the reader's locale where the template's covers it, then the template's."""
        if written:
            return list(dict.fromkeys([*(tag for tag in chain(wanted) if written in chain(tag)), *chain(written)]))
        return list(dict.fromkeys([*chain(wanted), *chain(self._default)]))

    def _chosen(self, template: str, channel: str, locale: str) -> _Ready:
        key = (template, channel, locale)
        ready = self._ready.get(key)
        if ready is None:
            ready = self._choose(template, channel, locale)
            if len(self._ready) >= _REMEMBERED:  # locales come from user data
                self._ready.clear()
            self._ready[key] = ready
        return ready

    def _choose(self, template: str, channel: str, locale: str) -> _Ready:
        if gone := self.missing(template, channel):
            raise RenderError(gone[0], hint=gone[1])
        sources = self._sources[template, channel]
        order = [*chain(locale), *chain(self._default), "", min(sources)]
        source = sources[next(tag for tag in order if tag in sources)]
        if source.problems:
            raise RenderError(f"the template cannot be used: {source.problems[0]}", hint="run validate")
        defaults, locales = defaults_for(template, self._defaults), self._locales(source.place.locale, locale)
        fills = ((fact, defaults.of(fact, locales)) for fact in source.facts())
        return _Ready(
            source,
            locale if source.place.locale in chain(locale) else source.place.locale or locale or self._default,
            tuple((tuple(fact.split(".")), value) for fact, value in fills if value is not None),
            self._outline(source),
        )

    def _outline(self, source: _Source) -> _Outline | None:
        """One per file, whatever the reader's locale."""
        if source.place.channel != "email":
            return None
        found = self._outlines.get(source.path)
        if found is None:
            programs = source.programs
            found = self._outlines[source.path] = _Outline(programs["html"].constants, programs["text"].constants)
        return found


def _prefixes(fact: str) -> list[str]:
    """``user.address.city`` is provided where ``user.address`` is."""
    pieces = fact.split(".")
    return [".".join(pieces[:end]) for end in range(2, len(pieces) + 1)]


def _compiled(path: str, place: Place, text: str) -> _Source:
    parts, problems = parts_of(path, place.channel, text, text=place.text)
    programs: dict[str, Program] = {}
    if place.channel == "email" and not place.text:
        return _mail(path, place, {part.name: part for part in parts}, problems)
    for part in parts:
        program = compile_text(part.text, path, part.lines_before)
        if isinstance(program, Program):
            programs[part.name] = program
        else:
            problems += _problems(path, "" if part.name == "body" else part.name, program)
    return _Source(path, place, programs, tuple(problems))


def _mail(path: str, place: Place, parts: Mapping[str, Part], problems: list[Problem]) -> _Source:
    """A mail: its tags are checked as they were written, then its markup is compiled around them."""
    found: list[Problem] = [*problems]
    programs: dict[str, Program] = {}
    for name, part in parts.items():
        program = compile_text(part.text, path, part.lines_before, escape=name == "body")
        if isinstance(program, Program):
            programs[name] = program
        else:
            found += _problems(path, "" if name == "body" else name, program)
    if found or "body" not in programs:
        return _Source(path, place, {}, tuple(found))
    body, preheader = parts["body"], parts["preheader"].text if "preheader" in parts else ""
    markup = compile_markup(body.text, preheader, ENVIRONMENT, place.locale)
    if isinstance(markup, list):
        moved = [Fault(fault.line + body.lines_before, fault.message, fault.hint) for fault in markup]
        return _Source(path, place, {}, tuple(_problems(path, "", moved)))
    html = compile_text(markup.html, path, body.lines_before, escape=True, lines=markup.html_lines)
    text = compile_text(markup.text, path, body.lines_before, lines=markup.text_lines)
    for made in (html, text):
        found += [] if isinstance(made, Program) else _problems(path, "", made)
    if isinstance(html, Program) and isinstance(text, Program) and not found:
        return _Source(
            path, place, {"subject": programs["subject"], "html": html, "text": text}, (), len(markup.html.encode())
        )
    return _Source(path, place, {}, tuple(found))


def _own_links(source: _Source) -> tuple[str, ...]:
    return (CONFIRM_URL,) if source.place.message == CONFIRMATION else ADDRESSES


def _no_way_out(source: _Source) -> list[Problem]:
    """A mail has to say how to get no more of them."""
    page = source.programs.get("html")
    if page is None or source.place.channel != "email" or {*_own_links(source)} & {*page.survey.facts}:
        return []
    if source.place.message == CONFIRMATION:
        return [Problem(source.path, page.origin(1), "", "has no button", "link to {{ confirm_url }}")]
    hint = "link to {{ unsubscribe_url }} or {{ preferences_url }}"
    return [Problem(source.path, page.origin(1), "", "gives no way to unsubscribe", hint)]


def _problems(path: str, field: str, faults: Iterable[Fault]) -> list[Problem]:
    return [Problem(path, fault.line, field, fault.message, fault.hint) for fault in faults]


def warnings(payload: Payload) -> list[str]:
    """What is allowed, and yet will not look as it was meant."""
    if isinstance(payload, SmsPayload):
        long = [name for name, value in payload.parameters.items() if len(value) > USUAL_PARAMETER]
        return [f"parameter.{name} is longer than the {USUAL_PARAMETER} characters that are usual" for name in long]
    if isinstance(payload, EmailPayload) and len(payload.html.encode()) > CLIPPED_BYTES:
        return [f"Gmail shows the first {CLIPPED_BYTES // 1024} KB of a mail: this one is longer"]
    return []
