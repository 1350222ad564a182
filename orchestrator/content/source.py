"""One template file: its parts compiled, or all that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator.content.files import Place
from orchestrator.content.layout import Part, parts_of
from orchestrator.content.markup import compile_markup
from orchestrator.content.program import ENVIRONMENT, Program, compile_text
from orchestrator.content.survey import ADDRESSES, CONFIRM_URL, Fault
from orchestrator.errors import Problem

CONFIRMATION: Final = "_confirm"
"""The message that asks for the second step of double opt-in."""


@dataclass(frozen=True, slots=True)
class Source:
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


def compiled(path: str, place: Place, text: str) -> Source:
    """A file's programs by part; none of them when something is wrong with it."""
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
    return Source(path, place, programs, tuple(problems))


def _mail(path: str, place: Place, parts: Mapping[str, Part], problems: list[Problem]) -> Source:
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
        return Source(path, place, {}, tuple(found))
    body, preheader = parts["body"], parts["preheader"].text if "preheader" in parts else ""
    markup = compile_markup(body.text, preheader, ENVIRONMENT, place.locale)
    if isinstance(markup, list):
        moved = [Fault(fault.line + body.lines_before, fault.message, fault.hint) for fault in markup]
        return Source(path, place, {}, tuple(_problems(path, "", moved)))
    html = compile_text(markup.html, path, body.lines_before, escape=True, lines=markup.html_lines)
    text = compile_text(markup.text, path, body.lines_before, lines=markup.text_lines)
    for made in (html, text):
        found += [] if isinstance(made, Program) else _problems(path, "", made)
    if isinstance(html, Program) and isinstance(text, Program) and not found:
        return Source(
            path, place, {"subject": programs["subject"], "html": html, "text": text}, (), len(markup.html.encode())
        )
    return Source(path, place, {}, tuple(found))


def own_links(source: Source) -> tuple[str, ...]:
    """The addresses of its own that a message may name."""
    return (CONFIRM_URL,) if source.place.message == CONFIRMATION else ADDRESSES


def no_way_out(source: Source) -> list[Problem]:
    """A mail has to say how to get no more of them."""
    page = source.programs.get("html")
    if page is None or source.place.channel != "email" or {*own_links(source)} & {*page.survey.facts}:
        return []
    if source.place.message == CONFIRMATION:
        return [Problem(source.path, page.origin(1), "", "has no button", "link to {{ confirm_url }}")]
    hint = "link to {{ unsubscribe_url }} or {{ preferences_url }}"
    return [Problem(source.path, page.origin(1), "", "gives no way to unsubscribe", hint)]


def _problems(path: str, field: str, faults: Iterable[Fault]) -> list[Problem]:
    return [Problem(path, fault.line, field, fault.message, fault.hint) for fault in faults]
