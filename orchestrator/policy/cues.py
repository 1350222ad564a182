"""What a later step may ask of a member: has it happened since the run opened for them, and when first.

``delivered``, ``opened`` and ``clicked`` are about any earlier message of the same member and run. Opened is what a
person opened or clicked in: neither a machine's open counts nor a suspect one, and what a person opened was delivered,
with or without a receipt. Everything else is an event of the member's since their anchor: ``reopened`` and
``converted`` are the goal's two, any other word is an event's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.store.functions import json_string_sql
from orchestrator.timing.opens import BY_PERSON

DELIVERED, OPENED, CLICKED = OF_MESSAGES = ("delivered", "opened", "clicked")
REOPENED, CONVERTED = OF_GOALS = ("reopened", "converted")
WORDS = (*OF_MESSAGES, *OF_GOALS)
"""All but events' own names."""
AN_EVENT = "event"
_SEEN = {DELIVERED: BY_PERSON, OPENED: BY_PERSON, CLICKED: BY_PERSON[1:]}
"""Which events show it, when a person made them."""


@dataclass(frozen=True, slots=True)
class Cue:
    """Something that may happen, which a later step asks about.

    ``event``: its name in the event table; "" for what is about earlier messages.
    """

    word: str
    event: str = ""

    @property
    def kind(self) -> str:
        """What SQL has to know of it: the event's name is bound."""
        return AN_EVENT if self.event else self.word

    @property
    def signs(self) -> tuple[str, ...]:
        """The names of the events that show it."""
        return (self.event,) if self.event else _SEEN[self.word]

    @property
    def reason(self) -> str:
        """Why a message is dropped because it has happened: ``opened``, ``did:order_paid``."""
        return self.word if self.word in WORDS else f"did:{self.word}"

    @property
    def missing(self) -> str:
        """Why a message is dropped because it has not: ``not_opened``, ``did_not:order_paid``."""
        return f"not_{self.word}" if self.word in WORDS else f"did_not:{self.word}"

    @property
    def waiting(self) -> str:
        """Why a message is held until it has: ``waiting:opened``."""
        return f"waiting:{self.word}"

    @property
    def resting(self) -> str:
        """Why a message is held for a while after it has: ``after:opened``."""
        return f"after:{self.word}"


@dataclass(frozen=True, slots=True)
class Wait:
    """Sent ``after`` the cue, if that happens ``within`` the step before; dropped if it does not."""

    cue: Cue
    within: timedelta
    after: timedelta = timedelta(0)


def happened(dialect: str, kind: str, name: str) -> str:
    """Whether it has, as SQL about message ``m`` of ``member``; to ``:name`` is bound what the event is called."""
    return f"({' OR '.join(f'EXISTS (SELECT 1 {found})' for _, found in _found(dialect, kind, name))})"


def first_at(dialect: str, kind: str, name: str) -> str:
    """When it first did, in microseconds, or NULL."""
    found = " UNION ALL ".join(f"SELECT {at} AS at {rows}" for at, rows in _found(dialect, kind, name))
    return f"(SELECT min(cue.at) FROM ({found}) AS cue)"


def _found(dialect: str, kind: str, name: str) -> Iterator[tuple[str, str]]:
    """The rows that show it: the column of the instant, and ``FROM … WHERE …``."""
    if kind == AN_EVENT:
        yield (
            "sign.at",
            f"""FROM event AS sign WHERE sign.user_id = m.user_id AND sign.name = :{name}
            AND sign.at >= member.anchor""",
        )
        return
    word = json_string_sql(dialect, "sign.properties", "confidence")
    names = ", ".join(f"'{one}'" for one in _SEEN[kind])
    yield (
        "sign.at",
        f"""FROM event AS sign WHERE sign.message_id >= m.id - m.step AND sign.message_id < m.id
        AND sign.name IN ({names}) AND ({word} IS NULL OR {word} = 'human')""",
    )
    if kind == DELIVERED:
        yield (
            "earlier.state_at",
            """FROM message AS earlier WHERE earlier.id >= m.id - m.step AND earlier.id < m.id
            AND earlier.state = 'delivered'""",
        )
