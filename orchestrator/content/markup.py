"""A mail's markup as it is kept: MJML compiled, CSS inlined, once per template, with the template's tags in place.

Done in this order because it is the cheap one: what is left for each person is filling in values. A block around MJML
elements repeats or leaves out what they compile to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from html import escape, unescape
from typing import Final

import mrml
from css_inline import CSSInliner, InlineError
from jinja2 import Environment

from orchestrator.content.mask import Masked, mask
from orchestrator.content.plain import text_of
from orchestrator.content.survey import Fault

CLIPPED_BYTES: Final = 102 * 1024
"""Gmail shows no more of a mail's HTML than this."""
_MJML = re.compile(r"\s*<mjml[\s>]", re.IGNORECASE)
_REFUSED = re.compile(r"<\s*(script|iframe|object|embed|form|base|mj-include)\b|\son[a-z]+\s*=", re.IGNORECASE)
ANCHOR: Final = re.compile(r'(<(?:a|area)\b[^>]*?\shref=")([^"]*)(")', re.IGNORECASE)
"""A link, as the HTML that css-inline writes has it: before its address, the address, after it."""
_BODY = re.compile(r"<body\b[^>]*>", re.IGNORECASE)
_ADDRESS = re.compile(r"(?!(?:javascript|data|file|vbscript|blob|http):)[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"]+")
_PREHEADER = (
    '<div style="display:none;max-height:0;max-width:0;overflow:hidden;opacity:0;font-size:1px;line-height:1px">'
    "%s</div>"
)


@dataclass(frozen=True, slots=True)
class Markup:
    """The two parts of a mail as templates, and which line of the source each of their lines comes from (from 0)."""

    html: str
    html_lines: tuple[int, ...]
    text: str
    text_lines: tuple[int, ...]


def compile_markup(source: str, preheader: str, environment: Environment, language: str = "") -> Markup | list[Fault]:
    """A body's HTML and text, or what is wrong with it; the source's tags have been checked before.

    ``language`` is for who listens to the mail, where MJML names none.
    """
    before, body, after = _around(source)
    if not body:
        return [Fault(1, "the body is neither MJML nor HTML", "begin it with <mjml> or <html>")]
    if found := _REFUSED.search(body):
        line = source.count("\n", 0, len(before) + found.start()) + 1
        return [Fault(line, f"{found[0].strip()!r} has no place in a mail", "mail programs remove it")]
    masked = mask(body, environment)
    made = _compiled(masked.text, language)
    if isinstance(made, Fault):
        return [made]
    shift = before.count("\n")
    if gone := masked.lost(made):
        hint = "inside MJML, tags stand in texts and attribute values, or around whole elements"
        return [Fault(line + shift + 1, "this tag is lost when the mail is compiled", hint) for line in gone]
    if wrong := list(_wrong_links(made, masked, shift)):
        return wrong
    return _restored(before, after, shift, masked, made, _hidden(preheader, environment))


def _around(source: str) -> tuple[str, str, str]:
    """What stands before the first element, the elements, and what stands after the last."""
    comment = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", lambda tag: "\0" * len(tag[0]), source, flags=re.DOTALL)
    first, last = comment.find("<"), comment.rfind(">")
    return (source[:first], source[first : last + 1], source[last + 1 :]) if 0 <= first < last else (source, "", "")


def _compiled(text: str, language: str) -> str | Fault:
    """HTML with its CSS inlined."""
    try:
        html = mrml.to_html(text).content if _MJML.match(text) else text
        return _inliner().inline(html.replace(' lang="und"', f' lang="{language}"') if language else html)
    except InlineError as error:
        return Fault(1, f"the CSS cannot be inlined: {str(error)[:160]}")
    except Exception as error:  # noqa: BLE001  # mrml's own error type is not exported
        return Fault(1, f"is not MJML: {str(error)[:160]}", "every element is closed, and & is written &amp;")


@cache
def _inliner() -> CSSInliner:
    # Media queries stay: they are what makes a mail fit a phone. Nothing is ever fetched.
    return CSSInliner(keep_at_rules=True, load_remote_stylesheets=False, keep_link_tags=True)


def _hidden(preheader: str, environment: Environment) -> str:
    """The line that an inbox shows beside the subject: in the document, out of sight."""
    if not preheader.strip():
        return ""
    masked = mask(preheader.strip(), environment)
    text = re.sub(f"&lt;!--({masked.word}[0-9]+z)--&gt;", r"\1", escape(masked.text))
    return _PREHEADER % masked.restore(text)[0].replace("\n", " ")


def _restored(before: str, after: str, shift: int, masked: Masked, made: str, hidden: str) -> Markup:
    html, html_lines = masked.restore(made)
    text, text_lines = masked.restore(text_of(made, masked.word))
    prelude = tuple(range(shift))
    if hidden:
        found = _BODY.search(html)
        place = found.end() if found else 0
        html = html[:place] + hidden + html[place:]
    return Markup(
        before + html + after,
        (*prelude, *(line + shift for line in html_lines)),
        before + text + after,
        (*prelude, *(line + shift for line in text_lines)),
    )


def links_in(html: str) -> Iterator[str]:
    """The addresses that a mail's links lead to, as a reader's program understands them."""
    for match in ANCHOR.finditer(html):
        yield unescape(match[2])


def is_address(link: str) -> bool:
    """Whether a link is whole and leads somewhere good: https, or an app's own scheme; ``mailto:`` and ``tel:`` too."""
    return _ADDRESS.fullmatch(link) is not None


def _wrong_links(html: str, masked: Masked, shift: int) -> Iterator[Fault]:
    for link in links_in(html):
        if masked.word not in link and not is_address(link):
            hint = "write an https:// address, or one of the app's own such as app://menu"
            yield Fault(1 + shift, f"the link {link[:80]!r} is no whole address", hint)
