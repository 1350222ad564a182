"""Words for a claimed batch: each message's own, from the launched version alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Connection, select
from typing_extensions import override

from orchestrator.audience.facts import facts_of
from orchestrator.campaign.version import Bundle, read_bundle
from orchestrator.channel.base import Channel, Payload
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


def compose(
    connection: Connection, lane: Lane, batch: Sequence[Claimed], channel: Channel
) -> tuple[list[Composed], list[Exit]]:
    """Render every message of a batch; those that cannot be, or that their template skips, exit with the reason."""
    bundle = read_bundle(connection, lane.version)
    compiled = templates_of(bundle, lane.version)
    facts = facts_of(connection, [message.user_id for message in batch])
    wanted = select(address.c.id, address.c.value, address.c.kind).where(
        address.c.id.in_([message.address_id for message in batch])
    )
    places = {row.id: row for row in connection.execute(wanted)}
    ready, out = [], []
    for message in batch:
        made = _render(bundle, compiled, message, facts.get(message.user_id, {}), channel)
        if isinstance(made, Exit):
            out.append(made)
        else:
            place = places[message.address_id]
            ready.append(Composed(message, made, place.value, place.kind))
    return ready, out


def _render(
    bundle: Bundle, compiled: TemplateSet, message: Claimed, user: dict[str, object], channel: Channel
) -> Payload | Exit:
    campaign = bundle.campaign
    step = campaign.steps[message.step - 1]
    template = campaign.template_of(campaign.arm(message.arm), step)
    locale = str(user.get("locale") or "")
    try:
        payload = compiled.render(template, step.channel, locale, facts_for(bundle, user, locale))
    except SkipMessage as skip:
        return Exit(message.id, State.SKIPPED, f"template:{skip.message}"[:200])
    except RenderError:
        return Exit(message.id, State.SKIPPED, "render_error")
    return Exit(message.id, State.SKIPPED, "too_large") if channel.problems(payload) else payload


def facts_for(bundle: Bundle, user: dict[str, object], locale: str) -> dict[str, object]:
    """What a template may name: the user, and the campaign in the user's language."""
    titles = bundle.campaign.title
    wanted = (locale, locale.partition("-")[0], *titles)
    title = next((titles[name] for name in wanted if name in titles), bundle.campaign.name)
    return {"user": user, "campaign": {"name": bundle.campaign.name, "title": title}}
