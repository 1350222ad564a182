"""Words for a claimed batch: each message's own, from the launched version alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from sqlalchemy import Connection, bindparam, select
from typing_extensions import override

from orchestrator.audience.facts import facts_of
from orchestrator.campaign.version import Bundle, read_bundle
from orchestrator.channel.base import Channel, Payload
from orchestrator.content.links import Links, Tracked
from orchestrator.content.templates import TemplateSet
from orchestrator.errors import RenderError, SkipMessage
from orchestrator.ledger.claim import Claimed, Lane
from orchestrator.ledger.mark import Exit
from orchestrator.ledger.states import State
from orchestrator.store.tables import address


@dataclass(frozen=True, slots=True)
class Composed:
    """A claimed message with its words and where they go. Never printed: it holds an address and a body."""

    message: Claimed
    payload: Payload
    address: str
    address_kind: str
    targets: Mapping[int, str] = field(default_factory=dict)
    """Where its links lead: to be on disk before it leaves."""
    details: Mapping[str, str] = field(default_factory=dict)
    """What else sending to the address needs."""

    @override
    def __repr__(self) -> str:
        """Its id alone, so that no log ever shows the rest."""
        return f"Composed({self.message.id})"


@lru_cache(maxsize=64)
def _templates(version: str, files: tuple[tuple[str, str], ...]) -> TemplateSet:
    del version  # part of the key only for people who look at the cache
    return TemplateSet(dict(files))


def templates_of(bundle: Bundle, version: str) -> TemplateSet:
    """The compiled templates of a version."""
    return _templates(version, tuple(sorted(bundle.templates.items())))


_PLACES = select(address.c.id, address.c.value, address.c.kind, address.c.details).where(
    address.c.id.in_(bindparam("ids", expanding=True))
)


def compose(
    connection: Connection, lane: Lane, batch: Sequence[Claimed], channel: Channel, links: Links | None = None
) -> tuple[list[Composed], list[Exit]]:
    """Render every message of a batch; those that cannot be, or that their template skips, exit with the reason.

    Without ``links`` nothing is tracked, and a template that needs an unsubscribe address cannot be rendered.
    """
    bundle = read_bundle(connection, lane.version)
    compiled = templates_of(bundle, lane.version)
    facts = facts_of(connection, [message.user_id for message in batch])
    wanted = {"ids": [message.address_id for message in batch]}
    places = {row[0]: row for row in connection.execute(_PLACES, wanted).all()}
    ready, out = [], []
    for message in batch:
        made = _render(bundle, compiled, message, facts.get(message.user_id, {}), channel, links)
        if isinstance(made, Exit):
            out.append(made)
        else:
            _, value, kind, details = places[message.address_id]
            ready.append(Composed(message, made.payload, value, kind, made.targets, details or {}))
    return ready, out


def _render(
    bundle: Bundle,
    compiled: TemplateSet,
    message: Claimed,
    user: dict[str, object],
    channel: Channel,
    links: Links | None,
) -> Tracked | Exit:
    campaign = bundle.campaign
    step = campaign.steps[message.step - 1]
    template = campaign.template_of(campaign.arm(message.arm), step)
    locale = str(user.get("locale") or "")
    try:
        made = worded(bundle, compiled, template, step.channel, locale, user, links, message.id)
    except SkipMessage as skip:
        return Exit(message.id, State.SKIPPED, f"template:{skip.message}"[:200])
    except RenderError:
        return Exit(message.id, State.SKIPPED, "render_error")
    problems = channel.problems(made.payload)  # they name no content
    return Exit(message.id, State.SKIPPED, f"unfit:{problems[0]}"[:200]) if problems else made


def worded(  # one value each
    bundle: Bundle,
    compiled: TemplateSet,
    template: str,
    channel: str,
    locale: str,
    user: dict[str, object],
    links: Links | None,
    message_id: int = 0,
) -> Tracked:
    """The words of one message with its links: the one way there is, for real sends, test sends and previews.

    ``message_id`` 0 is nobody's: its links work, and nothing is recorded or changed by them.

    Raises:
        RenderError: it cannot be composed.
        SkipMessage: the template decided against it.
    """
    own = links.facts(message_id) if links else {}
    payload = compiled.render(template, channel, locale, {**facts_for(bundle, user, locale), **own})
    return links.track(payload, message_id) if links else Tracked(payload)


def facts_for(bundle: Bundle, user: dict[str, object], locale: str) -> dict[str, object]:
    """What a template may name: the user, and the campaign in the user's language."""
    titles = bundle.campaign.title
    wanted = (locale, locale.partition("-")[0], *titles)
    title = next((titles[name] for name in wanted if name in titles), bundle.campaign.name)
    return {"user": user, "campaign": {"name": bundle.campaign.name, "title": title}}
