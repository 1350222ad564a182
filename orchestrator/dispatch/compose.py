"""Words for a claimed batch: each message's own, from the launched version alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select
from typing_extensions import override

from orchestrator.audience.facts import facts_of
from orchestrator.campaign.version import KEPT, Bundle, read_bundle
from orchestrator.channel.base import Channel, Payload
from orchestrator.content.files import channel_of
from orchestrator.content.links import Links, Tracked
from orchestrator.content.templates import TemplateSet
from orchestrator.dispatch.wordings import Destination, Wordings
from orchestrator.errors import RenderError, SkipMessage
from orchestrator.ledger.claim import Claimed, Lane
from orchestrator.ledger.mark import Exit
from orchestrator.ledger.states import State
from orchestrator.store.dialect import among, json_column_sql, one_of_sql, read_all
from orchestrator.store.tables import enrolled, event

_NONE: Mapping[Any, str] = MappingProxyType({})
TRIGGER = "(trigger)"
"""Among a user's facts, the properties of the event that a message is sent for: a name that no attribute has."""


class Composed(NamedTuple):
    """A claimed message with its words and where they go. Never printed: it holds an address and a body."""

    message: Claimed
    payload: Payload
    address: str
    address_kind: str
    targets: Mapping[int, str] = _NONE
    """Where its links lead: to be on disk before it leaves."""
    details: Mapping[str, str] = _NONE
    """What else sending to the address needs."""

    @override
    def __repr__(self) -> str:
        """Its id alone, so that no log ever shows the rest."""
        return f"Composed({self.message.id})"


@lru_cache(maxsize=KEPT)
def _compiled(files: tuple[tuple[str, str], ...]) -> TemplateSet:
    return TemplateSet(dict(files))


def templates_of(bundle: Bundle, channel: str) -> TemplateSet:
    """A version's templates of one channel, compiled; versions that say the same share them."""
    files = sorted(bundle.templates.items())
    return _compiled(tuple((path, text) for path, text in files if channel_of(path) in {channel, None}))


def _places(connection: Connection, batch: Sequence[Claimed], known: dict[int, Destination]) -> dict[int, Destination]:
    """Where the messages go, by address: ``known``, with what was missing in it."""
    missing = [message.address_id for message in batch if message.address_id not in known]
    if missing:
        dialect = connection.dialect.name
        rest = f"FROM address WHERE id {one_of_sql(dialect, 'ids')}"
        columns = ("id", "value", "kind", json_column_sql(dialect, "details"))
        for number, value, kind, details in read_all(connection, columns, rest, {"ids": among(missing)}):
            known[number] = (value, kind, details)
    return known


def compose(  # one value each
    connection: Connection,
    lane: Lane,
    batch: Sequence[Claimed],
    channel: Channel,
    links: Links | None = None,
    wordings: Wordings | None = None,
) -> tuple[list[Composed], list[Exit]]:
    """Render every message of a batch; those that cannot be, or that their template skips, exit with the reason.

    Without ``links`` nothing is tracked, and a template that needs an unsubscribe address cannot be rendered.
    ``wordings``: where nothing that is known of users ever changes, what was rendered before.
    """
    bundle = read_bundle(connection, lane.version)
    compiled = templates_of(bundle, lane.channel)
    known = wordings.of(lane, batch) if wordings else {}
    facts = facts_of(connection, [message.user_id for message in batch if message.id not in known])
    if bundle.campaign.schedule.trigger is not None:
        happened = triggers_of(connection, lane.run_id, facts)
        facts = {user: {**its, TRIGGER: happened.get(user, {})} for user, its in facts.items()}
    places = _places(connection, batch, wordings.places if wordings else {})
    ready: list[Composed] = []
    out: list[Exit] = []
    for message in batch:
        made: Tracked | Exit | None = known.get(message.id)
        if made is None:
            made = _render(bundle, compiled, message, facts.get(message.user_id, {}), channel, links)
            if wordings is not None and isinstance(made, Tracked):
                wordings.keep(bundle.campaign, compiled, lane, message, made)
        if isinstance(made, Exit):
            out.append(made)
        else:
            value, kind, details = places[message.address_id]
            ready.append(Composed(message, made.payload, value, kind, made.targets, details or {}))
    return ready, out


_TRIGGERS = select(enrolled.c.user_id, event.c.properties).where(
    enrolled.c.run_id == bindparam("run"),
    enrolled.c.user_id.in_(bindparam("ids", expanding=True)),
    event.c.id == enrolled.c.event_id,
)


def triggers_of(connection: Connection, run_id: int, users: Iterable[int]) -> dict[int, dict[str, object]]:
    """What templates know as ``trigger``: the properties of the event that made each user a member of the run."""
    rows = connection.execute(_TRIGGERS, {"run": run_id, "ids": list(users)}).all()
    return {user_id: properties or {} for user_id, properties in rows}


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

    ``message_id`` 0 is nobody's: its links work, and nothing is recorded or changed by them. ``user`` has the
    properties of the event that a message is sent for under :data:`TRIGGER`; else the campaign's examples stand in.

    Raises:
        RenderError: it cannot be composed.
        SkipMessage: the template decided against it.
    """
    own = links.facts(message_id) if links and compiled.links_itself(template, channel) else {}
    facts = {**facts_for(bundle, user, locale), **own}
    if links is None:
        return Tracked(compiled.render(template, channel, locale, facts))
    return compiled.tracked(template, channel, locale, facts, links, message_id)


def facts_for(bundle: Bundle, user: dict[str, object], locale: str) -> dict[str, object]:
    """What a template may name: the user, the campaign in the user's language, and what triggered it."""
    titles = bundle.campaign.title
    wanted = (locale, locale.partition("-")[0], *titles)
    title = next((titles[name] for name in wanted if name in titles), bundle.campaign.name)
    found: dict[str, object] = {"user": user, "campaign": {"name": bundle.campaign.name, "title": title}}
    if (terms := bundle.campaign.schedule.trigger) is not None:
        found["trigger"] = user.get(TRIGGER, terms.properties)
    return found
