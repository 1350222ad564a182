"""The templates of a campaign: all that is wrong with them, and the one way they are rendered.

Preview, test send and real send all come through :meth:`TemplateSet.render`. A set is made from the texts of its files
(a launched version holds them), never changes, and may be used from many threads.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from orchestrator.channel.base import EmailPayload, Payload, SmsPayload
from orchestrator.content.budget import Budget
from orchestrator.content.clean import single_line
from orchestrator.content.defaults import Values, defaults_for, folder_of, read_defaults
from orchestrator.content.files import chain, normal, place_of
from orchestrator.content.links import Links, Tracked
from orchestrator.content.markup import CLIPPED_BYTES
from orchestrator.content.ready import Outline, Ready
from orchestrator.content.source import Source, compiled, no_way_out, own_links
from orchestrator.content.survey import ADDRESSES
from orchestrator.errors import Problem, RenderError, did_you_mean

CAMPAIGN_FACTS: Final = ("campaign.name", "campaign.title")
_REMEMBERED = 2048
USUAL_PARAMETER: Final = 35
"""What most of what fills an approved template may have (Aliyun's default, which it raises on request)."""


class TemplateSet:
    """The template files of a campaign, by path within the templates folder (``lunch-winback/dish/push.en.j2``).

    A user's ``zh-CN`` finds ``channel.zh-cn.j2``, then ``zh``, then the default locale, then ``channel.j2``, then
    the first there is. ``root`` is put before paths in problems.
    """

    def __init__(self, files: Mapping[str, str], *, default_locale: str = "en", root: str = "") -> None:
        self._root = root.rstrip("/") + "/" if root else ""
        self._default = normal(default_locale)
        self._problems: list[Problem] = []
        self._sources: dict[tuple[str, str], dict[str, Source]] = {}
        self._ready: dict[tuple[str, str, str], Ready] = {}
        self._named: dict[tuple[str, str], set[str]] = {}
        self._outlines: dict[str, Outline] = {}
        self._defaults = self._read_defaults(files)
        self._texts: dict[tuple[str, str], Source] = {}
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
                found += no_way_out(source)
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

    def _read_defaults(self, files: Mapping[str, str]) -> dict[str, Values]:
        folders: dict[str, Values] = {}
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
        source = compiled(shown, place, text)
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

    def _unprovided(self, source: Source, known: Collection[str] | None) -> list[Problem]:
        defaults, locales = defaults_for(source.place.message, self._defaults), self._locales(source.place.locale, "")
        provided = {*CAMPAIGN_FACTS, *own_links(source), *(known or ())}
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

    def _chosen(self, template: str, channel: str, locale: str) -> Ready:
        key = (template, channel, locale)
        ready = self._ready.get(key)
        if ready is None:
            ready = self._choose(template, channel, locale)
            if len(self._ready) >= _REMEMBERED:  # locales come from user data
                self._ready.clear()
            self._ready[key] = ready
        return ready

    def _choose(self, template: str, channel: str, locale: str) -> Ready:
        if gone := self.missing(template, channel):
            raise RenderError(gone[0], hint=gone[1])
        sources = self._sources[template, channel]
        order = [*chain(locale), *chain(self._default), "", min(sources)]
        source = sources[next(tag for tag in order if tag in sources)]
        if source.problems:
            raise RenderError(f"the template cannot be used: {source.problems[0]}", hint="run validate")
        defaults, locales = defaults_for(template, self._defaults), self._locales(source.place.locale, locale)
        fills = ((fact, defaults.of(fact, locales)) for fact in source.facts())
        return Ready(
            source,
            locale if source.place.locale in chain(locale) else source.place.locale or locale or self._default,
            tuple((tuple(fact.split(".")), value) for fact, value in fills if value is not None),
            self._outline(source),
        )

    def _outline(self, source: Source) -> Outline | None:
        """One per file, whatever the reader's locale."""
        if source.place.channel != "email":
            return None
        found = self._outlines.get(source.path)
        if found is None:
            programs = source.programs
            found = self._outlines[source.path] = Outline(programs["html"].constants, programs["text"].constants)
        return found


def _prefixes(fact: str) -> list[str]:
    """``user.address.city`` is provided where ``user.address`` is."""
    pieces = fact.split(".")
    return [".".join(pieces[:end]) for end in range(2, len(pieces) + 1)]


def warnings(payload: Payload) -> list[str]:
    """What is allowed, and yet will not look as it was meant."""
    if isinstance(payload, SmsPayload):
        long = [name for name, value in payload.parameters.items() if len(value) > USUAL_PARAMETER]
        return [f"parameter.{name} is longer than the {USUAL_PARAMETER} characters that are usual" for name in long]
    if isinstance(payload, EmailPayload) and len(payload.html.encode()) > CLIPPED_BYTES:
        return [f"Gmail shows the first {CLIPPED_BYTES // 1024} KB of a mail: this one is longer"]
    return []
