"""The templates of a campaign: all that is wrong with them, and the one way they are rendered.

Preview, test send and real send all come through :meth:`TemplateSet.render`. A set is made from the texts of its files
(a launched version holds them), never changes, and may be used from many threads.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.channel.base import Payload, PushPayload, SmsPayload
from orchestrator.content.budget import Budget
from orchestrator.content.clean import clean, single_line
from orchestrator.content.defaults import Value, defaults_for, filled, folder_of, read_defaults
from orchestrator.content.files import Place, chain, normal, parts_of, place_of
from orchestrator.content.program import Program, compile_text
from orchestrator.errors import Problem, RenderError, did_you_mean

CAMPAIGN_FACTS: Final = ("campaign.name", "campaign.title")
_LINK = re.compile(r"(?!(?:javascript|data|file|vbscript):)[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"]+")
_REMEMBERED = 2048


@dataclass(frozen=True, slots=True)
class _Source:
    """One template file: its programs by part, or none of them when it has problems."""

    path: str
    place: Place
    programs: Mapping[str, Program]
    problems: tuple[Problem, ...]

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
                lines.setdefault(fact, line + program.lines_before)
        return lines


@dataclass(frozen=True, slots=True)
class _Ready:
    """A file chosen for a locale, with the defaults that may have to stand in."""

    source: _Source
    locale: str
    fills: tuple[tuple[tuple[str, ...], Value], ...]

    def payload(self, facts: Mapping[str, Any]) -> Payload:
        facts = filled(facts, self.fills)
        budget = Budget()
        texts = {name: program.run(facts, self.locale, budget) for name, program in self.source.programs.items()}
        return self._sms(texts) if self.source.place.channel == "sms" else self._push(texts)

    def _sms(self, texts: Mapping[str, str]) -> SmsPayload:
        body = clean(texts["body"])
        if not body:
            raise RenderError(
                f"{self.source.path}: the message is empty", hint='write {{ skip("reason") }} to leave it out'
            )
        return SmsPayload(body)

    def _push(self, texts: Mapping[str, str]) -> PushPayload:
        title, body = single_line(texts.get("title", "")), clean(texts["body"])
        if not title and not body:
            raise RenderError(
                f"{self.source.path}: the message is empty", hint='write {{ skip("reason") }} to leave it out'
            )
        return PushPayload(title, body, link=self._link("link", texts), image=self._link("image", texts))

    def _link(self, name: str, texts: Mapping[str, str]) -> str:
        link = single_line(texts.get(name, ""))
        secure = name == "link" or link.startswith("https://")
        if link and not (secure and _LINK.fullmatch(link)):
            wanted = "a whole address such as app://menu" if name == "link" else "an https:// address"
            hint = "pass facts in it through |urlencode"
            raise RenderError(f"{self.source.path}: {name} has to be {wanted}", hint=hint)
        return link


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
        self._defaults = self._read_defaults(files)
        for path in sorted(files):
            if folder_of(path) is None:
                self._add(path, files[path])

    def problems(self, known: Collection[str] | None = None) -> list[Problem]:
        """All that is wrong, by file and line. With the fact names there are, also names that nothing provides."""
        found = [*self._problems]
        for sources in self._sources.values():
            for source in sources.values():
                found += source.problems
                found += self._unprovided(source, known)
        return sorted(found, key=lambda problem: (problem.file, problem.line))

    def render(self, template: str, channel: str, locale: str, facts: Mapping[str, Any]) -> Payload:
        """The payload for one person.

        Raises:
            RenderError: it cannot be composed; names template and line, never a fact's value.
            SkipMessage: the template decided against it.
        """
        return self._chosen(template, channel, normal(locale)).payload(facts)

    def names(self, template: str, channel: str) -> set[str]:
        """The dotted facts that a message uses on a channel, over all locales."""
        sources = self._sources.get((template, channel), {})
        return {fact for source in sources.values() for fact in source.facts()}

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
        others = self._sources.setdefault((place.message, place.channel), {})
        if place.locale in others:
            hint = f"{others[place.locale].path} says the same"
            self._problems.append(Problem(shown, 0, "", "two files for one locale", hint))
        others[place.locale] = source

    def _unprovided(self, source: _Source, known: Collection[str] | None) -> list[Problem]:
        defaults, locales = defaults_for(source.place.message, self._defaults), self._locales(source.place.locale, "")
        provided = {*CAMPAIGN_FACTS, *(known or ())}
        return [
            Problem(source.path, line, "", f"no fact {fact!r}, and no default", did_you_mean(fact, provided))
            for fact, line in source.required().items()
            if (known is not None or not fact.startswith("user."))
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
        )


def _prefixes(fact: str) -> list[str]:
    """``user.address.city`` is provided where ``user.address`` is."""
    pieces = fact.split(".")
    return [".".join(pieces[:end]) for end in range(2, len(pieces) + 1)]


def _compiled(path: str, place: Place, text: str) -> _Source:
    parts, problems = parts_of(path, place.channel, text)
    programs: dict[str, Program] = {}
    for part in parts:
        program = compile_text(part.text, path, part.lines_before)
        if isinstance(program, Program):
            programs[part.name] = program
        else:
            field = "" if part.name == "body" else part.name
            problems += [Problem(path, fault.line, field, fault.message, fault.hint) for fault in program]
    return _Source(path, place, programs, tuple(problems))
