"""Our pages for people: their language, their frame, and the headers that keep them private."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from orchestrator.web.body import read_body
from orchestrator.web.links import PRIVATE
from orchestrator.web.words import LANGUAGES, WORDS, language_of

MAX_BYTES = 65_536
MAX_FIELDS = 500
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


@cache
def _pages() -> Environment:
    folder = Path(__file__).with_name("templates")
    return Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True)


async def form_of(request: Request) -> dict[str, list[str]] | None:
    """A form's fields; none of a body that is no form (a one-click request says nothing we need); None: too long."""
    try:
        body = await read_body(request, MAX_BYTES)
    except ClientDisconnect:
        return {}
    if body is None:
        return None
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        return {}


def page_language(request: Request, locale: str = "") -> str:
    """The language of a page: the one asked for, the user's, the browser's."""
    return language_of(request.query_params.get("lang", ""), locale, request.headers.get("accept-language", ""))


def sorry(request: Request, status: int, what: str, locale: str = "") -> Response:
    """A page that says what is not possible."""
    return show_page(request, "sorry.html", page_language(request, locale), status, what=what)


def show_page(request: Request, template: str, language: str, status: int, **values: object) -> Response:
    """One of our pages, whole."""
    other = next(one for one in LANGUAGES if one != language)
    text = (
        _pages()
        .get_template(f"{template}.j2")
        .render(
            words=WORDS[language], language=language, other=other, path=request.url.path.rpartition("/")[2], **values
        )
    )
    headers = {**PRIVATE, "Content-Security-Policy": _POLICY, "Content-Language": language}
    if status == 503:  # noqa: PLR2004
        headers["Retry-After"] = "1"
    return Response(text, status, headers, "text/html; charset=utf-8")
