"""``orchestrator preview``: the words of a campaign as a person would get them, through the renderer that sends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.panel import Panel

from orchestrator.audience.facts import facts_of
from orchestrator.audience.people import user_ids
from orchestrator.campaign.load import load_bundle
from orchestrator.campaign.version import Bundle
from orchestrator.channel.base import EmailPayload, Payload, PushPayload, SmsPayload
from orchestrator.cli.completing import campaigns, users
from orchestrator.cli.context import Context
from orchestrator.content.links import Links
from orchestrator.content.push import payload_bytes, room
from orchestrator.content.sms import billed_parts, count
from orchestrator.content.templates import TemplateSet, warnings
from orchestrator.daemon.wiring import preview_links
from orchestrator.dispatch.compose import worded
from orchestrator.dispatch.trial import SOMEBODY
from orchestrator.errors import InputError, NotFoundError, RenderError, SkipMessage

app = typer.Typer()


@dataclass(frozen=True, slots=True)
class Preview:
    """One message as it would read; ``problem`` instead when it would not be sent."""

    arm: str
    step: int
    channel: str
    locale: str
    payload: Payload | None
    size: str
    problem: str = ""
    warnings: tuple[str, ...] = ()


@app.command()
def preview(
    name: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="Name or file.", autocompletion=campaigns)],
    user: Annotated[str, typer.Option(help="A user's own id; default: an invented Ada.", autocompletion=users)] = "",
    locale: Annotated[str, typer.Option(help="en, zh, …; default: the user's own, or all titles' locales.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write the HTML of the first email to this file.")] = None,
) -> None:
    """Show every arm and step as a person would get it."""
    context = Context.load()
    bundle = load_bundle(name, context.settings.campaigns, context.settings.templates)
    facts = _facts(context, user) if user else dict(SOMEBODY)
    own = [str(facts["locale"])] if facts.get("locale") else list(bundle.campaign.title)
    found = list(_previews(bundle, facts, [locale] if locale else own, preview_links(context.settings)))
    if html is not None:
        _write_html(html, found)
    if as_json:
        context.print_json([asdict(item) for item in found])
        return
    for item in found:
        context.console.print(_panel(item))


def _facts(context: Context, user: str) -> dict[str, Any]:
    with context.reader() as store, store.read() as connection:
        known = user_ids(connection, [user])
        if user not in known:
            raise NotFoundError(f"no user {user!r}", hint="import users first, or leave --user out")
        return facts_of(connection, [known[user]])[known[user]]


def _write_html(path: Path, found: Iterable[Preview]) -> None:
    mail = next((item.payload for item in found if isinstance(item.payload, EmailPayload)), None)
    if mail is None:
        raise InputError("there is no email to write", hint="the campaign has no email step, or it cannot be rendered")
    path.write_text(mail.html, encoding="utf-8")


def _previews(bundle: Bundle, facts: dict[str, Any], locales: list[str], links: Links) -> Iterator[Preview]:
    compiled = TemplateSet(bundle.templates)
    for arm in bundle.campaign.arms:
        for step in bundle.campaign.steps:
            for locale in locales:
                template = bundle.campaign.template_of(arm, step)
                user = {**facts, "locale": locale}
                payload, problem = None, ""
                try:
                    payload = worded(bundle, compiled, template, step.channel, locale, user, links).payload
                except SkipMessage as skip:
                    problem = f"not sent: {skip.message}"
                except RenderError as error:
                    problem = str(error)
                yield Preview(
                    arm.name,
                    step.index,
                    step.channel,
                    locale,
                    payload,
                    _size(payload, step.channel),
                    problem,
                    _warned(payload),
                )


def _warned(payload: Payload | None) -> tuple[str, ...]:
    return () if payload is None else tuple(warnings(payload))


def _size(payload: Payload | None, channel: str) -> str:
    if payload is None:
        return ""
    if isinstance(payload, SmsPayload):
        if payload.approved:
            parts = billed_parts(payload)
            return f"{parts} part{'s' if parts != 1 else ''}, {len(payload.body)} characters, as billed within China"
        counted = count(payload.body)
        return f"{counted.parts} part{'s' if counted.parts != 1 else ''}, {counted.units} units of {counted.encoding}"
    if isinstance(payload, EmailPayload):
        return f"{len(payload.html.encode()) / 1024:.0f} KB of HTML"
    most = room(channel)
    return f"{payload_bytes(payload)} {f'of {most} ' if most else ''}bytes"


def _words(payload: Payload) -> tuple[str, str]:
    """The line that stands out, and the rest."""
    match payload:
        case SmsPayload():
            return "", payload.body
        case EmailPayload():
            return payload.subject, payload.text
        case _:
            return payload.title, payload.body


def _beside(payload: Payload) -> str:
    """What goes with the words and nobody reads: the approved template with what fills it, data for the app."""
    lines: list[str] = []
    if isinstance(payload, SmsPayload) and payload.approved:
        lines = [f"approved template {payload.approved}", *(f"{k} = {v}" for k, v in payload.parameters.items())]
    if isinstance(payload, PushPayload):
        lines = [f"{name}: {value}" for name, value in payload.data.items()]
    return "".join(f"\n{line}" for line in lines)


def _panel(item: Preview) -> Panel:
    from rich.text import Text

    head = f"arm {item.arm} · step {item.step} · {item.channel} · {item.locale}"
    if item.payload is None:
        return Panel(Text(item.problem, style="red"), title=head, title_align="left", width=72)
    title, words = _words(item.payload)
    body = Text(f"{title}\n" if title else "", style="bold").append(words, style="not bold")
    body.append(_beside(item.payload), style="dim")
    for warning in item.warnings:
        body.append(f"\n{warning}", style="yellow")
    return Panel(body, title=head, subtitle=item.size, title_align="left", subtitle_align="right", width=72)
